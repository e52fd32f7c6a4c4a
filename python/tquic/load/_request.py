"""Requests that are encoded once and sent often."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from tquic.errors import ConfigError
from tquic.h3 import _frames
from tquic.h3._codec import encode_frame_header
from tquic.h3.client import Origin
from tquic.h3.errors import LocalProtocolError
from tquic.h3.fields import Field
from tquic.h3.headers import HeadersLike, as_fields
from tquic.h3.prepared import prepare_request
from tquic.many import Pattern

__all__ = ["Request", "locate"]

# What may stand in a path or query as it is (RFC 3986 section 3.3).
_SAFE = "/!$&'()*+,;=:@%-._~"


@dataclass(frozen=True, slots=True)
class Request:
    """A request for `start`, or with `encode` for `ConnectionSet.request_many`."""

    path: str = "/"
    """Path and query."""
    method: str = "GET"
    headers: HeadersLike | None = None
    """Fields; those that HTTP/3 needs are added."""
    body: bytes | int = b""
    """The content, or how many bytes of it: these are made in the engine and are those of
    `tquic perf`."""

    def encode(self, origin: Origin | str) -> bytes | Pattern:
        """Its frames, for a server: an origin, or a URL of it.

        Raises:
            ConfigError: it cannot be sent.
        """
        if isinstance(origin, str):
            origin = Origin.of(origin)
        size = self.body if isinstance(self.body, int) else len(self.body)
        if size < 0:
            raise ConfigError("body must not be negative")
        fields: list[Field] = [
            (b":method", self.method.encode()),
            (b":scheme", b"https"),
            (b":authority", origin.authority.encode()),
            (b":path", self.path.encode()),
            *as_fields(self.headers),
        ]
        if size and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", b"%d" % size))
        try:
            if isinstance(self.body, bytes):
                return prepare_request(fields, self.body).data
            head = prepare_request(fields, None).data
        except (LocalProtocolError, UnicodeEncodeError) as error:
            raise ConfigError(f"this cannot be requested: {error}") from None
        return Pattern(size, head + encode_frame_header(_frames.DATA, size)) if size else head


def locate(urls: Iterable[str]) -> tuple[Origin, list[str]]:
    """The server of some URLs, and the paths at it.

    Raises:
        ConfigError: they are no URLs of one server.
    """
    origins, paths = set(), []
    for url in urls:
        try:
            origins.add(Origin.of(url))
        except ValueError as error:
            why = str(error)
            raise ConfigError(why if url in why else f"{url}: {why}") from None
        parts = urlsplit(url)
        query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
        paths.append((quote(parts.path, safe=_SAFE) or "/") + query)
    if len(origins) != 1:
        raise ConfigError("the URLs must be of one server")
    return origins.pop(), paths
