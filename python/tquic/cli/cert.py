"""``tquic cert``: certificates for development."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from pathlib import Path

from tquic._engine import make_certificates
from tquic.cli.failure import CommandError
from tquic.cli.values import argument, positive

NAMES = ("localhost", "127.0.0.1", "::1")
DAYS = 365
# A hundred years.
MAX_DAYS = 36_525
# One part of a host name.
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_NAME = 253


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic cert --out certs\n"
        "  tquic cert --out certs --name files.example --name 192.0.2.1"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder to write to (default: here)"
    )
    parser.add_argument(
        "--name",
        action="append",
        metavar="HOST",
        help=f"host name or address that the certificate is for; may be repeated "
        f"(default: {', '.join(NAMES)})",
    )
    parser.add_argument(
        "--days",
        type=argument(_days),
        default=DAYS,
        metavar="N",
        help=f"days it is good (default: {DAYS})",
    )


def run(options: argparse.Namespace) -> int:
    """Writes ca.pem, cert.pem and key.pem."""
    for name in options.name or ():
        if not _is_host(name):
            raise CommandError(
                f"no certificate can be made for {name!r}: write a host name or an IP address"
            )
    try:
        ca, certificate, key = make_certificates(options.name or list(NAMES), options.days)
    except ValueError as error:
        raise CommandError(str(error)) from None
    folder: Path = options.out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "ca.pem", ca)
        write(folder / "cert.pem", certificate)
        write(folder / "key.pem", key, mode=0o600)
    except OSError as error:
        raise CommandError(f"cannot write to {folder}: {error.strerror}") from None
    for name, what in (
        ("ca.pem", "CA for clients to trust: tquic get --cacert"),
        ("cert.pem", "certificate for the server: tquic serve --cert"),
        ("key.pem", "its private key: tquic serve --key"),
    ):
        print(f"{folder / name}  {what}")
    return 0


def _days(text: str) -> int:
    if (number := positive(text)) > MAX_DAYS:
        raise ValueError(f"{text} days are more than {MAX_DAYS}")
    return number


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        labels = name.removeprefix("*.").removesuffix(".").split(".")
        return len(name) <= _MAX_NAME and all(_LABEL.fullmatch(label) for label in labels)
    return True


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file that was never readable by more people than `mode` says."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
