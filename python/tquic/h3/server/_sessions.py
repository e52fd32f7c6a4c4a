"""WebTransport sessions that clients ask for (section numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from tquic.errors import ConnectionClosed
from tquic.h3._sessions import Session, SessionClosed
from tquic.h3._webtransport import PROTOCOL_16, PROTOCOLS, encode_strings, parse_strings
from tquic.h3.errors import ErrorCode
from tquic.h3.headers import Headers, HeadersLike, as_fields
from tquic.h3.server._answer import date_line
from tquic.h3.server._exchange import Exchange

if TYPE_CHECKING:
    from tquic.h3.server._connection import ServerConnection

__all__ = ["SessionHandler", "SessionRequest", "SessionResponder", "run"]


class SessionRequest:
    """A client asks for a session: `accept` makes it, `refuse` does not."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._event = exchange.request
        self._session: Session | None = None
        self.headers = Headers(self._event.fields)
        """Its fields, without pseudo-fields."""

    @property
    def authority(self) -> str:
        """Host and port for which the request is meant."""
        return (self._event.authority or b"").decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query, as the client wrote them."""
        return (self._event.path or b"").decode("latin-1")

    @property
    def path(self) -> str:
        """The path, as the client wrote it: percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.target.partition("?")[2]

    @property
    def origin(self) -> str | None:
        """The origin of the page that asks, if a browser does.

        Compare it with those that may: browsers ask for any page, in the name of their user
        (section 3.2).
        """
        return self.headers.get("origin")

    @property
    def protocols(self) -> list[str]:
        """Application protocols that the client knows, best first."""
        field = self.headers.get("wt-available-protocols", "")
        return parse_strings(field.encode("latin-1"))

    @property
    def client(self) -> tuple[str, int]:
        """The client's address."""
        return self._exchange.connection.remote_address

    def accept(self, *, protocol: str | None = None, headers: HeadersLike | None = None) -> Session:
        """Makes the session.

        Args:
            protocol: one of `protocols`.
            headers: more fields of the response.

        Raises:
            RuntimeError: there is an answer already.
            ValueError: the client does not know the protocol.
            OSError: the client gave up.
        """
        exchange = self._exchange
        if exchange.status:
            raise RuntimeError("the session was accepted or refused already")
        if protocol is not None and protocol not in self.protocols:
            raise ValueError(f"the client does not know the protocol {protocol!r}")
        lines = [date_line(), *as_fields(headers)]
        if exchange.connection.h3.session_version == 2:
            # Version 2, section 3.3
            lines.append((b"sec-webtransport-http3-draft", b"draft02"))
        if protocol is not None:
            lines.append((b"wt-protocol", encode_strings((protocol,))))
        exchange.send_head(200, lines)
        connection = exchange.connection
        session = self._session = Session(connection, exchange, exchange.id)
        session.protocol = protocol
        session.headers = self.headers
        connection.sessions.add(session)
        # Section 3.2: what came of it before means something now.
        for chunk in exchange.take_chunks():
            session._on_content(chunk, end=False)
        if exchange.received:
            session._on_content(b"", end=True)
        return session

    def refuse(self, status: int = 403) -> None:
        """Answers with another status: 403 for an origin that may not, 404 or 405 for a path
        without sessions, 429 for too many."""
        self._exchange.refuse(status)

    def __repr__(self) -> str:
        return f"<SessionRequest {self.target}>"


SessionHandler: TypeAlias = Callable[[SessionRequest], Awaitable[None]]
"""Handles one session. When it returns, the session is left as by ``async with``, or refused with
status 403 if there was no answer. What it raises is logged, and ends the session with
H3_INTERNAL_ERROR, or with status 500; only that the session is over may pass through it."""


class SessionResponder:
    """Has a function handle sessions."""

    cancels = False
    protocols = PROTOCOLS

    def __init__(self, handler: SessionHandler) -> None:
        self._handler = handler

    def respond(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return run(exchange, self._handler)

    async def start(self) -> None:
        """Nothing has to be done before."""

    async def stop(self) -> None:
        """Nothing has to be done behind."""


async def run(exchange: Exchange, handler: SessionHandler) -> None:
    """Has a request for a session handled."""
    connection = exchange.connection
    version = connection.h3.session_version
    named = exchange.request.protocol == PROTOCOL_16
    if not version or not connection.max_datagram_size or (named and version != 16):
        # Section 3.1: the client has not announced what it needs.
        exchange.cancel(ErrorCode.H3_MESSAGE_ERROR)
        return
    if version == 16 and not named:
        # Section 2.1.2: to such a client the old name means sessions that are made of capsules.
        exchange.refuse(501)
        return
    if version == 16 and not connection.can_reset_at:
        # Section 3.1: a transport parameter is missing.
        exchange.cancel(ErrorCode.H3_MESSAGE_ERROR)
        return
    if _count(connection) > (1 if connection.sessions.alone else connection.limits.sessions):
        # Sections 5.1 and 5.2
        exchange.cancel(ErrorCode.H3_REQUEST_REJECTED)
        return
    request = SessionRequest(exchange)
    try:
        await handler(request)
    except (SessionClosed, ConnectionClosed) as error:
        if request._session is None or error is not request._session.exception:
            raise
    finally:
        if request._session is None:
            connection.sessions.refuse(exchange.id)
    if request._session is not None:
        await request._session._leave()
    elif not exchange.status:
        exchange.refuse(403)


def _count(connection: ServerConnection) -> int:
    """Sessions of a connection, and requests for some."""
    exchanges = connection._exchanges.values()
    return sum(exchange.request.protocol in PROTOCOLS for exchange in exchanges)
