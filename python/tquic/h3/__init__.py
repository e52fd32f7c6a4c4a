"""HTTP/3 (RFC 9114), for asyncio; `tquic.sync.h3` is the blocking twin::

    async with tquic.h3.connect("https://example.com/") as c:
        response = await c.get("/index.html")
        print(response.status, await response.read())

`Client` does so for any number of servers. `serve` answers: with the files of a folder, with a
function or with an ASGI application; what belongs to it is in `tquic.h3.server`. `Connection` is
the protocol without sockets, which both ends are built on.
"""

from tquic.h3.client import ClientConnection, Origin, RequestStream, Response, connect
from tquic.h3.connection import Connection
from tquic.h3.errors import (
    ErrorCode,
    FieldSectionTooLarge,
    H3Error,
    LocalProtocolError,
    RequestFailed,
)
from tquic.h3.headers import Headers
from tquic.h3.pool import Client
from tquic.h3.prepared import Prepared, prepare_request, prepare_response
from tquic.h3.priority import Priority
from tquic.h3.server import serve
from tquic.h3.settings import PeerSettings, SessionLimits, SettingId, Settings

__all__ = [
    "Client",
    "ClientConnection",
    "Connection",
    "ErrorCode",
    "FieldSectionTooLarge",
    "H3Error",
    "Headers",
    "LocalProtocolError",
    "Origin",
    "PeerSettings",
    "Prepared",
    "Priority",
    "RequestFailed",
    "RequestStream",
    "Response",
    "SessionLimits",
    "SettingId",
    "Settings",
    "connect",
    "prepare_request",
    "prepare_response",
    "serve",
]
