"""The endpoint of quic-interop-runner: ``python -m tquic.interop``.

Everything comes from environment variables, as the runner sets them: ``ROLE`` (``client`` or
``server``), ``TESTCASE``, ``REQUESTS`` (client: URLs), ``SSLKEYLOGFILE``, ``QLOGDIR``. What the
runner mounts at fixed places can lie elsewhere: ``WWW`` (``/www``), ``DOWNLOADS``
(``/downloads``), ``CERTS`` (``/certs``: ``cert.pem``, ``priv.key``, ``ca.pem``), ``HOST`` and
``PORT`` (``::`` and 443). ``PREFERRED_V4`` is the preferred address that a server announces in the
case ``connectionmigration``. Files travel over HTTP/0.9, or over HTTP/3 in the case ``http3`` and
wherever ``PROTOCOL`` is ``h3``, for peers that speak nothing else.

The exit status is 127 for test cases that are not played, 0 when a client has every file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tquic import h3
from tquic._engine import HqFetch, HqServer
from tquic.cli.client import resolve
from tquic.cli.failure import CommandError
from tquic.cli.values import host_and_port, port_number, show_address
from tquic.client import connect
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import MigrationError, QuicError
from tquic.h3.server import StaticFiles
from tquic.session import SessionStore

ALPN = ("hq-interop",)
UNSUPPORTED = 127
PORT = 443
# The runner's limits are 60 s, or 300 s for 50 handshakes with heavy loss.
IDLE = 60.0
HANDSHAKE = 60.0
# A leaf and the intermediates of a chain that can be verified.
MAX_CHAIN = 7
# Paths at a time, and the address of the second.
PATHS = 4
SECOND_PATH = "127.0.0.2"
# Seconds between attempts to move to another port.
MOVE_STEP = 0.0005
# Seconds for what is under way when a server is told to end.
GRACE = 1.0
# Seconds for what comes soon after a handshake, and between two looks for it.
SOON, STEP = 5.0, 0.005

# What clients of these cases do. Servers play the runner's names for them as well.
PLAIN = {
    "amplificationlimit", "blackhole", "chacha20", "connectionmigration", "ecn", "handshake",
    "ipv6", "longrtt", "multiplexing", "rebind-addr", "rebind-port", "retry", "transfer",
    "transfercorruption", "transferloss", "v2",
}  # fmt: skip
UPDATING = {"keyupdate"}
MOVING = {"clientmigration"}
RESUMING = {"resumption", "zerortt"}
EACH = {"handshakecorruption", "handshakeloss", "multiconnect"}
HTTP3 = "http3"
MULTIPATH = "multipath"
CASES = PLAIN | UPDATING | MOVING | RESUMING | EACH | {HTTP3, MULTIPATH}


def main() -> int:
    """Plays the role; the exit status."""
    role, case = os.environ.get("ROLE", ""), os.environ.get("TESTCASE", "")
    if role not in ("client", "server") or case not in CASES:
        print(f"tquic: cannot play ROLE {role!r}, TESTCASE {case!r}", file=sys.stderr)
        return UNSUPPORTED
    try:
        return _client(case) if role == "client" else _server(case)
    except (CommandError, QuicError, OSError, ValueError) as error:
        print(f"tquic: {error}", file=sys.stderr)
        return 1


def _setting(name: str, fallback: str) -> str:
    return os.environ.get(name) or fallback


def _speaks_http3(case: str) -> bool:
    return case == HTTP3 or os.environ.get("PROTOCOL") == "h3"


def _config(case: str, **others: Any) -> Config:
    config = Config(alpn=ALPN, idle_timeout=IDLE, handshake_timeout=HANDSHAKE, **others)
    if case == "chacha20":
        config = config.replace(ciphers=("TLS_CHACHA20_POLY1305_SHA256",))
    if case == MULTIPATH:
        config = config.replace(max_paths=PATHS)
    if case == "v2":
        # With a post-quantum key share the ClientHello takes two datagrams, and the server
        # acknowledges the first before it knows that it may change the version.
        config = config.replace(groups=("x25519", "secp256r1"))
        # Begins with version 1, and each side would rather have 2 (RFC 9369 section 4).
        config = config.replace(versions=("v2", "v1"), initial_version="v1")
    return config


def _server(case: str) -> int:
    certs = Path(_setting("CERTS", "/certs"))
    host, port = _setting("HOST", "::"), port_number(_setting("PORT", str(PORT)))
    preferred: tuple[tuple[str, int], ...] = ()
    if case == "connectionmigration":
        preferred = (host_and_port(_setting("PREFERRED_V4", f"127.0.0.1:{port + 1}")),)
    config = _config(
        case,
        cert=certs / "cert.pem",
        key=certs / "priv.key",
        early_data=True,
        retry="always" if case == "retry" else "when-busy",
        preferred_address=preferred,
    )
    if _speaks_http3(case):
        return asyncio.run(_serve_http3(config, host, port))
    engine = Engine.default()._native
    try:
        server = HqServer(
            engine,
            config,
            tls=config._server_tls,
            transport=config._transport,
            host=resolve(host, port)[0][0],
            port=port,
            root=_setting("WWW", "/www"),
        )
        print(f"listening on {show_address(*server.addresses[0])}", flush=True)
        told = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.set())
        told.wait()
        server.drain(GRACE)
        print(f"tquic: {server.stats()}", file=sys.stderr)
    finally:
        engine.shutdown()
        for line in engine.take_messages():
            print(f"tquic: {line}", file=sys.stderr)
    return 0


async def _serve_http3(config: Config, host: str, port: int) -> int:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    files = StaticFiles(_setting("WWW", "/www"))
    async with h3.serve(files, host, port, config=config) as server:
        print(f"listening on {show_address(*server.address)}", flush=True)
        await told.wait()
        await server.shutdown(GRACE)
    return 0


def _is_too_long(chain: Path) -> bool:
    """Whether the server's chain has more certificates than we follow.

    That is the case `amplificationlimit`, which needs a large handshake: a leaf and eight
    intermediates. rustls-webpki follows six, and clients do not learn the name of the case.
    """
    try:
        return chain.read_bytes().count(b"-----BEGIN CERTIFICATE") > MAX_CHAIN
    except OSError:
        return False


class _Client:
    """Downloads; every connection has the same settings and tickets."""

    def __init__(self, case: str) -> None:
        self.case = case
        # The one that HTTP/3 uses: an interface of AF_XDP has one engine.
        self.engine = Engine.default()._native
        self.store = SessionStore()
        certs = Path(_setting("CERTS", "/certs"))
        self.config = _config(
            case,
            ca=certs / "ca.pem",
            insecure=_is_too_long(certs / "cert.pem"),
            session_store=self.store,
            early_data=case == "zerortt",
        )
        self.downloads = Path(_setting("DOWNLOADS", "/downloads"))

    def fetch(self, urls: list[str], **others: Any) -> None:
        """Everything over one connection, in parallel."""
        first = urlsplit(urls[0])
        host = first.hostname or ""
        paths = [urlsplit(url).path for url in urls]
        fetch = HqFetch(
            self.engine,
            tls=self.config._client_tls,
            transport=self.config._transport,
            server_name=host,
            addresses=resolve(host, first.port or PORT)[:1],
            files=[(path, self.downloads / Path(path).name, None) for path in paths],
            update_keys=self.case in UPDATING,
            **others,
        )
        if self.case in MOVING:
            self._move(fetch)
        while not fetch.wait(1.0):
            pass
        ending = fetch.ending()
        if ending is not None and ending["error"] is not None:
            raise CommandError(str(ending["error"]))
        for url, result in zip(urls, fetch.results(), strict=True):
            error = "no result" if result is None else result["error"]
            if error is not None:
                raise CommandError(f"{url}: {error}")

    def _move(self, fetch: HqFetch) -> None:
        """Goes on from another port as soon as that is allowed (RFC 9000 section 9)."""
        while not fetch.wait(MOVE_STEP):
            with contextlib.suppress(MigrationError):
                if fetch.progress()[0] and fetch.migrate():
                    return
        raise CommandError("the connection was over before it could move")

    async def fetch_http3(self, urls: list[str], *, await_ticket: bool = False) -> None:
        """Everything over one HTTP/3 connection, in parallel."""

        async def fetch(url: str) -> None:
            response = await connection.get(url)
            if response.status != 200:
                raise CommandError(f"{url}: status {response.status}")
            await response.recv_to_file(self.downloads / Path(urlsplit(url).path).name)

        async with h3.connect(urls[0], config=self.config) as connection:
            transfer = asyncio.gather(*map(fetch, urls))
            if self.case in UPDATING:
                await self._until(connection.quic.update_keys)
            if self.case in MOVING:
                while True:
                    with contextlib.suppress(MigrationError):
                        await connection.quic.migrate()
                        break
                    await asyncio.sleep(STEP)
            await transfer
            if await_ticket:
                await self._until(lambda: bool(self.store))

    @staticmethod
    async def _until(condition: Callable[[], bool]) -> None:
        """Looks until it holds: what it waits for has no event."""
        async with asyncio.timeout(SOON):
            while not condition():
                await asyncio.sleep(STEP)

    async def fetch_over_paths(self, urls: list[str]) -> None:
        """One after another: the first over one path, the second over another with the first as
        its backup, the others over that alone."""
        first = urlsplit(urls[0])
        host, port = first.hostname or "", first.port or PORT
        async with connect(host, port, config=self.config) as connection:
            for number, url in enumerate(urls):
                if number == 1:
                    await connection.add_path(_setting("SECOND_PATH", SECOND_PATH))
                    connection.set_path_status(0, backup=True)
                elif number == 2:
                    connection.remove_path(0)
                stream = connection.open_stream()
                path = urlsplit(url).path
                stream.write(f"GET {path}\r\n".encode())
                stream.finish()
                (self.downloads / Path(path).name).write_bytes(await stream.read())

    def run(self, urls: list[str]) -> None:
        """Plays the case."""
        if self.case == MULTIPATH:
            asyncio.run(self.fetch_over_paths(urls))
        elif _speaks_http3(self.case):
            self._run(urls, self._http3)
        else:
            self._run(urls, self._hq)

    def _hq(self, urls: list[str], more: bool) -> None:
        self.fetch(urls, **({"await_ticket": self.store._tickets} if more else {}))

    def _http3(self, urls: list[str], more: bool) -> None:
        asyncio.run(self.fetch_http3(urls, await_ticket=more))

    def _run(self, urls: list[str], fetch: Callable[[list[str], bool], None]) -> None:
        if self.case in EACH:
            for url in urls:
                fetch([url], False)
        elif self.case in RESUMING:
            fetch(urls[:1], True)
            fetch(urls[1:], False)
        else:
            fetch(urls, False)


def _client(case: str) -> int:
    urls = os.environ.get("REQUESTS", "").split()
    if not urls or (case in RESUMING and len(urls) < 2):
        raise CommandError("REQUESTS names too few URLs")
    client = _Client(case)
    try:
        client.run(urls)
    finally:
        client.engine.shutdown()
        for line in client.engine.take_messages():
            print(f"tquic: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
