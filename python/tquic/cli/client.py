"""What commands share that connect: options, addresses, sentences about what went wrong."""

from __future__ import annotations

import argparse
import logging
import re
import socket
import tempfile
from pathlib import Path
from typing import Any, get_args

from tquic._manager import interface_to, usable_interfaces
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.values import argument, duration, host_and_port, show_address
from tquic.config import Config, Congestion, Scheduler
from tquic.errors import (
    AlpnError,
    CertificateExpired,
    CertificateNameMismatch,
    ConfigError,
    ConnectionClosed,
    ConnectionRefused,
    HandshakeTimeout,
    UntrustedCertificate,
)
from tquic.multipath import PathPolicy, local_address
from tquic.stats import ConnectionStats

Address = tuple[str, int]

AUTO = "auto"

# RFC 9110 sections 5.1 and 5.5
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


def add_trust_options(parser: argparse.ArgumentParser) -> None:
    """Declares how the server is verified."""
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--cacert",
        type=Path,
        metavar="FILE",
        help="CAs to trust (PEM) instead of those of the system",
    )
    trust.add_argument(
        "--insecure",
        action="store_true",
        help="take any certificate: anybody on the way can be the server; for tests",
    )


def add_congestion_option(parser: argparse.ArgumentParser) -> None:
    """Declares the congestion controller."""
    parser.add_argument(
        "--congestion",
        choices=get_args(Congestion),
        metavar="NAME",
        help=f"congestion controller: {', '.join(get_args(Congestion))} "
        "(default: that of TQUIC_CONGESTION, else cubic)",
    )


def add_qlog_option(parser: argparse.ArgumentParser) -> None:
    """Declares where qlog files go."""
    parser.add_argument(
        "--qlog",
        type=Path,
        metavar="DIR",
        help="write a qlog file for each connection into this folder (default: that of QLOGDIR)",
    )


def add_scheduler_option(parser: argparse.ArgumentParser) -> None:
    """Declares what puts several paths in order."""
    parser.add_argument(
        "--scheduler",
        metavar="NAME",
        help=f"which of several paths carries what: {', '.join(get_args(Scheduler))} "
        "(default: that of TQUIC_SCHEDULER, else minrtt)",
    )


def add_path_options(parser: argparse.ArgumentParser) -> None:
    """Declares the networks that a client uses at the same time."""
    parser.add_argument(
        "--path",
        dest="paths",
        action="append",
        type=argument(_path),
        metavar="LOCAL",
        help="use this network: an interface, an address, or ADDRESS@INTERFACE; several times for "
        "several paths at the same time, the handshake over the first; auto: all networks that "
        "this machine has for the server",
    )
    add_scheduler_option(parser)


def _path(text: str) -> str:
    if text != AUTO:
        local_address(text)
    return text


def choose_paths(options: argparse.Namespace, server: Address) -> None:
    """Puts interfaces in the place of ``--path auto``: those that `PathPolicy` would use for this
    server, metered ones only where there are no others. With less than two the routes decide."""
    if AUTO not in (options.paths or ()):
        return
    if len(options.paths) > 1:
        raise UsageError(f"--path {AUTO} stands alone")
    ip, port = resolve(*server)[0]
    try:
        usable = usable_interfaces(v6=":" in ip)
        first = interface_to(ip, port)
    except OSError as error:
        raise CommandError(f"--path {AUTO}: {error}") from None
    choices = PathPolicy().choose(usable)
    names = [one.interface for one in choices if not one.backup]
    names = names or [one.interface for one in choices]
    # The handshake goes where everything would go; to this machine itself, everything does.
    names.sort(key=lambda name: name != first)
    options.paths = names if len(names) > 1 and first in names else None


def show_log() -> None:
    """Warnings of the engine, such as a path that cannot be opened, are for people to see."""
    logging.basicConfig(format="tquic: %(message)s", level="WARNING")


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that options of clients and servers stand for, as far as they were given."""
    if options.qlog is not None:
        _check_folder(options.qlog)
    given = {
        "congestion": options.congestion,
        "qlog": options.qlog,
        "paths": getattr(options, "paths", None),
        "scheduler": getattr(options, "scheduler", None),
    }
    return {name: value for name, value in given.items() if value is not None}


def _check_folder(folder: Path) -> None:
    """The engine goes on without a log where none can be written, which nobody would notice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(f"--qlog {folder}: {error.strerror}") from None


def add_connect_to_option(parser: argparse.ArgumentParser) -> None:
    """Declares another place to connect to."""
    parser.add_argument(
        "--connect-to",
        type=argument(host_and_port),
        metavar="HOST:PORT",
        help="connect there; the certificate must still be for the host of the URL",
    )


def add_connect_timeout_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--connect-timeout``."""
    parser.add_argument(
        "--connect-timeout",
        type=argument(duration),
        default=10.0,
        metavar="TIME",
        help="give up when the server has not answered for this long (default: 10s)",
    )


def add_header_option(parser: argparse.ArgumentParser) -> None:
    """Declares fields of requests."""
    parser.add_argument(
        "-H",
        dest="headers",
        action="append",
        default=[],
        type=argument(_header),
        metavar="'NAME: VALUE'",
        help="send this field as well; may be given several times",
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"{text!r} is no field: write 'name: value'")
    return name, value.strip(" \t")


def client_config(options: argparse.Namespace, alpn: str, **others: Any) -> Config:
    """The configuration that the options ask for, and the environment where they are silent."""
    if options.cacert is not None:
        others |= {"ca": read_file(options.cacert), "insecure": False}
    if options.insecure:
        others["insecure"] = True
    others |= settings(options)
    try:
        if len(paths := others.get("paths", ())) > 1:
            # As many as the environment allows, and these at least.
            others["max_paths"] = max(Config.load().max_paths, len(paths))
        return Config.load(alpn=(alpn,), **others)
    except ConfigError as error:
        raise UsageError(str(error)) from None


def check(options: argparse.Namespace, config: Config) -> None:
    """Fails with a sentence if what TLS needs cannot be used."""
    try:
        tls = config._client_tls
    except ConfigError as error:
        name = f"{options.cacert}: " if options.cacert is not None else ""
        raise CommandError(f"{name}{error}") from None
    del tls


def read_file(path: Path) -> bytes:
    """The content, or a sentence."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None


def resolve(host: str, port: int, config: Config | None = None) -> list[Address]:
    """The numeric addresses of a host, best first; with `config` those that its first path can
    reach."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise CommandError(f"cannot find the host {host}: {reason}") from None
    addresses: list[Address] = []
    for _, _, _, _, sockaddr in found:
        numeric, number = str(sockaddr[0]), int(sockaddr[1])
        if len(sockaddr) == 4 and sockaddr[3] and "%" not in numeric:
            numeric = f"{numeric}%{sockaddr[3]}"
        if (numeric, number) not in addresses:
            addresses.append((numeric, number))
    if config is not None and not (addresses := config._reached(addresses)):
        raise CommandError(f"{host} has no address of the family of {config.paths[0]}")
    return addresses


def path_reports(stats: ConnectionStats) -> list[dict[str, Any]]:
    """What JSON says about the paths of a connection."""
    return [
        {
            "id": path.id,
            "local": show_address(*path.local),
            "remote": show_address(*path.remote),
            "bytes": path.bytes_sent + path.bytes_received,
            "srtt_us": path.srtt * 1e6,
            "lost": path.lost_packets,
            "mtu": path.mtu,
        }
        for path in stats.paths
    ]


def explain(error: BaseException, server: Address, protocol: str) -> str:
    """Why a connection failed, with what one can do about it."""
    place = show_address(*server)
    match error:
        case UntrustedCertificate(by="local"):
            return (
                f"the certificate of {place} is not signed by a CA that is trusted here: name its "
                "CA with --cacert FILE (or, for tests only, take any certificate with --insecure)"
            )
        case CertificateNameMismatch(by="local") | CertificateExpired(by="local"):
            return f"{place}: {error.reason}"
        case AlpnError():
            return f"{place} speaks QUIC, but not {protocol}"
        case HandshakeTimeout():
            return f"no answer from {place} over UDP: is a QUIC server listening there?"
        case ConnectionRefused(by=None):
            return f"nobody listens at {place} (UDP): is a QUIC server running there?"
        case ConnectionRefused():
            return f"{place} takes no connections now: {error.reason or error}"
        case ConnectionClosed():
            return f"{place}: {error}"
        case _:
            return str(error)
