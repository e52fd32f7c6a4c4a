"""Beginning connections that block."""

from __future__ import annotations

from tquic.client import plan
from tquic.config import Config
from tquic.engine import Engine
from tquic.sync._home import Threads
from tquic.sync.connection import Connection, Inner
from tquic.sync.stream import _checked
from tquic.tls import TlsContext, settled

__all__ = ["connect"]


def connect(
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
    wait: bool = True,
    timeout: float | None = None,
) -> Connection:
    """Connects to a server; see `tquic.connect`. The connection is a context manager::

        with tquic.sync.connect("example.com", 4433, config=config, timeout=10) as conn:
            ...

    Args:
        host: name or numeric address.
        port: UDP port.
        config: settings. Default `Config()`.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        local: numeric address (and port) to send from, before all of `Config.paths`. Default: a
            socket shared by all.
        interface: network interface to send through.
        wait: wait until the handshake is complete. Without it, what is written before something
            waits goes out with the first packets, as early data (0-RTT) if a ticket allows it.
        timeout: seconds that this, and everything on the connection, waits at most; see
            `Connection.settimeout`. Looking up a name has the system's timeout. Default for ever;
            `Config.handshake_timeout` counts in any case.

    Raises:
        TimeoutError: the timeout, or that of the handshake, has passed.
        ConnectionClosed: the handshake failed. The subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    home = Threads(engine)
    # Not to wait at all would be never to connect.
    patience = _checked(timeout) or None
    config = settled(config, tls, server_side=False)
    how = plan(host, port, config, local, interface, wait)
    inner = home.run(how.connect(home, Inner), patience)
    return Connection(home, inner, timeout)
