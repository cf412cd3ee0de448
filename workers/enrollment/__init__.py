"""Participants on a contract: enrolling, withdrawing, recording progress, reminding, giving seats back."""
