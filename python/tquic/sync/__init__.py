"""The blocking twin of `tquic`: the same names without ``await``, for threads and gevent::

    with tquic.sync.connect("example.com", 4433, timeout=10) as conn:
        stream = conn.open_stream()
        stream.write(b"hello")
        stream.finish()
        print(stream.read())

Everything that waits has a timeout, raises `TimeoutError` when it passes, and can be called again
then: no byte is lost or repeated. The GIL is released while waiting. Threads may share a connection
and use different streams; on one stream, one may read while another writes.
"""

from tquic.sync._manager import PathManager
from tquic.sync.client import connect
from tquic.sync.connection import Connection
from tquic.sync.server import Server, serve
from tquic.sync.stream import Stream

__all__ = ["Connection", "PathManager", "Server", "Stream", "connect", "serve"]
