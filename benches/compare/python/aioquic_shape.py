"""The driver over stacks with aioquic's interface."""

from __future__ import annotations

import argparse
import functools
import importlib
from typing import Any

from driver import (
    ALPN,
    CONNECTION_WINDOW,
    DATAGRAM,
    IDLE_TIMEOUT,
    SERVER_NAME,
    STREAM_WINDOW,
    Stack,
    main,
)


def run(package: str, **options: Any) -> None:
    """Drives `package`, whose configuration takes these options too."""
    api = importlib.import_module(f"{package}.asyncio")
    events = importlib.import_module(f"{package}.quic.events")
    configure = functools.partial(
        importlib.import_module(f"{package}.quic.configuration").QuicConfiguration,
        alpn_protocols=[ALPN],
        idle_timeout=IDLE_TIMEOUT,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
        max_datagram_size=DATAGRAM,
        cipher_suites=[importlib.import_module(f"{package}.tls").CipherSuite.AES_128_GCM_SHA256],
        **options,
    )

    def server(options: argparse.Namespace) -> Any:
        """With a certificate."""
        config = configure(is_client=False)
        config.load_cert_chain(options.cert, options.key)
        return config

    def client(options: argparse.Namespace) -> Any:
        """Verifies the server."""
        config = configure(is_client=True)
        config.server_name = SERVER_NAME
        config.load_verify_locations(options.ca)
        return config

    main(
        Stack(
            api.QuicConnectionProtocol,
            events.HandshakeCompleted,
            events.StreamDataReceived,
            server,
            client,
            api.connect,
            api.serve,
            _send,
        )
    )


def _send(protocol: Any, stream: int, data: bytes, fin: bool) -> None:
    """It takes everything, and keeps it."""
    protocol._quic.send_stream_data(stream, data, fin)
