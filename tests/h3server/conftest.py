"""A server, and clients that reach it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trustme

import tquic
from tquic import h3
from tquic.h3.server import Limits, Server

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager["Site"]]


class Site:
    """A server under way, and how to reach it."""

    def __init__(self, server: Server, ca: bytes) -> None:
        self.server = server
        self.ca = ca
        self.port = server.address[1]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def connect(self, **changes: Any) -> Any:
        """Our client."""
        config = tquic.Config(ca=self.ca, **changes)
        return h3.connect(self.url, config=config, address=("127.0.0.1", self.port))

    def connect_raw(self) -> Any:
        """A QUIC connection on which a test may write anything."""
        config = tquic.Config(ca=self.ca, alpn=("h3",), server_name="localhost")
        return tquic.connect("127.0.0.1", self.port, config=config)


@pytest.fixture(scope="session")
def authority() -> tuple[bytes, bytes, bytes]:
    """The CA, a certificate and its key."""
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return ca.cert_pem.bytes(), chain, leaf.private_key_pem.bytes()


@pytest.fixture
def serve(authority: tuple[bytes, bytes, bytes]) -> Serve:
    """Serves something until the block ends."""
    ca, cert, key = authority

    @contextlib.asynccontextmanager
    async def serving(
        served: Any, *, limits: Limits | None = None, **changes: Any
    ) -> AsyncIterator[Site]:
        config = tquic.Config(cert=cert, key=key, **changes)
        async with h3.serve(served, "127.0.0.1", 0, config=config, limits=limits) as server:
            yield Site(server, ca)
        assert not server.connections

    return serving


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """A folder to serve, with a secret beside it."""
    folder = tmp_path / "www"
    (folder / "sub").mkdir(parents=True)
    (folder / "pages").mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "hello.txt").write_text("hello, world\n")
    (folder / "empty").write_bytes(b"")
    (folder / "big.bin").write_bytes(bytes(range(256)) * 8192)
    (folder / "pages" / "index.html").write_text("<p>index</p>")
    (folder / "sub" / "a&b <c>.txt").write_text("odd")
    (folder / "outside").symlink_to("../secret")
    (folder / "inside").symlink_to("sub")
    (folder / "app.js").write_text("let long = 1;" * 100)
    (folder / "app.js.gz").write_bytes(b"gzipped")
    (folder / "app.js.br").write_bytes(b"brotli")
    return folder
