"""Recordings: HDF5 files of format `sonod-rf`.

`layout` names the objects, `source` reads them with checks, `meaning` turns them into an Acquisition, `reader` and
`writer` are what others use. The structure is documented in docs/recording-format.md.
"""

from sonod.drivers.recording.reader import Recording
from sonod.drivers.recording.writer import RecordingWriter

__all__ = ["Recording", "RecordingWriter"]
