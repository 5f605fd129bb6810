"""Volumes, kept and put back: archives through the engine, hashed and compressed, with a manifest
each."""
