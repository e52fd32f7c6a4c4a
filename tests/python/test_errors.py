"""Every way in which a connection fails: an exception of its own, and a sentence for people."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import errors


async def refused(server: tquic.Config, client: tquic.Config) -> tquic.ConnectionClosed:
    """How connecting fails, here."""

    async def handler(connection: tquic.Connection) -> None:
        await connection.wait_closed()

    async with tquic.serve("127.0.0.1", 0, handler, config=server) as listening:
        address, port = listening.address
        try:
            connection = await tquic.connect(address, port, config=client)
            # Where the server is the one who refuses, it does so after the client is done.
            await connection.accept_stream()
        except tquic.ConnectionClosed as error:
            return error
    raise AssertionError("the connection was not refused")


async def test_another_ca(server_config: Any, client_config: Any, stranger: Any) -> None:
    error = await refused(server_config, client_config.replace(ca=stranger.ca))
    assert type(error) is tquic.UntrustedCertificate
    assert (error.by, error.alert) == ("local", 48)
    assert "not signed by a trusted CA" in str(error)
    assert "unknown_ca" in error.code_name


async def test_another_name(server_config: Any, client_config: Any) -> None:
    error = await refused(server_config, client_config.replace(server_name="example.org"))
    assert type(error) is tquic.CertificateNameMismatch
    assert "example.org" in str(error)
    assert "localhost" in str(error)


async def test_an_expired_certificate(
    server_config: Any, client_config: Any, identity: Any
) -> None:
    long_ago = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    cert, key = identity.issue("127.0.0.1", not_after=long_ago)
    error = await refused(server_config.replace(cert=cert, key=key), client_config)
    assert type(error) is tquic.CertificateExpired
    assert "2020-01-02" in str(error)


async def test_no_common_protocol(server_config: Any, client_config: Any) -> None:
    error = await refused(server_config, client_config.replace(alpn=("other",)))
    assert type(error) is tquic.AlpnError
    assert error.by == "peer"
    assert "application protocol" in str(error)


async def test_no_common_version(server_config: Any, client_config: Any) -> None:
    error = await refused(
        server_config.replace(versions=("v2",)), client_config.replace(versions=("v1",))
    )
    assert type(error) is tquic.VersionError
    assert 0x6B3343CF in error.offered
    assert "version" in str(error)


async def test_no_common_cipher(server_config: Any, client_config: Any) -> None:
    error = await refused(
        server_config.replace(ciphers=("TLS_AES_256_GCM_SHA384",)),
        client_config.replace(ciphers=("TLS_AES_128_GCM_SHA256",)),
    )
    assert type(error) is tquic.HandshakeError
    assert "handshake_failure" in error.code_name


async def test_nobody_there(client_config: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(tquic.HandshakeTimeout) as caught:
            await tquic.connect(
                "127.0.0.1", port, config=client_config.replace(handshake_timeout=0.2)
            )
    assert isinstance(caught.value, TimeoutError)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "0.2 s" in str(caught.value)


async def test_a_server_that_is_full(echo: Any, server_config: Any, client_config: Any) -> None:
    full = server_config.replace(max_connections=1)
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=full) as server,
        tquic.connect(*server.address, config=client_config),
    ):
        with pytest.raises(tquic.ConnectionRefused, match="refused") as caught:
            await tquic.connect(*server.address, config=client_config)
    assert isinstance(caught.value, ConnectionRefusedError)
    assert caught.value.by == "peer"


async def test_unknown_hosts(client_config: Any) -> None:
    with pytest.raises(socket.gaierror):
        await tquic.connect("name.invalid", 1, config=client_config)


async def test_client_certificates(
    pair: Any, server_config: Any, client_config: Any, identity: Any, stranger: Any
) -> None:
    required = {"client_auth": "required", "client_ca": identity.ca}
    own = {"cert": identity.client_cert, "key": identity.client_key}
    async with pair(client=own, server=required) as (_, server):
        assert len(server.info.peer_certificates) >= 1
    optional = required | {"client_auth": "optional"}
    async with pair(server=optional) as (_, server):
        assert not server.info.peer_certificates

    error = await refused(server_config.replace(**required), client_config)
    assert type(error) is tquic.CertificateRequired
    assert error.by == "peer"
    assert "requires a client certificate" in str(error)

    foreign = {"cert": stranger.client_cert, "key": stranger.client_key}
    error = await refused(server_config.replace(**required), client_config.replace(**foreign))
    assert type(error) is tquic.UntrustedCertificate
    assert "does not trust the CA of our certificate" in str(error)


async def test_certificates_need_not_be_checked(pair: Any) -> None:
    async with pair(client={"ca": None, "insecure": True, "server_name": "x.example"}) as (c, _):
        assert c.connected


SERVER = """
import asyncio, sys
import tquic

async def handler(connection):
    stream = await connection.accept_stream()
    await stream.write(await stream.readexactly(1))
    await connection.wait_closed()

async def main():
    config = tquic.Config(cert=sys.argv[1], key=sys.argv[2], token_key=bytes(range(32)))
    async with tquic.serve("127.0.0.1", 0, handler, config=config) as server:
        print(server.address[1], flush=True)
        await server.wait_closed()

asyncio.run(main())
"""


@contextlib.contextmanager
def server_process(identity: Any, folder: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server that can be killed, and its port."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(identity.cert)
    key.write_bytes(identity.key)
    command = [sys.executable, "-c", SERVER, str(cert), str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


async def begun(port: int, config: tquic.Config) -> tuple[tquic.Connection, tquic.Stream]:
    connection = await tquic.connect("127.0.0.1", port, config=config)
    stream = connection.open_stream()
    await stream.write(b"x")
    assert await stream.readexactly(1) == b"x"
    await stream._flushed()
    return connection, stream


async def test_a_server_that_was_restarted(
    echo: Any, server_config: Any, client_config: Any, identity: Any, tmp_path: Path
) -> None:
    with server_process(identity, tmp_path) as (port, process):
        connection, stream = await begun(port, client_config)
        process.send_signal(signal.SIGKILL)
        process.wait()
        again = server_config.replace(token_key=bytes(range(32)))
        async with tquic.serve("127.0.0.1", port, echo, config=again):
            stream.write(bytes(1000))
            with pytest.raises(tquic.StatelessReset, match="no longer knows") as caught:
                await stream.read()
        assert isinstance(caught.value, ConnectionResetError)
        assert connection.closed


async def test_a_server_that_is_gone(client_config: Any, identity: Any, tmp_path: Path) -> None:
    with server_process(identity, tmp_path) as (port, process):
        _, stream = await begun(port, client_config.replace(idle_timeout=0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(tquic.IdleTimeout, match="timed out") as caught:
            await stream.read()
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.by is None


def test_the_tree_of_exceptions() -> None:
    for name in errors.__all__:
        cls = getattr(errors, name)
        assert issubclass(cls, tquic.QuicError)
        assert cls.__doc__
        assert getattr(tquic, name) is cls
    assert issubclass(tquic.ConnectionClosed, ConnectionError)


def test_exceptions_are_complete() -> None:
    error = tquic.TransportClosed(
        "closed by the peer", by="peer", code=10, code_name="PROTOCOL_VIOLATION", frame="STREAM"
    )
    assert (error.by, error.code, error.frame, error.clean) == ("peer", 10, "STREAM", False)
    assert str(error) == "closed by the peer"
    for sample in (error, tquic.StreamReset(5), tquic.VersionError("none", offered=(1,))):
        copy = pickle.loads(pickle.dumps(sample))
        assert type(copy) is type(sample)
        assert str(copy) == str(sample)
        assert vars(copy) == vars(sample)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_process_has_an_engine_of_its_own(identity: Any, tmp_path: Path) -> None:
    script = """
import asyncio, os, sys
import tquic

async def round_trip():
    config = tquic.Config(cert=sys.argv[1], key=sys.argv[2], ca=sys.argv[3])
    async def handler(connection):
        stream = await connection.accept_stream()
        stream.write(await stream.read())
        stream.finish()
    async with (
        tquic.serve("127.0.0.1", 0, handler, config=config) as server,
        tquic.connect(*server.address, config=config) as connection,
    ):
        stream = connection.open_stream()
        stream.write(b"x")
        stream.finish()
        assert await stream.read() == b"x"

asyncio.run(round_trip())
child = os.fork()
asyncio.run(round_trip())
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("both")
"""
    files = {"cert": identity.cert, "key": identity.key, "ca": identity.ca}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in files]
    done = subprocess.run(
        [sys.executable, "-c", script, *paths], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr


async def test_time_limits_cancel(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await client.accept_stream()
        assert not client.closed
