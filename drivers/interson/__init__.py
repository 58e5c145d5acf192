"""Interson's mechanical sector probes of the first generation, experimental; see README.md beside this file."""
