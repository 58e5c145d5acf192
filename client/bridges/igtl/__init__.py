"""OpenIGTLink: `sonod bridge igtl` gives the pictures to 3D Slicer, PLUS and everything else that speaks it.

crc64.py       the checksum of message bodies
messages.py    messages as bytes and back, header versions 1 and 2
content.py     what the bodies hold: IMAGE, TRANSFORM, STATUS, STRING, CAPABILITY, COMMAND
plus.py        the commands of a PLUS server: their XML, and their answers
parameters.py  the imaging parameters of PLUS as our knobs
outbox.py      what waits for one client: the newest of everything, bounded
server.py      connections
bridge.py      from the daemon to the server and back
serve.py       the whole until told to end
"""
