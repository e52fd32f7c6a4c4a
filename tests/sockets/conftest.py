"""Certificates, and pairs of connected sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import trustme

from tquic.socket import (
    AF_INET,
    IPPROTO_QUIC,
    SOCK_DGRAM,
    SOL_TQUIC,
    TQUIC_CA,
    TQUIC_CERT,
    TQUIC_EXPECTED_HOSTNAME,
    TQUIC_KEY,
    socket,
)

# Longer than anything takes here; only a failure waits for it.
LONG = 30.0


@dataclass(frozen=True)
class Identity:
    """A CA, and what it has signed."""

    ca: bytes
    cert: bytes
    key: bytes


@pytest.fixture(scope="session")
def identity() -> Identity:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Identity(authority.cert_pem.bytes(), chain, leaf.private_key_pem.bytes())


Prepare = Callable[[socket], object]


@pytest.fixture
def make(identity: Identity) -> Iterator[Callable[..., socket]]:
    """Makes sockets that have what certificates they need, and closes them in the end."""
    made: list[socket] = []

    def one(family: int = AF_INET, *, server: bool = False) -> socket:
        fresh = socket(family, SOCK_DGRAM, IPPROTO_QUIC)
        fresh.settimeout(LONG)
        if server:
            fresh.setsockopt(SOL_TQUIC, TQUIC_CERT, identity.cert)
            fresh.setsockopt(SOL_TQUIC, TQUIC_KEY, identity.key)
        else:
            fresh.setsockopt(SOL_TQUIC, TQUIC_CA, identity.ca)
            fresh.setsockopt(SOL_TQUIC, TQUIC_EXPECTED_HOSTNAME, "localhost")
        made.append(fresh)
        return fresh

    yield one
    for fresh in made:
        fresh.close()


@pytest.fixture
def pair(make: Callable[..., socket]) -> Iterator[Callable[..., tuple[socket, socket]]]:
    """Makes both ends of a connection: (client, server)."""
    accepted: list[socket] = []

    def both(prepare: Prepare = lambda _: None) -> tuple[socket, socket]:
        listener, client = make(server=True), make()
        prepare(listener)
        prepare(client)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        server, address = listener.accept()
        server.settimeout(LONG)
        accepted.append(server)
        assert address == client.getsockname()
        return client, server

    yield both
    for server in accepted:
        server.close()
