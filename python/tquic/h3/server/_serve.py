"""Beginning to serve."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from tquic import _engine
from tquic._hub import Hub
from tquic._opening import Opening
from tquic.client import resolve
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConfigError
from tquic.h3._webtransport import PROTOCOLS
from tquic.h3.server._access import AccessLog
from tquic.h3.server._asgi import App, AsgiResponder
from tquic.h3.server._handler import Handler, HandlerResponder
from tquic.h3.server._limits import Limits
from tquic.h3.server._serving import Responder, Server
from tquic.h3.server._sessions import SessionHandler, SessionResponder
from tquic.h3.server._static import StaticFiles
from tquic.h3.settings import SessionLimits, Settings
from tquic.tls import TlsContext, settled

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["Serving", "serve"]

# What most browsers and their pages need: every request sends some of its fields again.
_TABLE: Final = 16 * 1024
_BLOCKED: Final = 100

ALPN: Final = "h3"

Served: TypeAlias = "App | Handler | StaticFiles"


class Serving(Opening[Server]):
    """What `serve` answers: ``await`` it, or use it with ``async with``."""

    def __init__(
        self,
        responder: Responder,
        address: tuple[str, int],
        config: Config,
        engine: Engine | None,
        limits: Limits,
        *,
        access: bool,
        sessions: Responder | None = None,
        hq: _engine.HqService | None = None,
        place: tuple[_engine.SharedPort, int] | None = None,
    ) -> None:
        self._responder = responder
        self._sessions = sessions
        self._address = address
        self._config = config
        self._engine = engine
        self._limits = limits
        self._access = AccessLog() if access else None
        self._hq = hq
        self._place = place

    async def _open(self) -> Server:
        hub = Hub.current(self._engine)
        address, *_ = await resolve(hub, *self._address)
        protocols = self._responder.protocols | (
            self._sessions.protocols if self._sessions is not None else frozenset()
        )
        sessions = self._limits.sessions if protocols & PROTOCOLS else 0
        settings = Settings(
            qpack_max_table_capacity=_TABLE,
            qpack_blocked_streams=_BLOCKED,
            max_field_section_size=self._limits.header_size,
            enable_connect_protocol=bool(protocols),
            h3_datagram=sessions > 0,
            webtransport=sessions,
            session_limits=self._session_limits() if sessions else None,
        )
        server = Server(
            hub,
            self._config,
            self._responder,
            sessions=self._sessions,
            limits=self._limits,
            settings=settings,
            access=self._access,
        )
        await server._start(address, self._hq, self._place)
        return server

    def _session_limits(self) -> SessionLimits | None:
        """What a session may send; none if there can be no sessions of version 16."""
        if not self._config.reset_stream_at:
            # draft-ietf-webtrans-http3-16 section 3.1
            return None
        limits = self._limits
        return SessionLimits(
            data=limits.session_data,
            bidi_streams=limits.session_bidi_streams,
            uni_streams=limits.session_uni_streams,
        )


def serve(
    served: Served,
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    limits: Limits | None = None,
    access_log: bool = False,
    webtransport: SessionHandler | bool = False,
) -> Serving:
    """Listens for HTTP/3 clients::

        async def hello(request: Request) -> Response:
            return Response(f"hello, {request.path}")

        async with tquic.h3.serve(hello, "::", 443, config=config) as server:
            await server.wait_closed()

    ``server = await tquic.h3.serve(...)`` works as well; then end it with `Server.shutdown`.

    Args:
        served: who answers: an ASGI 3 application, a `StaticFiles`, or an ``async`` function from
            `Request` to `Response`.
        host: name or numeric address to listen at; ``"::"`` is every address, IPv4 included.
        port: UDP port; 0 picks one, see `Server.address`.
        config: settings; `Config.cert` and `Config.key` are needed, if not in `tls`. `Config.alpn`
            becomes ``("h3",)``, `Config.max_bidi_streams` what `limits` says.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        limits: what one client may take.
        access_log: write a line for each request at level INFO of the logger ``tquic.access``.
        webtransport: who takes WebTransport sessions, see `tquic.h3.webtransport`: an ``async``
            function; or, if true, the ASGI application. Default: nobody. Experimental.

    Raises:
        ConfigError: a setting cannot be used, or the application says that it cannot start.
        OSError: the address is taken, or not ours.
    """
    limits = limits or Limits()
    config = transport_config(settled(config, tls, server_side=True), limits)
    if webtransport and not config.max_datagram_frame_size:
        raise ConfigError("WebTransport needs datagrams: max_datagram_frame_size is 0")
    found = responder(served)
    if webtransport is True:
        if not isinstance(found, AsgiResponder):
            raise ConfigError("only an ASGI application can take WebTransport sessions itself")
        found.take_sessions()
    sessions = SessionResponder(webtransport) if callable(webtransport) else None
    where = (host, port)
    return Serving(found, where, config, engine, limits, access=access_log, sessions=sessions)


def transport_config(config: Config, limits: Limits, *more: str) -> Config:
    """The settings with which HTTP/3, and other protocols, are served."""
    return config.replace(alpn=(ALPN, *more), max_bidi_streams=limits.streams)


def responder(served: Served) -> Responder:
    """Who answers, by what was given."""
    if isinstance(served, StaticFiles):
        return served
    if not callable(served):
        raise ConfigError(
            f"an ASGI application, a handler or StaticFiles can be served, not {served!r}"
        )
    # An application takes scope, receive and send; a handler takes the request.
    parameters = [
        one
        for one in inspect.signature(served).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
    ]
    if len(parameters) == 1:
        return HandlerResponder(served)  # type: ignore[arg-type]
    return AsgiResponder(served)  # type: ignore[arg-type]
