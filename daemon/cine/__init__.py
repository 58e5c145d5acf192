"""What is kept of the last seconds: raw frames and pictures in rings of shared memory, from which clips and recordings
are written by processes of their own.

`ring` is the memory, `facts` what is known of each frame, `keeper` fills the rings, `sink` writes files and `writer`
is the process it runs in; `feed` is the daemon's end of that process.
"""
