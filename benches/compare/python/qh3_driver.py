"""The driver over qh3."""

from __future__ import annotations

import argparse
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
from qh3.asyncio import QuicConnectionProtocol, connect, serve
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.events import HandshakeCompleted, StreamDataReceived
from qh3.tls import CipherSuite


def configuration(*, is_client: bool) -> QuicConfiguration:
    """What both ends are given."""
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        is_client=is_client,
        idle_timeout=IDLE_TIMEOUT,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
        max_datagram_size=DATAGRAM,
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256],
    )


def server(options: argparse.Namespace) -> QuicConfiguration:
    """With a certificate."""
    config = configuration(is_client=False)
    config.load_cert_chain(options.cert, options.key)
    return config


def client(options: argparse.Namespace) -> QuicConfiguration:
    """Verifies the server."""
    config = configuration(is_client=True)
    config.server_name = SERVER_NAME
    config.load_verify_locations(options.ca)
    return config


def send(protocol: Any, stream: int, data: bytes, fin: bool) -> None:
    """It takes everything, and keeps it."""
    protocol._quic.send_stream_data(stream, data, fin)


main(
    Stack(
        QuicConnectionProtocol,
        HandshakeCompleted,
        StreamDataReceived,
        server,
        client,
        connect,
        serve,
        send,
    )
)
