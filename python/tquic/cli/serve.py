"""``tquic serve``: the files of a folder, or an application."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tquic._engine import Engine, HqServer
from tquic.cli import service
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import note
from tquic.cli.values import argument, duration, positive, size
from tquic.config import Config
from tquic.errors import ConfigError

HQ: Final = "hq-interop"
H3: Final = "h3"
LEVELS = ("debug", "info", "warning", "error")
# Seconds that connections get after Ctrl-C.
HURRY = 0.5

_APPLICATION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is served, and how."""

    options: argparse.Namespace
    folder: Path | None
    """`None`: the application ``options.what``."""
    protocols: tuple[str, ...]
    config: Config
    certificate: str
    """A line about the certificate, if one was made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic serve www\n"
        "  tquic serve www --cert certs/cert.pem --key certs/key.pem --host ::\n"
        "  tquic serve shop:app --workers 4"
    )
    parser.add_argument(
        "what",
        metavar="DIR|MODULE:APP",
        help="folder to serve, and nothing outside of it; or an ASGI application",
    )
    service.add_listen_options(parser)
    service.add_multipath_options(parser)
    parser.add_argument(
        "--alpn",
        metavar="NAMES",
        help=f"application protocols, separated by commas (default: {H3},{HQ}; "
        f"for applications {H3})",
    )
    parser.add_argument(
        "--writable", action="store_true", help="let clients put files into the folder (HTTP PUT)"
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
        help="processes that share the port (default: %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=argument(duration),
        default=30.0,
        metavar="TIME",
        help="after SIGTERM, time for what was asked to be sent to its end (default: 30s)",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--streams",
        type=argument(positive),
        default=128,
        metavar="N",
        help="requests of one connection at a time (default: %(default)s)",
    )
    limits.add_argument(
        "--header-size",
        type=argument(size),
        default=32 * 1024,
        metavar="SIZE",
        help="of a request's header section (default: 32Ki)",
    )
    limits.add_argument(
        "--body-size",
        type=argument(size),
        default=1 << 40,
        metavar="SIZE",
        help="of a request's body (default: 1024Gi)",
    )
    parser.add_argument(
        "--access-log", action="store_true", help="write a line for each request to stderr"
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default="warning",
        help="what is told on stderr (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    folder = _folder(options.what)
    protocols = _protocols(options, folder)
    if options.writable and (folder is None or H3 not in protocols):
        raise UsageError("--writable needs a folder and HTTP/3")
    if options.workers > 128:
        raise UsageError("--workers: at most 128")
    retry = "always" if options.retry else "when-busy"
    # Each process would take the same early data once: RFC 9001 section 9.2.
    early = options.workers == 1 or protocols == (HQ,)
    with service.server_config(options, alpn=protocols, retry=retry, early_data=early) as (
        config,
        certificate,
    ):
        plan = Plan(options, folder, protocols, config, certificate)
        try:
            # Reads certificate and key.
            _ = config._server_tls
        except ConfigError as error:
            raise CommandError(f"{options.cert or 'the certificate'}: {error}") from None
        if protocols == (HQ,) and folder is not None:
            return _serve_hq(plan, folder)
        from tquic.cli import serve_h3

        return serve_h3.run(plan)


def _folder(text: str) -> Path | None:
    path = Path(text)
    if path.is_dir():
        try:
            os.scandir(path).close()
        except OSError as error:
            raise CommandError(f"cannot read the folder {text}: {error.strerror}") from None
        return path
    if not path.exists() and _APPLICATION.fullmatch(text):
        return None
    raise CommandError(f"{text} is no folder" if path.exists() else f"there is no folder {text}")


def _protocols(options: argparse.Namespace, folder: Path | None) -> tuple[str, ...]:
    if options.alpn is None:
        return (H3,) if folder is None else (H3, HQ)
    names = tuple(name.strip() for name in options.alpn.split(",") if name.strip())
    for name in names:
        if name not in (H3, HQ):
            raise UsageError(f"--alpn {name}: it is not known; {H3} and {HQ} are")
    if not names:
        raise UsageError("--alpn names no protocol")
    if folder is None and HQ in names:
        raise UsageError(f"--alpn {HQ}: an application is served over {H3} only")
    return names


def _serve_hq(plan: Plan, folder: Path) -> int:
    """HTTP/0.9 alone needs no Python: all of it runs in the engine's threads."""
    options, config = plan.options, plan.config
    engine = service.begin_engine(options.workers)._native
    address = service.bind_address(options)
    try:
        try:
            server = HqServer(
                engine,
                config,
                tls=config._server_tls,
                transport=config._transport,
                host=address[0],
                port=address[1],
                root=folder,
            )
        except OSError as error:
            raise service.cannot_listen(address, error) from None
        service.announce(server.addresses, plan.certificate)
        return _until_told(options, engine, server)
    finally:
        engine.shutdown()


def _until_told(options: argparse.Namespace, engine: Engine, server: HqServer) -> int:
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
