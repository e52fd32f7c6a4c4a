"""HTTP/3 (RFC 9114)."""

from tquic.h3.errors import ErrorCode, H3Error

__all__ = ["ErrorCode", "H3Error"]
