"""Recordings played as live probes."""
