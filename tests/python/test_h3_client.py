"""The HTTP/3 client over real sockets: requests, content both ways, pools, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import tquic
import tquic.h3
import tquic.httpx
import tquic.sync.h3
from tquic.h3 import ErrorCode, LocalProtocolError, Priority, RequestFailed
from tquic.h3._altsvc import AltSvcCache
from tquic.h3.server import Limits, Request, Response, Server, serve

BIG = os.urandom(1 << 16) * 48


async def answer(request: Request) -> Response:
    """What the tests' server does."""
    name, _, argument = request.path.strip("/").partition("/")
    match name:
        case "hello":
            return Response(f"hello, {request.headers['user-agent']}")
        case "echo":
            return Response(_with_end(request), trailers=[(b"came", request.method.encode())])
        case "say":
            fields = [(b"said", request.headers.get(argument, "nothing").encode())]
            return Response(headers=fields)
        case "status":
            return Response(status=int(argument))
        case "big":
            return Response(BIG)
        case "hints":
            request.send_informational(103, [(b"link", b"</style.css>")])
            return Response("final")
        case "large":
            return Response(BIG * 3)
        case "endless":
            return Response(_endless())
        case "never":
            await asyncio.Event().wait()
        case "moved":
            return Response(status=302, headers=[(b"location", b"/hello")])
        case "other":
            return Response("here", headers=[(b"alt-svc", f'h3=":{argument}"; ma=60'.encode())])
    return Response(status=404)


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10_000


async def _with_end(request: Request) -> AsyncIterator[bytes]:
    async for piece in request:
        yield bytes(piece)


@pytest.fixture
async def server(server_config: tquic.Config) -> AsyncIterator[Server]:
    limits = Limits(body_size=1 << 30)
    async with serve(answer, "127.0.0.1", 0, config=server_config, limits=limits) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"https://127.0.0.1:{server.address[1]}/"


@pytest.fixture
async def c(url: str, client_config: tquic.Config) -> AsyncIterator[tquic.h3.ClientConnection]:
    async with asyncio.timeout(30), tquic.h3.connect(url, config=client_config) as connection:
        yield connection


Connection = tquic.h3.ClientConnection


# RFC 9114 section 3.2
async def test_get(c: Connection, url: str) -> None:
    response = await c.get("/hello")
    assert (response.status, response.method, response.url) == (200, "GET", f"{url}hello")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "content-TYPE" in response.headers
    assert response.headers.get_all("nothing") == []
    content = await response.read()
    assert content.startswith(b"hello, tquic/")
    assert response.content_length == len(content)
    assert response.trailers is None
    assert c.quic.alpn == "h3"
    assert c.peer_settings is not None


async def test_head(c: Connection) -> None:
    response = await c.head("/big")
    assert response.content_length == len(BIG)
    assert await response.read() == b""


@pytest.mark.parametrize("name", ["bytes", "text", "view", "nothing", "list", "generator", "file"])
async def test_content_goes_and_comes(c: Connection, name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)

    async def generator() -> AsyncIterator[bytes]:
        yield b"one, "
        yield BIG
        yield b""

    contents: dict[str, tuple[Any, bytes]] = {
        "bytes": (BIG, BIG),
        "text": ("Grüße", "Grüße".encode()),
        "view": (memoryview(BIG)[5:], BIG[5:]),
        "nothing": (None, b""),
        "list": ([b"one", b"two"], b"onetwo"),
        "generator": (generator(), b"one, " + BIG),
        "file": (path, BIG),
    }
    content, expected = contents[name]
    response = await c.post("/echo", content)
    assert await response.read() == expected
    assert response.trailers is not None
    assert response.trailers["came"] == "POST"


async def test_a_conversation(c: Connection) -> None:
    async with await c.open("POST", "/echo") as stream:
        await stream.write(b"one")
        response = await stream.response()
        assert bytes(await response.read_chunk()) == b"one"
        await stream.write(b"two")
        assert bytes(await response.read_chunk()) == b"two"
        await stream.finish({"checksum": "1"})
        assert await response.read() == b""
        assert response.trailers is not None


async def test_interim_responses(c: Connection) -> None:
    response = await c.get("/hints")
    (hints,) = response.informational
    assert (hints.status, hints.fields) == (103, [(b"link", b"</style.css>")])
    assert await response.read() == b"final"


async def test_into_a_file(c: Connection, tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"before, and more")
    response = await c.get("/big")
    assert await response.recv_to_file(path, offset=7) == len(BIG)
    assert path.read_bytes() == b"before," + BIG


@pytest.mark.parametrize("pieces", [1, 2000], ids=["one frame", "many frames"])
async def test_large_content_into_a_file(c: Connection, tmp_path: Path, pieces: int) -> None:
    """The engine writes it, whatever frames it comes in; trailers may follow."""
    path = tmp_path / "large"
    size = (8 << 20) // pieces

    async def content() -> AsyncIterator[bytes]:
        for number in range(pieces):
            yield (b"%d," % number * size)[:size]

    expected = b"".join([piece async for piece in content()])
    uploading = await c.open("POST", "/echo")
    response = await uploading.response()

    async def upload() -> None:
        async for piece in content():
            await uploading.write(piece)
        await uploading.finish()

    _, received = await asyncio.gather(upload(), response.recv_to_file(path))
    assert received == len(expected) == response.received
    assert path.read_bytes() == expected
    assert response.trailers is not None
    assert response.trailers["came"] == "POST"


async def test_a_file_that_cannot_be_written(c: Connection) -> None:
    response = await c.get("/large")
    with pytest.raises(OSError, match="No space left"):
        await response.recv_to_file("/dev/full")
    assert c.requests == 0
    assert (await c.get("/hello")).status == 200


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_a_download_that_ends_early(
    c: Connection, server: Server, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "part"
    response = await c.get("/endless")
    task = asyncio.create_task(response.recv_to_file(path))
    while not (path.exists() and path.stat().st_size > 4 << 20):
        await asyncio.sleep(0.01)
    if how == "cancelled":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await c.get("/hello")).status == 200
    else:
        server.close()
        with pytest.raises(tquic.ConnectionClosed):
            await task
    content = path.read_bytes()
    assert len(content) > 4 << 20
    assert content == b"x" * len(content)


async def test_many_at_once(c: Connection) -> None:
    responses = await asyncio.gather(*(c.get("/hello") for _ in range(300)))
    contents = {await response.read() for response in responses}
    assert len(contents) == 1
    assert c.requests == 0


async def test_fields(c: Connection) -> None:
    async def said(name: str, **options: Any) -> str:
        response = await c.request("GET", f"/say/{name}", **options)
        await response.read()
        return response.headers["said"]

    assert await said("x-own", headers={"X-Own": "1"}) == "1"
    assert await said("x-own", headers=[("x-own", "1"), (b"X-Own", b"2")]) == "1, 2"
    assert await said("user-agent", headers={"User-Agent": "me"}) == "me"
    assert await said("priority", priority=Priority(1, True)) == "u=1, i"
    assert await said("priority", priority=Priority()) == "nothing"
    assert await said("content-length") == "nothing"
    assert await said("content-length", content=b"abc") == "3"
    assert await said("content-length", content=[b"abc"]) == "nothing"
    (reply,) = (await c.request("POST", "/say/content-length")).headers.get_all("said")
    assert reply == "0"


@pytest.mark.parametrize(
    "headers",
    [{"a b": "c"}, {"a": "b\r\nc: d"}, {"connection": "close"}, {":path": "/x"}],
)
async def test_malformed_requests_are_not_sent(c: Connection, headers: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        await c.get("/hello", headers=headers)
    assert (await (await c.get("/hello")).read()).startswith(b"hello")


async def test_content_that_is_not_as_long_as_was_said(c: Connection) -> None:
    with pytest.raises(LocalProtocolError, match="content-length says 4 bytes"):
        await c.request("POST", "/echo", headers={"content-length": "4"}, content=b"hello")
    assert (await c.get("/hello")).status == 200


async def test_a_request_that_is_cancelled(c: Connection, server: Server) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await c.get("/never")
    assert c.requests == 0
    assert (await c.get("/hello")).status == 200


async def test_a_response_that_nobody_wants(c: Connection) -> None:
    async with await c.get("/big") as response:
        await response.read(10)
    assert c.requests == 0
    with pytest.raises(tquic.StreamError):
        await response.read()
    assert (await c.get("/hello")).status == 200


async def test_a_connection_that_ends(c: Connection, server: Server) -> None:
    waiting = asyncio.create_task(c.get("/never"))
    while not c.requests:
        await asyncio.sleep(0)
    await (await c.get("/hello")).read()
    server.close(ErrorCode.H3_INTERNAL_ERROR, "over")
    with pytest.raises(tquic.ApplicationClosed) as caught:
        await waiting
    assert caught.value.code_name == "H3_INTERNAL_ERROR"
    assert not c.available


async def test_another_protocol(server: Server, url: str, client_config: tquic.Config) -> None:
    with pytest.raises(tquic.AlpnError):
        await tquic.connect("127.0.0.1", server.address[1], config=client_config)
    # RFC 9114 section 3.1.2
    for wrong in ("http://127.0.0.1/", "127.0.0.1", "https://"):
        with pytest.raises(ValueError, match="no https URL"):
            tquic.h3.connect(wrong)


# RFC 9114 section 7.2.4.2
async def test_early_data(server_config: tquic.Config, client_config: tquic.Config) -> None:
    store = tquic.SessionStore()
    config = client_config.replace(session_store=store, early_data=True)
    early = []
    server_config = server_config.replace(early_data=True)
    async with serve(answer, "127.0.0.1", 0, config=server_config) as server:
        url = f"https://127.0.0.1:{server.address[1]}/"
        for _ in range(2):
            async with asyncio.timeout(30), tquic.h3.connect(url, config=config) as connection:
                for method in ("GET", "POST"):
                    response = await connection.request(method, "/hello")
                    assert response.status == 200
                    await response.read()
                early.append(connection.quic.zero_rtt)
                # The ticket comes behind the handshake.
                while not len(store):
                    await connection.quic.ping()
    assert early == [None, True]


# ---- Many servers ----


# RFC 9114 section 3.3
async def test_a_client_keeps_its_connections(
    server: Server, url: str, client_config: tquic.Config
) -> None:
    async with tquic.h3.Client(config=client_config) as client:
        responses = await asyncio.gather(*(client.get(url + "hello") for _ in range(20)))
        for response in responses:
            await response.read()
        assert len(server.connections) == 1
        assert (await client.post(url + "echo", b"x")).status == 200
        (first,) = server.connections
        first.close()
        # Found out when it is used: GET is sent again.
        assert (await client.get(url + "hello")).status == 200
        connection = await client.connection(url)
        assert connection.available
    with pytest.raises(RuntimeError, match="is closed"):
        await client.get(url)


# RFC 9114 section 5.4
async def test_requests_behind_a_goaway_go_elsewhere(
    server: Server, url: str, client_config: tquic.Config
) -> None:
    async with asyncio.timeout(30), tquic.h3.Client(config=client_config) as client:
        assert (await client.get(url + "hello")).status == 200
        old = await client.connection(url)
        never = asyncio.create_task(client.get(url + "never"))
        while not old.requests:
            await asyncio.sleep(0)
        (connection,) = server.connections
        await (await client.get(url + "hello")).read()
        connection.go_away(final=True)  # type: ignore[attr-defined]
        while old.available:
            await asyncio.sleep(0.01)
        with pytest.raises(RequestFailed) as caught:
            await old.get("/hello")
        assert caught.value.unprocessed
        assert (await client.get(url + "hello")).status == 200
        assert await client.connection(url) is not old
        never.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await never


async def test_only_so_many_connections_are_kept(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(serve(answer, "127.0.0.1", 0, config=server_config))
            for _ in range(3)
        ]
        client = await stack.enter_async_context(
            tquic.h3.Client(config=client_config, max_connections=2)
        )
        for one in servers:
            response = await client.get(f"https://127.0.0.1:{one.address[1]}/hello")
            await response.read()
        assert len(client._connections) == 2
        while servers[0].connections:
            await asyncio.sleep(0.01)


async def test_alternative_services(
    server: Server, url: str, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async with (
        serve(answer, "127.0.0.1", 0, config=server_config) as other,
        tquic.h3.Client(config=client_config) as client,
    ):
        await (await client.get(f"{url}other/{other.address[1]}")).read()
        assert not other.connections
        (first,) = server.connections
        first.close()
        assert (await client.get(url + "hello")).status == 200
        assert other.connections
    # One that is gone does no harm.
    async with tquic.h3.Client(config=client_config.replace(handshake_timeout=5.0)) as client:
        await (await client.get(f"{url}other/{other.address[1]}")).read()
        (await client.connection(url)).close()
        assert (await client.get(url + "hello")).status == 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('h3=":8443"', ("a", 8443)),
        ('h2="x:1", h3="b.example:443"; ma=10; persist=1', ("b.example", 443)),
        ('h3-29=":1", h3="[::1]:2"', ("::1", 2)),
        ("clear", None),
        ('h2=":443"', None),
        ('h3=":0"', None),
        ('h3=":99999"', None),
        ("h3=:443", None),
        ('h3=":1"; ma=0', None),
        ("", None),
    ],
)
def test_what_alt_svc_says(value: str, expected: tuple[str, int] | None) -> None:
    cache = AltSvcCache(2)
    cache.note(("a", 443), 'h3=":9"', 0.0)
    cache.note(("a", 443), value, 0.0)
    assert cache.lookup(("a", 443), 1.0) == expected
    assert cache.lookup(("a", 443), 24 * 3600.0) is None
    for number in range(5):
        cache.note(("b", number), 'h3=":1"', 0.0)
    assert len(cache._known) == 2


# ---- Without await ----


async def test_the_blocking_twin(url: str, client_config: tquic.Config, tmp_path: Path) -> None:
    def use() -> None:
        with tquic.sync.h3.connect(url, config=client_config, timeout=20) as c:
            response = c.get("/hello")
            assert response.read().startswith(b"hello")
            assert response.headers["content-type"].startswith("text/plain")
            with c.post("/echo", iter([b"1", b"2"])) as response:
                assert b"".join(response) == b"12"
                assert response.trailers is not None
            with c.open("POST", "/echo") as stream:
                stream.write(b"one")
                response = stream.response()
                assert bytes(response.read_chunk()) == b"one"
                stream.finish()
                assert response.read() == b""
            assert c.get("/big").recv_to_file(tmp_path / "big") == len(BIG)
            c.settimeout(0.05)
            with pytest.raises(TimeoutError):
                c.get("/never")
            c.settimeout(20)
            assert c.head("/big").content_length == len(BIG)
        with tquic.sync.h3.Client(config=client_config, timeout=20) as client:
            threads = [
                threading.Thread(target=lambda: client.get(url + "big").read()) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            assert client.put(url + "echo", "text").read() == b"text"
            for thread in threads:
                thread.join()

    await asyncio.to_thread(use)


# ---- httpx ----


async def test_httpx(url: str, client_config: tquic.Config) -> None:
    transport = tquic.httpx.AsyncTransport(config=client_config)
    async with httpx.AsyncClient(transport=transport, base_url=url) as client:
        response = await client.get("/moved", follow_redirects=True)
        assert response.text.startswith("hello")
        assert response.http_version == "HTTP/3"
        assert len(response.history) == 1
        sent = {"a": "b"}
        assert (await client.post("/echo", json=sent)).json() == sent
        async with client.stream("GET", "/big") as response:
            assert b"".join([piece async for piece in response.aiter_raw()]) == BIG

        async def pieces() -> AsyncIterator[bytes]:
            yield b"1"
            yield b"2"

        assert (await client.post("/echo", content=pieces())).content == b"12"
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/never", timeout=0.1)
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("http://127.0.0.1/")
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/hello", headers={"a": "b\0"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        transport = tquic.httpx.AsyncTransport(config=client_config)
        async with httpx.AsyncClient(transport=transport, timeout=0.2) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(f"https://127.0.0.1:{silent.getsockname()[1]}/")


async def test_httpx_in_threads(url: str, client_config: tquic.Config) -> None:
    def use() -> None:
        transport = tquic.httpx.Transport(config=client_config)
        with httpx.Client(transport=transport, base_url=url) as client:
            assert client.get("/moved", follow_redirects=True).text.startswith("hello")
            assert client.post("/echo", content=iter([b"1", b"2"])).content == b"12"
            with client.stream("GET", "/big") as response:
                assert b"".join(response.iter_raw()) == BIG
            with pytest.raises(httpx.ReadTimeout):
                client.get("/never", timeout=0.1)

    await asyncio.to_thread(use)


async def test_a_server_that_closes_behind_its_response(
    server_config: tquic.Config, client_config: tquic.Config, tmp_path: Path
) -> None:
    """H3_NO_ERROR when the client's transport has everything takes nothing from the client."""
    closing: set[asyncio.Task[None]] = set()

    async def hang_up(connection: Any) -> None:
        await connection.wait_idle()
        connection.close()

    async def answer_and_close(request: Request) -> Response:
        closing.add(asyncio.create_task(hang_up(request._exchange.connection)))
        return await answer(request)

    async with serve(answer_and_close, "127.0.0.1", 0, config=server_config) as server:
        url = f"https://127.0.0.1:{server.address[1]}/"
        (tmp_path / "ca.pem").write_bytes(client_config.ca or b"")  # type: ignore[arg-type]
        for turn in range(2):
            file = tmp_path / f"large-{turn}"
            async with tquic.h3.connect(url, config=client_config) as c:
                # The engine writes it.
                response = await c.get("/large")
                assert await response.recv_to_file(file) == len(BIG) * 3
                await c.quic.wait_closed()
            assert file.read_bytes() == BIG * 3
            async with tquic.h3.connect(url, config=client_config) as c:
                response = await c.get("/hello")
                await c.quic.wait_closed()
                assert (await response.read()).startswith(b"hello")
                error = c.quic.exception
                assert isinstance(error, tquic.ApplicationClosed)
                assert (error.by, error.code_name, error.clean) == ("peer", "H3_NO_ERROR", True)
                with pytest.raises(tquic.ApplicationClosed):
                    await c.get("/hello")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tquic", "get", "--cacert", "ca.pem", f"{url}large"),
                cwd=tmp_path,
                stderr=asyncio.subprocess.PIPE,
            )
            _, told = await process.communicate()
            assert process.returncode == 0, told
            assert (tmp_path / "large").read_bytes() == BIG * 3
            (tmp_path / "large").unlink()
