"""Every way in which a connection fails: an exception of its own, and a sentence for people."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

import tquic
from tquic import codes, errors

Test = TypeVar("Test", bound=Callable[..., Any])

# Which test provokes which exception, for real.
PROVOKED: dict[type[BaseException], str] = {}
# Roots of others, which say nothing alone.
ROOTS = {tquic.QuicError, tquic.ConnectionClosed, tquic.StreamError}


def provokes(*classes: type[BaseException]) -> Callable[[Test], Test]:
    """Marks a test in which exactly these exceptions are raised."""

    def mark(test: Test) -> Test:
        PROVOKED.update(dict.fromkeys(classes, test.__name__))
        return test

    return mark


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


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@provokes(tquic.UntrustedCertificate)
async def test_another_ca(server_config: Any, client_config: Any, stranger: Any) -> None:
    error = await refused(server_config, client_config.replace(ca=stranger.ca))
    assert type(error) is tquic.UntrustedCertificate
    assert (error.by, error.alert) == ("local", 48)
    assert "not signed by a trusted CA" in str(error)
    assert "unknown_ca" in error.code_name
    assert (error.alert_name, error.tquic_err) == ("unknown_ca", 0x130)
    assert error.tquic_err_name == error.code_name
    assert error.frame is None
    assert error.reason


@provokes(tquic.CertificateNameMismatch)
async def test_another_name(server_config: Any, client_config: Any) -> None:
    error = await refused(server_config, client_config.replace(server_name="example.org"))
    assert type(error) is tquic.CertificateNameMismatch
    assert "example.org" in str(error)
    assert "localhost" in str(error)


@provokes(tquic.CertificateNameMismatch)
async def test_addresses_are_written_as_usual(
    server_config: Any, client_config: Any, identity: Any
) -> None:
    cert, key = identity.issue("::1")
    error = await refused(server_config.replace(cert=cert, key=key), client_config)
    assert error.reason == "the certificate is for ::1, not for 127.0.0.1"


@provokes(tquic.CertificateExpired)
async def test_an_expired_certificate(
    server_config: Any, client_config: Any, identity: Any
) -> None:
    long_ago = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    cert, key = identity.issue("127.0.0.1", not_after=long_ago)
    error = await refused(server_config.replace(cert=cert, key=key), client_config)
    assert type(error) is tquic.CertificateExpired
    assert "2020-01-02" in str(error)


@provokes(tquic.AlpnError)
async def test_no_common_protocol(server_config: Any, client_config: Any) -> None:
    error = await refused(server_config, client_config.replace(alpn=("other",)))
    assert type(error) is tquic.AlpnError
    assert error.by == "peer"
    assert str(error).count("application protocol") == 1


@provokes(tquic.VersionError)
async def test_no_common_version(server_config: Any, client_config: Any) -> None:
    error = await refused(
        server_config.replace(versions=("v2",)), client_config.replace(versions=("v1",))
    )
    assert type(error) is tquic.VersionError
    assert 0x6B3343CF in error.offered
    assert "version" in str(error)


@provokes(tquic.HandshakeError)
async def test_no_common_cipher(server_config: Any, client_config: Any) -> None:
    error = await refused(
        server_config.replace(ciphers=("TLS_AES_256_GCM_SHA384",)),
        client_config.replace(ciphers=("TLS_AES_128_GCM_SHA256",)),
    )
    assert type(error) is tquic.HandshakeError
    assert "handshake_failure" in error.code_name


@provokes(tquic.HandshakeTimeout)
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


@provokes(tquic.ConnectionRefused)
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


@provokes(tquic.ConnectionRefused)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who sent what")
async def test_a_closed_port(client_config: Any) -> None:
    """The system says so at once: nobody waits for the time limit of the handshake."""
    config = client_config.replace(handshake_timeout=50.0)
    for local in (None, "127.0.0.1"):
        with pytest.raises(tquic.ConnectionRefused, match="nobody listens") as caught:
            await tquic.connect("127.0.0.1", closed_port(), config=config, local=local)
        assert isinstance(caught.value, ConnectionRefusedError)
        assert (caught.value.errno, caught.value.by) == (errno.ECONNREFUSED, None)
        assert caught.value.tquic_err == codes.TQUIC_ERR_CONNECTION_REFUSED


async def test_a_closed_port_does_not_harm_others(
    echo: Any, server_config: Any, client_config: Any
) -> None:
    """All clients share a socket: what is said about one must not reach another."""
    engine = tquic.Engine()
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=server_config) as server,
        tquic.connect(*server.address, config=client_config, engine=engine) as connection,
    ):
        stream = connection.open_stream()
        for _ in range(5):
            with pytest.raises(tquic.ConnectionRefused):
                await tquic.connect("127.0.0.1", closed_port(), config=client_config, engine=engine)
            await stream.write(bytes(100_000))
            assert await stream.readexactly(100_000) == bytes(100_000)
        assert (await connection.stats()).paths[0].lost_packets == 0
    engine.shutdown()


@provokes(tquic.PinMismatch)
async def test_another_key(server_config: Any, client_config: Any, stranger: Any) -> None:
    pins = (tquic.public_key_pin(stranger.cert),)
    error = await refused(server_config, client_config.replace(pins=pins))
    assert type(error) is tquic.PinMismatch
    assert (error.by, error.alert_name) == ("local", "certificate_unknown")
    assert "it is sha256//" in str(error)


@provokes(tquic.CertificateError)
async def test_a_certificate_with_another_fault(
    server_config: Any, client_config: Any, identity: Any
) -> None:
    """A client's certificate shown by the server would do; that of a CA does not."""
    authority = trustme.CA()
    child = authority.create_child_ca()
    key = child._private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    error = await refused(
        server_config.replace(cert=child.cert_pem.bytes(), key=key),
        client_config.replace(ca=authority.cert_pem.bytes()),
    )
    assert type(error) is tquic.CertificateError
    assert "is one of a CA" in str(error)


@provokes(tquic.TransportClosed)
async def test_an_end_in_the_middle_of_the_handshake(
    echo: Any, server_config: Any, client_config: Any
) -> None:
    """What an application says is for those who are sure of it: RFC 9000 section 10.2.3."""
    loop = asyncio.get_running_loop()
    engine = tquic.Engine()
    server = await tquic.serve("127.0.0.1", 0, echo, config=server_config, engine=engine)
    # In between: the client hears nothing of the server but its last datagram.
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside,
    ):
        for end in (inside, outside):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        client = await tquic.connect(*inside.getsockname(), config=client_config, wait=False)
        for _ in range(2):
            # The ClientHello takes two datagrams.
            data, source = await loop.sock_recvfrom(inside, 2048)
            outside.sendto(data, server.address)
        last = await loop.sock_recv(outside, 2048)
        engine.shutdown(code=7, reason="a secret")
        with contextlib.suppress(BlockingIOError):
            while True:
                last = outside.recv(2048)
        inside.sendto(last, source)
        with pytest.raises(tquic.TransportClosed) as caught:
            await client.wait_connected()
    error = caught.value
    assert type(error) is tquic.TransportClosed
    assert (error.by, error.code_name) == ("peer", "APPLICATION_ERROR")
    assert error.tquic_err == codes.TQUIC_ERR_APPLICATION_ERROR
    assert "secret" not in str(error)


@provokes(tquic.ApplicationClosed)
async def test_an_application_closes(pair: Any) -> None:
    async with pair() as (client, server):
        server.close(0x1234, "enough")
        with pytest.raises(tquic.ApplicationClosed, match="enough") as caught:
            await client.accept_stream()
        error = caught.value
        assert (error.by, error.code, error.code_name) == ("peer", 0x1234, "0x1234")
        assert (error.reason, error.tquic_err) == ("enough", codes.TQUIC_ERR_APPLICATION_ERROR)
        assert error.errno == errno.ECONNRESET
        await server.wait_closed()
        assert server.exception is not None
        assert server.exception.by == "local"


@provokes(tquic.StreamReset, tquic.StreamStopped, tquic.StreamClosed)
async def test_streams_that_end_early(pair: Any) -> None:
    async with pair() as (client, server):
        stream = client.open_stream()
        await stream.write(b"x")
        other = await server.accept_stream()
        assert await other.readexactly(1) == b"x"
        other.reset(0x21)
        with pytest.raises(tquic.StreamReset, match="0x21") as reset:
            await stream.read()
        assert (reset.value.by, reset.value.frame) == ("peer", "RESET_STREAM")
        assert (reset.value.code_name, reset.value.errno) == ("0x21", errno.ECONNRESET)
        other.stop(0x22)

        async def write_on() -> None:
            while True:
                await stream.write(b"x")

        with pytest.raises(tquic.StreamStopped, match="0x22") as stopped:
            await write_on()
        assert (stopped.value.by, stopped.value.frame) == ("peer", "STOP_SENDING")
        assert stopped.value.errno == errno.EPIPE
        with pytest.raises(tquic.StreamClosed) as closed:
            await other.write(b"x")
        assert (closed.value.by, closed.value.tquic_err_name) == ("local", "STREAM_STATE_ERROR")
        assert closed.value.reason


@provokes(tquic.WriteBufferFull)
async def test_writing_without_waiting(pair: Any) -> None:
    async with pair(client={"write_buffer": 0, "send_buffer": 1024}) as (client, _):
        stream = client.open_stream()
        stream.write(bytes(4096))
        with pytest.raises(tquic.WriteBufferFull) as caught:
            stream.write(bytes(4096))
        assert caught.value.tquic_err_name == "FLOW_CONTROL_ERROR"


@provokes(tquic.DatagramError)
async def test_datagrams_that_are_too_large(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(tquic.DatagramError) as caught:
            client.send_datagram(bytes(60_000))
        assert caught.value.max_size == client.max_datagram_size
        assert caught.value.reason == str(caught.value)


@provokes(tquic.PathError)
async def test_a_path_that_was_not_agreed_on(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(tquic.PathError, match="not negotiated") as caught:
            await client.add_path()
        assert caught.value.tquic_err_name == "NO_VIABLE_PATH"


@provokes(tquic.MigrationError)
async def test_a_server_cannot_move(pair: Any) -> None:
    async with pair() as (_, server):
        with pytest.raises(tquic.MigrationError) as caught:
            await server.migrate("127.0.0.1")
        assert caught.value.tquic_err_name == "NO_VIABLE_PATH"


@provokes(tquic.EngineError)
async def test_an_engine_that_was_shut_down(client_config: Any) -> None:
    engine = tquic.Engine()
    engine.shutdown()
    with pytest.raises(tquic.EngineError) as caught:
        await tquic.connect("127.0.0.1", 1, config=client_config, engine=engine)
    assert caught.value.tquic_err == codes.TQUIC_ERR_INTERNAL_ERROR


@provokes(tquic.ConfigError)
def test_a_setting_that_cannot_be() -> None:
    with pytest.raises(tquic.ConfigError, match="mtu") as caught:
        tquic.Config(mtu=1)
    assert caught.value.by == "local"


async def test_unknown_hosts(client_config: Any) -> None:
    with pytest.raises(socket.gaierror):
        await tquic.connect("name.invalid", 1, config=client_config)


@provokes(tquic.CertificateRequired)
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


@provokes(tquic.StatelessReset)
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


@provokes(tquic.IdleTimeout)
async def test_a_server_that_is_gone(client_config: Any, identity: Any, tmp_path: Path) -> None:
    with server_process(identity, tmp_path) as (port, process):
        _, stream = await begun(port, client_config.replace(idle_timeout=1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(tquic.IdleTimeout, match="timed out") as caught:
            await stream.read()
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.by is None


def exceptions() -> set[type[BaseException]]:
    return {getattr(errors, name) for name in errors.__all__}


def test_every_exception_is_provoked() -> None:
    """A new class needs a test that raises it for real."""
    assert exceptions() == set(PROVOKED) | ROOTS
    defined = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type)
        and issubclass(cls, BaseException)
        and cls.__module__ == errors.__name__
    }
    assert defined == exceptions()


def test_every_exception_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)`", page, re.M))
    assert set(rows) == {cls.__name__ for cls in exceptions()} - {"QuicError"}
    for name, parent in rows.items():
        cls = getattr(errors, name)
        assert cls.__mro__[1].__name__ == parent
    constants = dict(re.findall(r"^\| `(TQUIC_ERR_\w+)` \| (0x[0-9a-f]+)", page, re.M))
    known = {name: value for name, value in vars(codes).items() if name.startswith("TQUIC_ERR_")}
    assert {name: int(value, 16) for name, value in constants.items()} == known


def test_names_of_codes() -> None:
    assert codes.name(0x0A) == "PROTOCOL_VIOLATION"
    assert codes.name(0x130) == "CRYPTO_ERROR(0x130 unknown_ca)"
    assert codes.name(0x1FE) == "CRYPTO_ERROR(0x1fe)"
    assert codes.name(0x4000) == "UNKNOWN_ERROR(0x4000)"
    assert codes.alert_name(48) == "unknown_ca"
    assert codes.alert_name(254) == "254"


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
        assert copy.tquic_err == sample.tquic_err


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


async def test_an_error_that_is_raised_again_keeps_no_frames(pair: Any) -> None:
    async with pair() as (client, _):
        stream = client.open_stream()
        client.close()

        async def open_stream() -> None:
            client.open_stream()

        for call in (stream.read, client.accept_stream, stream.drain, open_stream):
            depths = set()
            for _ in range(5):
                with pytest.raises(tquic.ApplicationClosed) as caught:
                    await call()
                depths.add(len(caught.traceback))
            assert len(depths) == 1


async def test_a_wrong_code_leaves_the_stream_alone(pair: Any) -> None:
    async with pair() as (client, server):
        stream = client.open_stream()
        await stream.write(b"x")
        far = await server.accept_stream()
        for call in (stream.stop, stream.reset):
            with pytest.raises(TypeError):
                call(1.5)
            with pytest.raises(ValueError, match="code must be"):
                call(-1)
        await far.write(b"y")
        await stream.write(b"z")
        assert await stream.read(1) == b"y"
        assert await far.readexactly(2) == b"xz"


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_a_port_that_nobody_can_listen_at(port: int, client_config: tquic.Config) -> None:
    with pytest.raises(ValueError, match=f"port must be from 1 to 65535, not {port}"):
        await tquic.connect("127.0.0.1", port, config=client_config)


FAILING = """
import asyncio, sys
import tquic, tquic.sync

server_config = tquic.Config(cert=sys.argv[1], key=sys.argv[2])
client_config = tquic.Config(insecure=True)

# The client is connected by then.
def fail(connection):
    connection.accept_stream()
    raise LookupError("mine")

async def afail(connection):
    await connection.accept_stream()
    raise LookupError("mine")

async def main():
    async with (
        tquic.serve("127.0.0.1", 0, afail, config=server_config) as server,
        tquic.connect(*server.address, config=client_config) as client,
    ):
        client.open_stream().write(b"x")
        await client.wait_closed()

if sys.argv[3] == "sync":
    with (
        tquic.sync.serve("127.0.0.1", 0, fail, config=server_config) as server,
        tquic.sync.connect(*server.address, config=client_config) as client,
    ):
        client.open_stream().write(b"x")
        client.wait_closed()
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["asyncio", "sync"])
def test_a_handler_that_fails_is_not_silent(way: str, identity: Any, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_bytes(identity.cert)
    (tmp_path / "key.pem").write_bytes(identity.key)
    done = subprocess.run(
        [sys.executable, "-c", FAILING, "cert.pem", "key.pem", way],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert "the handler of <Connection from 127.0.0.1:" in done.stderr
    assert "LookupError: mine" in done.stderr
