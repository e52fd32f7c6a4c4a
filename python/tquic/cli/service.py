"""What commands share that listen: options, certificates, signals."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tquic import _engine
from tquic._engine import make_certificates
from tquic.cli import cert
from tquic.cli.client import (
    Address,
    add_congestion_option,
    add_qlog_option,
    add_scheduler_option,
    read_file,
    resolve,
    settings,
)
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import note
from tquic.cli.values import argument, port_number, show_address
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConfigError

HOST = "127.0.0.1"
PORT = 4433
# Days that a certificate made on the spot is good.
DAYS = 30
# Paths of a client with --multipath, where no setting says how many.
PATHS = 8
# Seconds between two looks at what the engine has to say.
LOOK = 0.25


def begin_engine(
    threads: int = 1, *, spin: float = 0.0, interface: str | None = None, zerocopy: bool = False
) -> Engine:
    """An engine of the command's own; what is wrong with its interface is told in a line."""
    try:
        return Engine(threads, spin=spin, interface=interface, zerocopy=zerocopy)
    except (ConfigError, OSError) as error:
        raise CommandError(getattr(error, "strerror", None) or str(error)) from None


def add_listen_options(parser: argparse.ArgumentParser) -> None:
    """Declares where to listen and with which certificate."""
    parser.add_argument(
        "--host",
        default=HOST,
        help="address to listen at (default: %(default)s, this machine only; :: for all)",
    )
    parser.add_argument(
        "--port",
        type=argument(port_number),
        default=PORT,
        help="UDP port; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--cert",
        type=Path,
        metavar="FILE",
        help="certificate chain (PEM; default: one for development, made at the start)",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key (PEM)")
    add_congestion_option(parser)
    add_qlog_option(parser)


def add_multipath_options(parser: argparse.ArgumentParser) -> None:
    """Declares that clients may have several paths, and what puts them in order."""
    parser.add_argument(
        "--multipath",
        action="store_true",
        help="let clients use several paths at the same time",
    )
    add_scheduler_option(parser)


@contextmanager
def server_config(
    options: argparse.Namespace, **others: Any
) -> Generator[tuple[Config, str], None, None]:
    """The configuration, and a line about the certificate if one had to be made.

    Such a certificate lives as long as the server, its key in memory only; clients find the CA in
    a folder that is gone afterwards.
    """
    if (options.cert is None) != (options.key is None):
        raise UsageError("--cert and --key belong together: give both or none")
    try:
        config = Config.load(**others, **settings(options))
        if options.multipath and config.max_paths == 1:
            config = config.replace(max_paths=PATHS)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if options.cert is not None:
        yield config.replace(cert=read_file(options.cert), key=read_file(options.key)), ""
        return
    if config.cert is not None:
        yield config, ""
        return
    names: list[str] = list(cert.NAMES)
    if options.host not in (*names, "::", "0.0.0.0"):
        names.append(options.host)
    try:
        ca, certificate, key = make_certificates(names, DAYS)
    except ValueError as error:
        raise CommandError(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="tquic-") as folder:
        path = Path(folder, "ca.pem")
        path.write_text(ca)
        line = (
            f"development certificate for {', '.join(names)}; clients trust it with --cacert {path}"
        )
        yield config.replace(cert=certificate.encode(), key=key.encode()), line


def bind_address(options: argparse.Namespace) -> Address:
    """The numeric address to listen at."""
    return resolve(options.host, options.port)[0]


def cannot_listen(address: Address, error: OSError) -> CommandError:
    """A sentence about a refused address."""
    place = show_address(*address)
    return CommandError(f"cannot listen on {place}: {error.strerror or error}")


def announce(addresses: list[Address], certificate: str) -> None:
    """The line that scripts wait for, first; then what people want to know."""
    print(f"listening on {show_address(*addresses[0])}", flush=True)
    if certificate:
        print(certificate, flush=True)


def serve_until_told(engine: _engine.Engine) -> None:
    """Returns at SIGTERM; Ctrl-C comes as `KeyboardInterrupt`. Shows the engine's warnings."""
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        while not told.wait(LOOK):
            show_messages(engine)
    finally:
        signal.signal(signal.SIGTERM, before)
        show_messages(engine)


def show_messages(engine: _engine.Engine) -> None:
    """What the engine's threads have to say."""
    for line in engine.take_messages():
        note(line)


def drain(step: Callable[[float], bool], seconds: float) -> bool:
    """Calls `step` for short times, so that signals are noticed, until it is done."""
    deadline = time.monotonic() + seconds
    while not step(min(0.1, max(deadline - time.monotonic(), 0.0))):
        if time.monotonic() >= deadline:
            return False
    return True
