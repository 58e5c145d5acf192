"""The wire format as the first client read it, kept as it was: what it reads, every later daemon must still send.

A copy of `client/wire` from before the geometry had transforms; never edited, only ever replaced by a later release's.
"""
