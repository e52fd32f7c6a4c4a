"""A QUIC engine for Python with a Rust core."""

from tquic._engine import __version__, build_info

__all__ = ["__version__", "build_info"]
