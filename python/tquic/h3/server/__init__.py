"""The server's side of HTTP/3 (RFC 9114): folders, ASGI applications, functions."""

from tquic.h3.server._handler import Handler, Request, Response
from tquic.h3.server._limits import Limits
from tquic.h3.server._serve import serve
from tquic.h3.server._serving import Server
from tquic.h3.server._static import StaticFiles

__all__ = [
    "Handler",
    "Limits",
    "Request",
    "Response",
    "Server",
    "StaticFiles",
    "serve",
]
