"""The server's side of HTTP/3 (RFC 9114): folders, ASGI applications, functions."""

from tquic.h3.server.handler import Handler, Request, Response
from tquic.h3.server.limits import Limits
from tquic.h3.server.serve import serve
from tquic.h3.server.serving import Server
from tquic.h3.server.static import StaticFiles

__all__ = [
    "Handler",
    "Limits",
    "Request",
    "Response",
    "Server",
    "StaticFiles",
    "serve",
]
