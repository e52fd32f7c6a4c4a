"""What a file's name says about its content."""

from __future__ import annotations

import mimetypes
from typing import Final

__all__ = ["accepted_codings", "content_type"]

# What Python's own table does not have, in all its versions. The system's files are not read: the
# same name means the same everywhere.
_MORE: Final = {
    ".avif": "image/avif",
    ".br": "application/octet-stream",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mpd": "application/dash+xml",
    ".ogg": "audio/ogg",
    ".toml": "application/toml",
    ".ts": "video/mp2t",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
_TYPES: Final = mimetypes.MimeTypes(filenames=()).types_map[True] | _MORE
_UNKNOWN: Final = b"application/octet-stream"

# Text that is not called so.
_TEXT: Final = frozenset({"application/json", "application/xml", "image/svg+xml"})


def content_type(name: str) -> bytes:
    """The media type (RFC 9110 section 8.3) for a file of this name; text is said to be UTF-8."""
    dot = name.rfind(".")
    found = _TYPES.get(name[dot:].lower()) if dot > 0 else None
    if found is None:
        return _UNKNOWN
    if found.startswith("text/") or found in _TEXT:
        return f"{found}; charset=utf-8".encode()
    return found.encode()


def accepted_codings(value: bytes) -> frozenset[bytes]:
    """The content codings that an Accept-Encoding field takes (RFC 9110 section 12.5.3)."""
    accepted: set[bytes] = set()
    refused: set[bytes] = set()
    for element in value.lower().split(b","):
        coding, *parameters = [part.strip() for part in element.split(b";")]
        target = accepted
        for parameter in parameters:
            name, _, number = parameter.partition(b"=")
            if name.strip() == b"q" and not number.strip(b" \t0."):
                target = refused
        target.add(b"gzip" if coding == b"x-gzip" else coding)
    if b"*" in accepted:
        accepted |= {b"br", b"gzip"}
    return frozenset(accepted - refused)
