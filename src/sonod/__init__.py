"""sonod: the daemon between an open-research ultrasound probe and everything that wants its images."""

__all__ = ["__version__"]

from importlib.metadata import version as _version

__version__ = _version("sonod")
