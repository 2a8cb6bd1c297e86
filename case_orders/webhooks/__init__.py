"""Telling organizations what happened to their cases: events, signatures, deliveries."""
