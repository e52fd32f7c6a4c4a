"""``tquic tunnel``: forwards TCP ports over one connection, which may have several paths."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from pathlib import Path
from typing import Any

from tquic.cli import client, service
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import note
from tquic.cli.values import argument, host_and_port, show_address
from tquic.config import Config
from tquic.errors import ConfigError, QuicError
from tquic.server import serve
from tquic.tunnel import ALPN, Client, Forward, Forwarder, target

PROTOCOL = "the tunnel's protocol"
# Seconds after which a silent peer is asked for a sign, and after which it is gone.
KEEP_ALIVE, IDLE = 5.0, 30.0
# TCP connections at a time, for each client.
STREAMS = 1024
LOCAL = "127.0.0.1"

_FORWARD = re.compile(r"(?:(\[[^]]+\]|[^:\[\]]+):)?(\d+):((?:\[[^]]+\]|[^:\[\]]+):\d+)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares both roles and their options."""
    roles = parser.add_subparsers(dest="role", metavar="ROLE", required=True)
    server = roles.add_parser(
        "server",
        help="connects to targets for its clients",
        description="Connects to targets for its clients.",
    )
    server.epilog = (
        "example:\n"
        "  tquic tunnel server --cert cert.pem --key key.pem --client-ca ca.pem \\\n"
        "    --allow db.example:5432"
    )
    service.add_listen_options(server)
    client.add_scheduler_option(server)
    server.set_defaults(multipath=True)
    server.add_argument(
        "--allow",
        action="append",
        required=True,
        type=argument(_target),
        metavar="HOST:PORT",
        help="forward to this target, and to no others; may be given several times",
    )
    server.add_argument(
        "--client-ca",
        type=Path,
        metavar="FILE",
        help="take only clients with a certificate of this CA (PEM)",
    )
    near = roles.add_parser(
        "client",
        help="listens for TCP connections, and sends them to a server",
        description="Listens for TCP connections, and sends them to a server.",
    )
    near.epilog = (
        "example:\n"
        "  tquic tunnel client gate.example:4433 5432:db.example:5432 \\\n"
        "    --path eth0 --path wwan0"
    )
    near.add_argument("server", type=argument(host_and_port), metavar="HOST:PORT")
    near.add_argument(
        "forwards",
        nargs="+",
        type=argument(_forward),
        metavar="[BIND:]PORT:HOST:PORT",
        help=f"listen at this port (BIND: {LOCAL}); the server connects to HOST:PORT",
    )
    client.add_trust_options(near)
    near.add_argument("--cert", type=Path, metavar="FILE", help="certificate to show (PEM)")
    near.add_argument("--key", type=Path, metavar="FILE", help="its private key (PEM)")
    client.add_congestion_option(near)
    client.add_path_options(near)
    client.add_qlog_option(near)
    client.add_connect_timeout_option(near)


def _target(text: str) -> str:
    target(text)
    return text


def _forward(text: str) -> Forward:
    match = _FORWARD.fullmatch(text)
    if match is None or int(match[2]) > 65_535:
        raise ValueError(f"{text!r}: write [BIND:]PORT:HOST:PORT")
    return Forward(((match[1] or LOCAL).strip("[]"), int(match[2])), _target(match[3]))


def run(options: argparse.Namespace) -> int:
    """Plays the role until SIGTERM or Ctrl-C."""
    client.show_log()
    return asyncio.run(_serve(options) if options.role == "server" else _connect(options))


async def _until_told() -> None:
    """Returns at SIGTERM; Ctrl-C cancels, as asyncio does."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


async def _serve(options: argparse.Namespace) -> int:
    settings: dict[str, Any] = {
        "alpn": (ALPN,),
        "idle_timeout": IDLE,
        "max_bidi_streams": STREAMS,
    }
    if options.client_ca is not None:
        settings["client_ca"] = client.read_file(options.client_ca)
        settings["client_auth"] = "required"
    address = service.bind_address(options)
    with service.server_config(options, **settings) as (config, certificate):
        try:
            server = await serve(*address, Forwarder(options.allow), config=config)
        except ConfigError as error:
            raise CommandError(f"{options.cert or options.client_ca}: {error}") from None
        except OSError as error:
            raise service.cannot_listen(address, error) from None
        async with server:
            service.announce(list(server.addresses), certificate)
            if config.client_auth == "none" and address[0] not in ("127.0.0.1", "::1"):
                note("everybody who reaches this port is a client: --client-ca asks who they are")
            await _until_told()
            server.close()
    return 0


def _config(options: argparse.Namespace) -> Config:
    if (options.cert is None) != (options.key is None):
        raise UsageError("--cert and --key belong together: give both or none")
    others: dict[str, Any] = {
        "handshake_timeout": options.connect_timeout,
        "idle_timeout": IDLE,
        "keep_alive": KEEP_ALIVE,
    }
    if options.cert is not None:
        others["cert"] = client.read_file(options.cert)
        others["key"] = client.read_file(options.key)
    config = client.client_config(options, ALPN, **others)
    client.check(options, config)
    return config


async def _connect(options: argparse.Namespace) -> int:
    host, port = options.server
    client.choose_paths(options, options.server)
    config = _config(options)
    client.resolve(host, port, config)
    try:
        async with Client(options.server, options.forwards, config=config) as tunnel:
            for address, forward in zip(tunnel.addresses, options.forwards, strict=True):
                print(f"forwarding {show_address(*address)} to {forward.to}", flush=True)
            await _until_told()
    except QuicError as error:
        raise CommandError(client.explain(error, options.server, PROTOCOL)) from None
    except OSError as error:
        raise CommandError(error.strerror or str(error)) from None
    return 0
