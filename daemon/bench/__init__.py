"""Measurements that a user can repeat: the core alone, hot and paced, and the whole path through a real daemon."""
