"""The geometry of a frame in the words of others: OpenIGTLink, PLUS, DICOM.

Each module takes a geometry block, which is in metres and transducer coordinates, and gives the numbers that the other
convention asks for; docs/geometry.md explains them with a worked example.
"""
