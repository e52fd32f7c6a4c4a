"""``tquic serve``: the files of a folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tquic._engine import Engine, HqServer
from tquic.cli import service
from tquic.cli.failure import CommandError, UsageError, not_yet
from tquic.cli.output import note
from tquic.cli.values import argument, duration, positive
from tquic.config import Config
from tquic.errors import ConfigError

ALPN = "hq-interop"
LEVELS = ("debug", "info", "warning", "error")
# Seconds that connections get after Ctrl-C.
HURRY = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic serve www\n"
        "  tquic serve www --cert certs/cert.pem --key certs/key.pem --host ::"
    )
    parser.add_argument("what", metavar="DIR", help="folder to serve, and nothing outside of it")
    service.add_listen_options(parser)
    parser.add_argument(
        "--alpn",
        default=ALPN,
        metavar="NAMES",
        help="application protocols, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--retry",
        action="store_true",
        help="make every client prove its address first (RFC 9000 section 8.1.2)",
    )
    parser.add_argument(
        "--workers",
        type=argument(positive),
        default=1,
        metavar="N",
        help="threads, each with connections of its own (default: %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=argument(duration),
        default=30.0,
        metavar="TIME",
        help="after SIGTERM, time for what was asked to be sent to its end (default: 30s)",
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default="warning",
        help="what is told on stderr (default: %(default)s)",
    )
    not_yet(parser, "multipath", "--multipath", values=False)
    not_yet(parser, "multipath", "--scheduler")
    not_yet(parser, "HTTP/3", "--writable", values=False)


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    root = _folder(options.what)
    names = [name.strip() for name in options.alpn.split(",") if name.strip()]
    for name in names:
        if name != ALPN:
            why = "HTTP/3 is not there yet" if name == "h3" else "it is not known"
            raise UsageError(f"--alpn {name}: {why}; {ALPN} is")
    if not names:
        raise UsageError("--alpn names no protocol")
    if options.workers > 128:
        raise UsageError("--workers: at most 128 threads")
    retry = "always" if options.retry else "when-busy"
    with service.server_config(options, alpn=(ALPN,), retry=retry, early_data=True) as settings:
        config, certificate = settings
        engine = Engine(options.workers)
        try:
            return _serve(options, engine, root, (config, certificate))
        finally:
            engine.shutdown()


def _folder(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        try:
            os.scandir(path).close()
        except OSError as error:
            raise CommandError(f"cannot read the folder {text}: {error.strerror}") from None
        return path
    module, colon, name = text.partition(":")
    if colon and module.replace(".", "").isidentifier() and name.isidentifier():
        raise UsageError(f"{text}: serving an ASGI application is not there yet: it needs HTTP/3")
    raise CommandError(f"{text} is no folder" if path.exists() else f"there is no folder {text}")


def _serve(
    options: argparse.Namespace,
    engine: Engine,
    root: Path,
    settings: tuple[Config, str],
) -> int:
    config, certificate = settings
    address = service.bind_address(options)
    try:
        server = HqServer(
            engine,
            config,
            tls=config._server_tls,
            transport=config._transport,
            host=address[0],
            port=address[1],
            root=root,
        )
    except ConfigError as error:
        raise CommandError(f"{options.cert or 'the certificate'}: {error}") from None
    except OSError as error:
        raise service.cannot_listen(address, error) from None
    service.announce(server.addresses, certificate)
    seconds: float = options.grace
    interrupted = None
    try:
        service.serve_until_told(engine)
    except KeyboardInterrupt as error:
        seconds, interrupted = HURRY, error
    if not service.drain(server.drain, seconds):
        left = server.stats()["connections"]
        note(f"{left} connection{'s' * (left != 1)} not done after {seconds:g} s; closing them")
    if options.log_level in ("debug", "info"):
        stats = server.stats()
        note(
            f"{stats['requests']} requests: {stats['completed']} files sent whole, "
            f"{stats['failed']} refused or given up, {stats['bytes']} bytes"
        )
    if interrupted is not None:
        raise interrupted
    return 0
