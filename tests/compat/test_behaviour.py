"""What programs for aioquic rely on, and where this end is more honest."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

import tquic
from tquic.compat.aioquic.asyncio import QuicConnectionProtocol, connect, serve
from tquic.compat.aioquic.quic import events
from tquic.compat.aioquic.quic.configuration import QuicConfiguration
from tquic.compat.aioquic.quic.connection import QuicConnectionState
from tquic.compat.aioquic.quic.packet import QuicErrorCode, QuicFrameType

Address = tuple[str, int]


class Recorder(QuicConnectionProtocol):
    """Writes down every event, and still serves readers."""

    made: list[Recorder]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.events: list[Any] = []
        self.lost = asyncio.Event()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        self.events.append(event)
        super().quic_event_received(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Server:
    """A server of the shim and its protocols, in the order they came."""

    def __init__(self, server: Any, protocols: asyncio.Queue[Recorder]) -> None:
        self.server = server
        self.protocols = protocols
        self.address: Address = server._transport.get_extra_info("sockname")


@pytest.fixture
def serving(files: Any) -> Any:
    @contextlib.asynccontextmanager
    async def make(*, settings: Any = (), **options: Any) -> AsyncIterator[Server]:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["x"], **dict(settings))
        configuration.load_cert_chain(files.cert, files.key)
        protocols: asyncio.Queue[Recorder] = asyncio.Queue()

        def create(*args: Any, **kwargs: Any) -> Recorder:
            protocols.put_nowait(Recorder(*args, **kwargs))
            return protocols._queue[-1]  # type: ignore[attr-defined, no-any-return]

        server = await serve(
            "127.0.0.1",
            0,
            configuration=configuration,
            **{"create_protocol": create, **options},
        )
        try:
            yield Server(server, protocols)
        finally:
            server.close()

    return make


@pytest.fixture
def client(files: Any) -> Callable[..., QuicConfiguration]:
    def make(**settings: Any) -> QuicConfiguration:
        return QuicConfiguration(**{"alpn_protocols": ["x"], "cafile": files.ca, **settings})

    return make


class Keep:
    """A stream handler that does nothing but keep what it is given."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams.put_nowait((reader, writer))


# ---- Back-pressure ----


async def test_drain_waits_for_a_peer_that_does_not_read(serving: Any, client: Any) -> None:
    keep = Keep()
    async with (
        serving(stream_handler=keep) as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        _, writer = await protocol.create_stream()
        piece, sent = bytes(1 << 18), 0
        with contextlib.suppress(TimeoutError):
            # Both ends hold something: 8 MiB here, 16 MiB of window and 1 MiB there.
            while sent <= 26 << 20:
                writer.write(piece)
                sent += len(piece)
                await asyncio.wait_for(writer.drain(), 3)
        assert 1 << 20 < sent <= 26 << 20
        reader, _ = await keep.streams.get()
        # What nobody reads is not kept in Python either.
        assert len(reader._buffer) < 4 << 20
        writer.write_eof()
        size = 0
        while part := await reader.read(1 << 20):
            size += len(part)
        assert size == sent
        await writer.drain()
        await writer.wait_closed()


async def test_drain_tells_that_the_peer_does_not_want_it(serving: Any, client: Any) -> None:
    async with (
        serving() as server,
        connect(*server.address, configuration=client(), create_protocol=Recorder) as protocol,
    ):
        _, writer = await protocol.create_stream()
        writer.write(b"x")
        peer = await server.protocols.get()
        while not peer.of(events.StreamDataReceived):
            await protocol.ping()
        peer._quic.stop_stream(0, 5)
        while not protocol.of(events.StopSendingReceived):
            await protocol.ping()
        writer.write(b"nobody wants it")
        with pytest.raises(tquic.StreamStopped):
            await writer.drain()
        with pytest.raises(RuntimeError, match="stopped"):
            protocol._quic.send_stream_data(0, b"x")


async def test_readers_are_told_of_resets(serving: Any, client: Any) -> None:
    keep = Keep()
    async with (
        serving(stream_handler=keep) as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        _, writer = await protocol.create_stream()
        writer.write(b"x")
        reader, answer = await keep.streams.get()
        assert await reader.read(1) == b"x"
        writer.transport.abort()
        with pytest.raises(tquic.StreamReset):
            await reader.read()
        answer.close()


async def test_streams_that_are_given_up_leave_room_for_others(serving: Any, client: Any) -> None:
    keep = Keep()
    async with (
        serving(stream_handler=keep) as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        # More than may cross for all streams together before it is read.
        for number in range(0, 4 * 40, 4):
            _, writer = await protocol.create_stream()
            writer.write(bytes(1 << 20))
            reader, answer = await keep.streams.get()
            await reader.readexactly(1)
            peer = server.protocols._queue[0]
            while len(reader._buffer) < 1 << 17:
                await protocol.ping()
            peer._quic.stop_stream(number, 0)
            answer.close()
            writer.close()
        assert peer._quic._paused == {}


# ---- Streams ----


async def test_create_stream_reserves_its_number(serving: Any, client: Any) -> None:
    async with (
        serving() as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        pairs = [await protocol.create_stream() for _ in range(3)]
        assert [w.get_extra_info("stream_id") for _, w in pairs] == [0, 4, 8]
        assert protocol._quic.get_next_available_stream_id() == 12
        for _, writer in pairs:
            assert writer.get_extra_info("peername") == server.address
            assert writer.get_extra_info("sockname")[0] == "127.0.0.1"
            assert writer.get_extra_info("nonsense", 1) == 1
            writer.close()
            await writer.wait_closed()


async def test_streams_after_their_end(serving: Any, client: Any) -> None:
    async with (
        serving() as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        quic = protocol._quic
        quic.send_stream_data(2, b"all", end_stream=True)
        with pytest.raises(RuntimeError, match="ended"):
            quic.send_stream_data(2, b"more")
        while 2 in quic._link._streams:
            await protocol.ping()
        with pytest.raises(ValueError, match="finished"):
            quic.send_stream_data(2, b"more")
        quic.reset_stream(2, 1)
        quic.send_stream_data(10, b"opens 6, too")
        assert quic.get_next_available_stream_id(is_unidirectional=True) == 14
        with pytest.raises(ValueError, match="only the peer sends"):
            quic.reset_stream(3, 1)


# ---- The end ----


async def test_what_was_sent_before_close_arrives(serving: Any, client: Any) -> None:
    datagrams = {"max_datagram_frame_size": 65536}.items()
    async with serving(settings=datagrams) as server:
        configuration = client(max_datagram_frame_size=65536)
        async with connect(*server.address, configuration=configuration) as protocol:
            protocol._quic.send_stream_data(0, b"s" * 100_000, end_stream=True)
            protocol._quic.send_datagram_frame(b"d")
            protocol.close(error_code=3, reason_phrase="bye")
            assert protocol._quic._state is QuicConnectionState.CLOSING
            # Too late.
            protocol._quic.send_stream_data(4, b"x")
            protocol._quic.send_datagram_frame(b"x")
            protocol.request_key_update()
        peer = await server.protocols.get()
        await peer.wait_closed()
        assert sum(len(e.data) for e in peer.of(events.StreamDataReceived)) == 100_000
        assert peer.of(events.DatagramFrameReceived) == [events.DatagramFrameReceived(b"d")]
        assert peer.events[-1] == events.ConnectionTerminated(3, None, "bye")
        assert protocol._quic._close_event == events.ConnectionTerminated(3, None, "bye")
        assert protocol._quic._state is QuicConnectionState.TERMINATED
        await peer.lost.wait()
        assert server.server._protocols == {}


async def test_reasons_are_text(serving: Any, client: Any) -> None:
    async with (
        serving() as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        with pytest.raises(TypeError, match="reason must be str, not bytes"):
            protocol.close(reason_phrase=b"x")  # type: ignore[arg-type]
        await protocol.ping()


async def test_closing_is_quick(serving: Any, client: Any) -> None:
    loop = asyncio.get_running_loop()
    took = []
    async with serving() as server:
        for _ in range(10):
            async with connect(*server.address, configuration=client()):
                begun = loop.time()
            took.append(loop.time() - begun)
    # aioquic takes three probe timeouts, some 80 ms.
    assert min(took) < 0.05


async def test_the_server_closes(serving: Any, client: Any) -> None:
    async with serving() as server:
        async with connect(
            *server.address, configuration=client(), create_protocol=Recorder
        ) as protocol:
            reader, writer = await protocol.create_stream()
            waiting = asyncio.ensure_future(reader.read())
            pinging = asyncio.ensure_future(protocol.ping())
            await server.protocols.get()
            server.server.close()
            server.server.close()
            assert server.server._transport.is_closing()
            await protocol.wait_closed()
            # As with aioquic, an end of the connection reads like one of the stream.
            assert await waiting == b""
            await asyncio.wait([pinging])
            with pytest.raises(ConnectionError):
                await protocol.ping()
            with pytest.raises(ConnectionError):
                await writer.drain()
            with pytest.raises(ConnectionError):
                await protocol.create_stream()
            writer.write(b"nobody is there")
        assert protocol.events[-1] == events.ConnectionTerminated(0, None, "")
        assert protocol.lost.is_set()


async def test_an_idle_timeout(serving: Any, client: Any) -> None:
    async with (
        serving() as server,
        connect(
            *server.address, configuration=client(idle_timeout=0.2), create_protocol=Recorder
        ) as protocol,
    ):
        await protocol.wait_closed()
        assert protocol.events[-1] == events.ConnectionTerminated(
            QuicErrorCode.INTERNAL_ERROR, QuicFrameType.PADDING, "Idle timeout"
        )


async def test_errors_of_the_handshake(serving: Any, client: Any) -> None:
    stranger = trustme.CA().cert_pem.bytes()
    cases: list[tuple[dict[str, Any], type[Exception], int]] = [
        ({"cafile": None, "cadata": stranger}, tquic.UntrustedCertificate, 0x100 + 48),
        ({"server_name": "example.org"}, tquic.CertificateNameMismatch, 0x100 + 42),
        ({"alpn_protocols": ["y"]}, tquic.AlpnError, 0x100 + 120),
    ]
    async with serving() as server:
        for settings, error, code in cases:
            protocols: list[Recorder] = []

            def create(*args: Any, kept: list[Recorder] = protocols, **kwargs: Any) -> Recorder:
                kept.append(Recorder(*args, **kwargs))
                return kept[-1]

            with pytest.raises(error) as raised:
                async with connect(
                    *server.address, configuration=client(**settings), create_protocol=create
                ):
                    pass
            assert isinstance(raised.value, ConnectionError)
            (told,) = protocols[0].events
            assert (told.error_code, type(told)) == (code, events.ConnectionTerminated)
        # Nothing was made for them here, or it is gone.
        async with connect(*server.address, configuration=client(verify_mode=ssl.CERT_NONE)):
            await server.protocols.get()
            assert len(server.server._protocols) == 1


async def test_protocol_errors_cannot_be_told(serving: Any, client: Any) -> None:
    async with serving() as server:
        async with connect(*server.address, configuration=client()) as protocol:
            with pytest.warns(UserWarning, match="application error code"):
                protocol._quic.close(QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.STREAM_BASE)
        peer = await server.protocols.get()
        await peer.wait_closed()
        assert peer.events[-1] == events.ConnectionTerminated(0xA, None, "")


# ---- Connecting ----


async def test_retry_tokens_and_a_local_port(serving: Any, client: Any) -> None:
    tokens: asyncio.Queue[bytes] = asyncio.Queue()
    async with serving(retry=True) as server:
        async with connect(
            *server.address, configuration=client(), token_handler=tokens.put_nowait
        ) as protocol:
            port = protocol._transport.get_extra_info("sockname")[1]
            token = await tokens.get()
        async with connect(
            *server.address, configuration=client(token=token), local_port=port + 1
        ) as protocol:
            assert protocol._transport.get_extra_info("sockname")[1] == port + 1
            assert protocol._transport.get_extra_info("peername") == server.address
            assert len(protocol._quic.original_destination_connection_id) >= 8


async def test_attributes_that_programs_look_at(serving: Any, client: Any) -> None:
    async with (
        serving(settings={"max_datagram_frame_size": 65536}.items()) as server,
        connect(*server.address, configuration=client()) as protocol,
    ):
        peer = await server.protocols.get()
        for quic in (protocol._quic, peer._quic):
            assert len(quic.host_cid) == 8
            assert quic.tls.alpn_negotiated == "x"
            assert not quic.tls.session_resumed
            assert quic.tls.key_schedule.cipher_suite.name.endswith(("SHA256", "SHA384"))
            assert quic._version == 1
            assert quic._state is QuicConnectionState.CONNECTED
            assert quic._network_paths[0].addr == quic.get_peer_address()
        assert protocol._quic.original_destination_connection_id == (
            peer._quic.original_destination_connection_id
        )
        assert protocol._quic.get_peer_address() == server.address
        names = protocol._quic.tls._peer_certificate.extensions
        assert "localhost" in str(list(names))
        assert protocol._quic._remote_max_datagram_frame_size > 1000
        assert peer._quic.tls._peer_certificate is None
        with pytest.raises(NotImplementedError):
            protocol.datagram_received(b"", ("", 0))
        with pytest.raises(NotImplementedError):
            protocol.connect(("", 0))
        with pytest.raises(NotImplementedError):
            protocol._transport.sendto(b"")
        with pytest.raises(tquic.DatagramError):
            peer._quic.send_datagram_frame(b"the client takes none")
        protocol._transport.close()
        await protocol.wait_closed()
        assert protocol._transport.is_closing()


async def test_sending_before_the_handshake(serving: Any, client: Any) -> None:
    settings = {"max_datagram_frame_size": 65536}
    async with (
        serving(settings=settings.items()) as server,
        connect(
            *server.address, configuration=client(**settings), wait_connected=False
        ) as protocol,
    ):
        protocol._quic.send_stream_data(0, b"s")
        protocol._quic.send_datagram_frame(b"d")
        protocol.request_key_update()
        ping = asyncio.ensure_future(protocol.ping())
        await protocol.wait_connected()
        await ping
        peer = await server.protocols.get()
        while len(peer.events) < 4:
            await protocol.ping()
        kinds = [type(event).__name__ for event in peer.events[:2]]
        assert kinds == ["ProtocolNegotiated", "HandshakeCompleted"]
        assert peer.of(events.StreamDataReceived)[0].data == b"s"
        assert peer.of(events.DatagramFrameReceived)[0].data == b"d"
        while (await protocol._quic._link.stats()).key_updates < 1:
            await protocol.ping()


async def test_a_protocol_that_cannot_be_made(serving: Any, client: Any) -> None:
    def create(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    failures: asyncio.Queue[Any] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.put_nowait(told))
    async with serving(create_protocol=create) as server:
        async with connect(*server.address, configuration=client()) as protocol:
            await protocol.wait_closed()
            assert protocol._quic._close_event.error_code == QuicErrorCode.INTERNAL_ERROR
        assert isinstance((await failures.get())["exception"], ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            async with connect(*server.address, configuration=client(), create_protocol=create):
                pass


async def test_a_failing_program_loses_no_event(serving: Any, client: Any) -> None:
    class Failing(Recorder):
        def quic_event_received(self, event: events.QuicEvent) -> None:
            super().quic_event_received(event)
            raise ZeroDivisionError

    failures: asyncio.Queue[Any] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.put_nowait(told))
    async with serving() as server:
        async with connect(
            *server.address, configuration=client(), create_protocol=Failing
        ) as protocol:
            await protocol.ping()
        names = [type(event).__name__ for event in protocol.events]
        assert names == [
            "ProtocolNegotiated",
            "HandshakeCompleted",
            "PingAcknowledged",
            "ConnectionTerminated",
        ]
        for _ in names:
            assert isinstance((await failures.get())["exception"], ZeroDivisionError)


async def test_without_any_protocol_name(serving: Any, client: Any, files: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        async with (
            serving(settings={}.items()) as named,
            connect(*named.address, configuration=client()) as protocol,
        ):
            assert protocol._quic.tls.alpn_negotiated == "x"
        configuration = QuicConfiguration(is_client=False)
        configuration.load_cert_chain(files.cert, files.key)
        server = await serve("127.0.0.1", 0, configuration=configuration)
        address = server._transport.get_extra_info("sockname")
        async with connect(
            *address, configuration=client(alpn_protocols=None), create_protocol=Recorder
        ) as protocol:
            assert protocol.events[0] == events.ProtocolNegotiated(alpn_protocol=None)
        server._transport.close()


async def test_secrets_go_to_the_file(serving: Any, client: Any, tmp_path: Path) -> None:
    path = tmp_path / "secrets.log"
    with path.open("a") as file:
        async with (
            serving() as server,
            connect(*server.address, configuration=client(secrets_log_file=file)) as protocol,
        ):
            await protocol.ping()
    assert "CLIENT_TRAFFIC_SECRET_0 " in path.read_text()


async def test_wrong_tickets_are_refused(client: Any) -> None:
    with pytest.raises(tquic.ConfigError, match="session_ticket_handler"):
        async with connect("127.0.0.1", 1, configuration=client(session_ticket=object())):
            pass
