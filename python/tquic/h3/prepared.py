"""Messages that are encoded once and sent often: on any stream, of any connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from tquic.h3 import _frames
from tquic.h3._message import parse_request, parse_response
from tquic.h3._qpack_encoder import encode_static
from tquic.h3._request import has_no_content
from tquic.h3.errors import H3Error, LocalProtocolError
from tquic.h3.fields import Field

__all__ = ["Prepared", "prepare_request", "prepare_response"]


@final
class Prepared:
    """A message, or its header section; made by `prepare_request` and `prepare_response`.

    Attributes:
        data: its frames.
        head: the frame of its header section, which is all that HEAD is answered with.
        ends: whether nothing follows, so that the stream is to be finished.
    """

    __slots__ = ("body_size", "data", "ends", "head", "length", "method", "status")

    def __init__(
        self, head: bytes, body: bytes | None, *, length: int | None, method: bytes, status: int
    ) -> None:
        self.head: Final = head
        self.data: Final = head + _frames.encode_frame(_frames.DATA, body) if body else head
        self.ends: Final = body is not None
        self.body_size: Final = len(body or b"")
        self.length: Final = length
        self.method: Final = method
        self.status: Final = status
        if body is not None and length is not None and length != len(body):
            raise LocalProtocolError(f"content-length says {length} bytes, not {len(body)}")

    def __repr__(self) -> str:
        what = self.method.decode() if self.method else self.status
        return f"<Prepared {what}, {len(self.data)} bytes>"


def prepare_response(fields: Iterable[Field], body: bytes | None = b"") -> Prepared:
    """Encodes a final response without the dynamic table of QPACK.

    Args:
        fields: its header section, ``:status`` first.
        body: its content, to which Content-Length must fit if it is there; `None`: only the
            header section, `Connection.send_data` follows.

    Raises:
        LocalProtocolError: it would be malformed.
    """
    lines = list(fields)
    try:
        status, _, length = parse_response(lines)
    except H3Error as error:
        raise LocalProtocolError(error.reason) from None
    if status < 200:
        raise LocalProtocolError("an interim response is not prepared")
    if has_no_content(b"", status):
        if body:
            raise LocalProtocolError(f"a response with status {status} has no content")
        length = 0
    head = _frames.encode_frame(_frames.HEADERS, encode_static(lines))
    return Prepared(head, body, length=length, method=b"", status=status)


def prepare_request(fields: Iterable[Field], body: bytes | None = b"") -> Prepared:
    """The same for a request other than CONNECT; ``fields`` begins with its pseudo-fields."""
    lines = list(fields)
    try:
        method, *_, length, _ = parse_request(lines, False)
    except H3Error as error:
        raise LocalProtocolError(error.reason) from None
    if method == b"CONNECT":
        raise LocalProtocolError("CONNECT is not prepared")
    head = _frames.encode_frame(_frames.HEADERS, encode_static(lines))
    return Prepared(head, body, length=length, method=method, status=0)
