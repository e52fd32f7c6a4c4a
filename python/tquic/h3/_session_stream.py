"""The streams of WebTransport sessions, and how they keep to the limits of their session (section
numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tquic.stream
from tquic.errors import ConnectionClosed, QuicError, StreamClosed, StreamReset, StreamStopped
from tquic.h3._session_flow import StreamAccount
from tquic.h3._webtransport import application_code, http_code
from tquic.h3.errors import FlowControlError, code_name

if TYPE_CHECKING:
    from _typeshed import StrPath

    from tquic.h3._sessions import Session
    from tquic.h3._wire import Wire

__all__ = ["Stream", "mapped"]

# Bytes of a file that are read at a time.
_PIECE: Final = 256 * 1024


def mapped(error: Exception) -> Exception:
    """The error with which a peer gave a stream up, with the application's code."""
    if not isinstance(error, StreamReset | StreamStopped):
        return error
    code = application_code(error.code)
    if code is None:
        # Section 4.4
        error.code_name = code_name(error.code)
        return error
    return type(error)(code)


class _Share:
    """Where the halves of a stream meet the limits of its session."""

    __slots__ = ("_session", "_stream", "account")

    def __init__(self, session: Session, stream: Stream, account: StreamAccount) -> None:
        self._session = session
        self._stream = stream
        self.account = account

    @property
    def room(self) -> int:
        return self.account.room(self._held)

    @property
    def _held(self) -> int:
        """Bytes that the engine has, and the peer's transport has not."""
        return self._stream._native.buffered(self._stream.id)

    def sent(self, n: int) -> None:
        self.account.sent(n)

    def wants_more(self) -> bool:
        if not self.account.open:
            return False
        self._session._on_short(self._stream)
        # Either the session has credit again, or this stream holds less of it.
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            native, number = self._stream._native, self._stream.id
            return self.account.left > 0 and native.notify_below(number, self._held // 2)
        return False

    def consumed(self, n: int) -> None:
        self.account.consumed(n)
        self._session._tell_limits()


class Stream(tquic.stream.Stream):
    """A stream of a session: a `tquic.Stream` whose error codes are those of the application, up to
    2^32-1.

    If the peer gave it up with a code that is not the application's, such as WT_SESSION_GONE, the
    error has the code of HTTP/3, and `code_name` its name.
    """

    _session: Session | None = None
    _share: _Share | None = None
    # Bytes at its beginning that the peer sent for HTTP/3.
    _peer_header = 0
    # The peer may open another in its place.
    _returned = False
    # This end has reset it, or the peer has stopped it.
    _gave_up_sending = False

    def __init__(self, connection: Wire, number: int, *, early: bool) -> None:
        super().__init__(connection, number, early=early)
        # Whether final sizes are told, and those that were, by whether they are of what was sent.
        self._settles = connection.h3.settings.session_limits is not None
        self._final_sizes: dict[bool, int | None] = {False: None, True: None}

    @property
    def session(self) -> Session:
        """Its session."""
        assert self._session is not None
        return self._session

    def reset(self, code: int = 0, *, reliable_size: int = 0) -> None:
        """Gives up sending (RESET_STREAM); what was not delivered is lost.

        If the peer does not know RESET_STREAM_AT and that is all of it, it may never hear of the
        stream. Nor does it if the session's limit of streams has kept the stream back so far: both
        directions are given up then.

        Args:
            code: the application's error code for the peer, below 2^32.
            reliable_size: bytes that are delivered nevertheless, see `tquic.Stream.reset`.

        Raises:
            StreamClosed: the stream does not go this way.
            StreamError: the peer does not know RESET_STREAM_AT.
            ValueError: the code is too large or negative, or so much was not written.
        """
        code = http_code(code)
        before = self._gave_up_sending
        self._gave_up_sending = before or not self._out.over
        try:
            super().reset(code, reliable_size=reliable_size)
        except (QuicError, ValueError):
            self._gave_up_sending = before
            raise
        if self._share is not None and not self._share.account.open:
            # It was not begun: the peer does not hear whose it is, and cannot answer.
            self.session._on_unwanted(self)
            super().stop(code)

    def stop(self, code: int = 0) -> None:
        """Gives up reading and asks the peer to stop sending (STOP_SENDING). What came and was not
        read is dropped.

        Args:
            code: the application's error code for the peer, below 2^32.

        Raises:
            ValueError: the code is too large or negative.
        """
        super().stop(http_code(code))

    async def send_file(self, path: StrPath, *, offset: int = 0, size: int | None = None) -> int:
        """See `tquic.Stream.send_file`. With flow control for sessions the file goes through
        Python."""
        if self._share is None:
            return await super().send_file(path, offset=offset, size=size)
        self._out.check()
        sent = 0
        try:
            with Path(path).open("rb") as file:
                file.seek(offset)
                while size is None or sent < size:
                    piece = file.read(_PIECE if size is None else min(_PIECE, size - sent))
                    if not piece:
                        break
                    await self.write(piece)
                    sent += len(piece)
        except BaseException:
            self.reset()
            raise
        self.finish()
        return sent

    async def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """See `tquic.Stream.recv_to_file`. With flow control for sessions the file goes through
        Python."""
        if self._share is None:
            return await super().recv_to_file(path, offset=offset)
        self._check_reader()
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.truncate(offset)
                file.seek(offset)
            received = 0
            try:
                while piece := await self.read_chunk():
                    file.write(piece)
                    received += len(piece)
            except BaseException:
                self.stop()
                raise
        return received

    def _give_up(self, code: int, error: Exception) -> None:
        self._gave_up_sending = self._gave_up_sending or not self._out.over
        super()._give_up(code, error)

    def __repr__(self) -> str:
        return f"<WebTransport stream {self._id}>"

    # ---- The limits of its session ----

    def _join(self, session: Session) -> None:
        """It belongs to a session now; what came of it before counts there.

        Raises:
            FlowControlError: it is more than the peer may send.
        """
        self._session = session
        if session._flow is None:
            return
        account = StreamAccount(
            session._flow, sent_header=self._header, received_header=self._peer_header
        )
        self._share = self._in.share = self._out.share = _Share(session, self, account)
        came = self._in.position + self._in.buffered - self._peer_header
        account.received(came)
        account.consumed(came - self._in.buffered)
        final_size = self._final_sizes[False]
        if final_size is not None:
            account.settle_received(final_size)
        session._tell_limits()

    def _begin(self) -> None:
        """The peer lets it in."""
        assert self._share is not None
        self._share.account.open = True
        self._out.on_writable()

    def _leave(self) -> None:
        """Its session is over, and so are its limits."""
        self._share = self._in.share = self._out.share = None

    def _on_arrival(self, size: int) -> None:
        """So much has come."""
        if self._share is not None and size:
            try:
                self._share.account.received(size)
            except FlowControlError as error:
                self.session._fail(error)
            else:
                # It may have been the last of what the peer may send.
                self.session._tell_limits()

    def _on_final_size(self, outgoing: bool, size: int) -> None:
        """It was given up: so much of it counts (section 5.4)."""
        self._final_sizes[outgoing] = size
        if self._share is None:
            return
        session, account = self.session, self._share.account
        if outgoing:
            account.settle_sent(size)
            session._on_credit()
            return
        try:
            account.settle_received(size)
        except FlowControlError as error:
            session._fail(error)
        else:
            session._tell_limits()

    @property
    def _settled_over(self) -> bool:
        """Whether nothing can happen to it any more, not even that its final size comes."""
        return self._over and not self._unsettled

    @property
    def _unsettled(self) -> bool:
        if not self._settles:
            return False
        incoming = self._in.error is not None and not self._in.end_seen
        return (incoming and self._final_sizes[False] is None) or (
            self._gave_up_sending and self._final_sizes[True] is None
        )
