"""Bounces: reports about mails that a relay took and could not deliver, read from a Maildir or a pipe."""
