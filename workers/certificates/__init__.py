"""Certificates and their duplicates: issued, corrected, revoked, rendered and fetched."""
