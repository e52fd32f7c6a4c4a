"""`tquic.h3.webtransport` for anyio, for clients: sessions whose streams are byte streams of anyio
as well::

    async with tquic.anyio.h3.connect("https://example.com/") as c:
        async with await c.webtransport("/chat") as session:
            async with session.open_stream() as stream:
                await stream.send(b"hello")
                await stream.send_eof()
                print(await stream.receive())

Experimental, as the original is.
"""

from __future__ import annotations

from typing import cast

import tquic.anyio.stream
import tquic.h3._session_stream
import tquic.h3._sessions

__all__ = ["Session", "Stream"]


class Stream(tquic.h3._session_stream.Stream, tquic.anyio.stream.Stream):
    """A stream of a session: like a `tquic.anyio.Stream`, with error codes of the application up to
    2^32-1; see `tquic.h3.webtransport.Stream`. Once the session is over, the cause of
    `anyio.BrokenResourceError` says why."""

    @property
    def session(self) -> Session:
        """Its session."""
        return cast(Session, super().session)


class Session(tquic.h3._sessions.Session):
    """A WebTransport session: made by `tquic.anyio.h3.ClientConnection.webtransport`; see
    `tquic.h3.webtransport.Session`."""

    _stream_type = Stream

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream; see `tquic.h3.webtransport.Session.open_stream`."""
        return cast(Stream, super().open_stream(unidirectional=unidirectional))

    async def accept_stream(self) -> Stream:
        """Waits for the next stream that the server opens.

        Raises:
            SessionClosed: the session is over, and all its streams were accepted.
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        return cast(Stream, await super().accept_stream())

    async def __anext__(self) -> Stream:
        return cast(Stream, await super().__anext__())
