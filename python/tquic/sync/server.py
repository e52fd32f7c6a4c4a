"""Accepting connections that block."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias, cast

import tquic.connection
from tquic.client import resolve
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import EngineError
from tquic.server import Listener, tell_failure
from tquic.sync._home import Bell, Threads
from tquic.sync.connection import Connection, Inner
from tquic.sync.stream import _checked
from tquic.tls import TlsContext, settled

__all__ = ["Handler", "Server", "serve"]

Handler: TypeAlias = Callable[[Connection], object]
"""Takes care of one connection, in a thread of its own. When it returns, it is closed."""


class _Accepting(Listener):
    """The listener itself, with connections that nobody has accepted."""

    _connection_type = Inner

    def __init__(self, home: Threads, config: Config, timeout: float | None) -> None:
        super().__init__(home, config)
        self.threads = home
        self.timeout = timeout
        self.fresh: deque[Connection] = deque()
        self.on_fresh: Callable[[], None] | None = None
        self.on_unlistened: Callable[[], None] | None = None

    def _begin(self, connection: tquic.connection.Connection) -> None:
        inner = cast(Inner, connection)
        self.fresh.append(Connection(self.threads, inner, self.timeout, shared=True))
        self._news.wake()
        if self.on_fresh is not None:
            self.on_fresh()

    def _on_unlistened(self) -> None:
        super()._on_unlistened()
        if self.on_unlistened is not None:
            self.on_unlistened()

    async def accept(self) -> Connection:
        while not self.fresh:
            if self._number is None:
                raise EngineError("the server accepts no connections any more")
            await self._news.wait()
        return self.fresh.popleft()


class Server:
    """A listening server: made by `serve`. As a context manager it closes itself at the exit."""

    def __init__(self, home: Threads, handler: Handler | None, accepting: _Accepting) -> None:
        self._home = home
        self._handler = handler
        self._accepting = accepting
        self._handlers: set[threading.Thread] = set()
        self._bell: Bell | None = None
        if handler is not None:
            accepting.on_fresh = self._start
        # Handles events while nobody else waits for any: handshakes go on, descriptors ring.
        self._keeper = threading.Thread(target=self._keep, name="tquic-server", daemon=True)
        self._keeper.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; port 0 has become a real one."""
        return self._accepting.address

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, preferred addresses included."""
        return self._accepting.addresses

    @property
    def accepting(self) -> bool:
        """Whether it takes new connections."""
        return self._accepting.accepting

    def __repr__(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        return f"<Server at {where}>"

    def accept(self, timeout: float | None = None) -> Connection:
        """Waits for the next connection, if the server has no handler. Close it when you are done.

        Args:
            timeout: seconds. Default for ever.

        Raises:
            TimeoutError: none came; with a timeout of 0 it is `BlockingIOError`.
            EngineError: the server was closed.
        """
        self._check_handler()
        if timeout == 0 and self._bell is not None:
            # First: who comes while this looks rings again.
            self._bell.silence()
        return self._home.run(self._accepting.accept(), _checked(timeout))

    def fileno(self) -> int:
        """A descriptor for `select`, `selectors` and event loops: readable when somebody came.

        Only to be polled. When it is readable, call `accept` with a timeout of 0 until it raises
        `BlockingIOError`.
        """
        self._check_handler()
        with self._home.lock:
            if self._bell is None:
                self._bell = Bell()
                self._accepting.on_fresh = self._accepting.on_unlistened = self._bell.ring
                # Who came before may wait.
                self._bell.ring()
            return self._bell.fileno()

    def stop_accepting(self) -> None:
        """Takes no new connections; those that are there go on. See `wait_closed`.

        Where a handshake has begun, there is a connection: it is served as the others are.
        """
        with self._home.lock:
            self._accepting.stop_accepting()

    def close(self, code: int = 0, reason: str = "") -> None:
        """Takes no new connections and closes those that are there; returns at once.

        What handlers call on their connections raises `ConnectionClosed` then.

        Args:
            code: application error code for the clients.
            reason: for people.
        """
        with self._home.lock:
            self._accepting.close(code, reason)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Waits until it accepts no more and all its connections and handlers have ended.

        Args:
            timeout: seconds. Default for ever.

        Raises:
            TimeoutError: they have not.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._home.run(self._accepting.wait_closed(), _checked(timeout))
        for thread in [*self._handlers, self._keeper]:
            thread.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if thread.is_alive():
                raise TimeoutError(f"timed out after {timeout:g} s: a handler has not ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.wait_closed()

    def _check_handler(self) -> None:
        if self._handler is not None:
            raise RuntimeError("the handler takes care of connections")

    def _keep(self) -> None:
        self._home.run(self._accepting.wait_closed(), None)

    def _start(self) -> None:
        connection = self._accepting.fresh.popleft()
        thread = threading.Thread(target=self._handle, args=(connection,), daemon=True)
        self._handlers.add(thread)
        thread.start()

    def _handle(self, connection: Connection) -> None:
        assert self._handler is not None
        try:
            with connection:
                self._handler(connection)
        except Exception as error:
            tell_failure(error, connection._inner)
        finally:
            self._handlers.discard(threading.current_thread())


def serve(
    host: str,
    port: int,
    handler: Handler | None = None,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    timeout: float | None = None,
) -> Server:
    """Listens for connections, each handled in a thread of its own::

        def handler(conn):
            for stream in conn:
                stream.write(stream.read())
                stream.finish()

        with tquic.sync.serve("::", 4433, handler, config=config) as server:
            server.wait_closed()

    Without a handler, `Server.accept` gives the connections.

    Args:
        host: name or numeric address to listen at; ``"::"`` is every address, IPv4 included.
        port: UDP port; 0 picks one, see `Server.address`.
        handler: called for each connection as soon as the handshake is complete, or early data has
            come. When it returns, the connection is closed; when it raises, with code 1.
        config: settings; `Config.cert` and `Config.key` are needed, if not in `tls`.
            `Config.max_connections` bounds the threads.
        tls: TLS settings, which come before those in `config`.
        engine: threads of the engine to use. Default: those of the process.
        timeout: seconds that everything on its connections waits at most; see
            `Connection.settimeout`. Default for ever.

    Raises:
        ConfigError: a setting cannot be used.
        OSError: the address is taken, or not ours.
    """
    config = settled(config, tls, server_side=True)
    home = Threads(engine)
    address, *_ = home.run(resolve(home, host, port), None)
    accepting = _Accepting(home, config, _checked(timeout))
    accepting._listen(*address)
    return Server(home, handler, accepting)
