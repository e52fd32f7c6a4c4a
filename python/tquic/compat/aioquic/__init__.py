"""aioquic's interface over this engine: replace ``aioquic`` by ``tquic.compat.aioquic`` in imports.

What differs, and what is not there, is told in ``docs/migrating-from-aioquic.md``. The modules that
drive a connection by hand, packet by packet, have no counterpart: the engine does that itself.
"""

from tquic._engine import __version__

__all__ = ["__version__"]
