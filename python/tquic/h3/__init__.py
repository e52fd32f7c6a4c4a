"""HTTP/3 (RFC 9114)."""

from tquic.h3.errors import ErrorCode, FieldSectionTooLarge, H3Error

__all__ = ["ErrorCode", "FieldSectionTooLarge", "H3Error"]
