"""The un0rick board with its USB bitstream; see README.md beside this file."""
