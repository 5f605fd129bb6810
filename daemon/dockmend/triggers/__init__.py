"""Triggers that are not changes of the host: time."""
