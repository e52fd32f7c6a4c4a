"""HTTP/3 (RFC 9114)."""

from tquic.h3 import server
from tquic.h3.connection import Connection
from tquic.h3.errors import ErrorCode, FieldSectionTooLarge, H3Error, LocalProtocolError
from tquic.h3.prepared import Prepared, prepare_request, prepare_response
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings, SettingId, Settings

__all__ = [
    "Connection",
    "ErrorCode",
    "FieldSectionTooLarge",
    "H3Error",
    "LocalProtocolError",
    "PeerSettings",
    "Prepared",
    "Priority",
    "SettingId",
    "Settings",
    "prepare_request",
    "prepare_response",
]
