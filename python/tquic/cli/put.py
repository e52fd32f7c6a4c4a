"""``tquic put``: uploads."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from tquic.cli import client
from tquic.cli.client import Address
from tquic.cli.download import locate
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import print_json
from tquic.cli.values import show_address, show_rate, show_size
from tquic.errors import QuicError
from tquic.h3._wire import ALPN
from tquic.h3.client import connect

PROTOCOL = "HTTP/3"
# Bytes of a refusal's text that are shown.
SHOWN = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic put results.csv https://localhost:4433/results.csv --cacert certs/ca.pem\n"
        "  tquic put results.csv https://localhost:4433/inbox/"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what to upload")
    parser.add_argument(
        "url",
        metavar="URL",
        help="https://HOST[:PORT]/PATH; behind a slash at its end comes the file's name",
    )
    client.add_trust_options(parser)
    client.add_connect_to_option(parser)
    client.add_header_option(parser)
    client.add_congestion_option(parser)
    client.add_path_options(parser)
    client.add_qlog_option(parser)
    client.add_connect_timeout_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Uploads the file."""
    if not options.file.is_file():
        there = options.file.exists()
        raise CommandError(
            f"{options.file} is no ordinary file" if there else f"there is no file {options.file}"
        )
    if options.url.endswith("/"):
        options.url += options.file.name
    server, request = locate(options.url)
    if request.endswith("/"):
        raise UsageError(f"{options.url} names no file")
    client.show_log()
    client.choose_paths(options, options.connect_to or server)
    return asyncio.run(_put(options, server, request))


async def _put(options: argparse.Namespace, server: Address, request: str) -> int:
    config = client.client_config(options, ALPN, handshake_timeout=options.connect_timeout)
    client.check(options, config)
    target: Address = options.connect_to or server
    client.resolve(*target, config)
    size, started = options.file.stat().st_size, time.monotonic()
    status, text = None, ""
    try:
        async with connect(
            f"https://{show_address(*server)}/", config=config, address=target
        ) as connection:
            response = await connection.put(request, options.file, headers=options.headers)
            status = response.status
            text = (await response.read(SHOWN)).decode("utf-8", "replace").strip()
    except QuicError as error:
        raise CommandError(client.explain(error, target, PROTOCOL)) from None
    except OSError as error:
        raise CommandError(f"cannot read {options.file}: {error.strerror}") from None
    seconds = time.monotonic() - started
    failed = status >= 300
    # Our server's text begins with the status.
    text = text.removeprefix(str(status)).lstrip(": ")
    why = f"the server refused: status {status}" + (f": {text}" if text else "")
    if options.json:
        document: dict[str, Any] = {
            "ok": not failed,
            "bytes": 0 if failed else size,
            "seconds": seconds,
            "gbps": 0.0 if failed else size * 8 / max(seconds, 1e-9) / 1e9,
            "protocol": ALPN,
            "url": options.url,
            "status": status,
            "error": why if failed else None,
        }
        print_json(document)
        return 1 if failed else 0
    if failed:
        raise CommandError(f"{options.url}: {why}")
    speed = show_rate(size / max(seconds, 1e-9))
    print(f"{options.url}  {show_size(size)} in {seconds:.2f} s ({speed})", file=sys.stderr)
    return 0
