"""ASGI applications over HTTP/3: what the specification says, and real frameworks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles as StarletteStaticFiles

import tquic
from tquic.errors import ConfigError
from tquic.h3.server import Limits
from tquic.h3.server._asgi import load

from .conftest import Serve

START = {"type": "http.response.start", "status": 200, "headers": []}


def only_http(application: Any) -> Any:
    """An application that does without lifespan messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await application(scope, receive, send)

    return app


async def test_what_follows_the_response_is_waited_for(serve: Serve) -> None:
    released, ended = asyncio.Event(), []

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"ok"})
        await released.wait()
        ended.append(scope["path"])

    async with serve(app) as site, site.connect() as client:
        assert await (await client.get("/background")).read() == b"ok"
        end = asyncio.create_task(site.server.shutdown())
        done, _ = await asyncio.wait({end}, timeout=0.8)
        assert not done
        released.set()
        assert await end
        assert ended == ["/background"]


async def test_the_scope(serve: Serve) -> None:
    scopes: list[dict[str, Any]] = []

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send(START)
        await send({"type": "http.response.body", "body": b"ok"})

    async with serve(app) as site, site.connect() as client:
        await client.get("/a%20b/%C3%A9?x=%31", headers={"X-One": "1", "cookie": "a=1"})
    (scope,) = scopes
    assert scope["type"] == "http"
    assert scope["asgi"]["version"] == "3.0"
    assert scope["http_version"] == "3"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "https"
    assert (scope["path"], scope["raw_path"]) == ("/a b/é", b"/a%20b/%C3%A9")
    assert scope["query_string"] == b"x=%31"
    assert scope["root_path"] == ""
    headers = dict(scope["headers"])
    assert headers[b"host"] == f"localhost:{site.port}".encode()
    assert headers[b"x-one"] == b"1"
    assert not any(name.startswith(b":") for name in headers)
    assert scope["server"] == ("127.0.0.1", site.port)
    assert scope["client"][0] == "127.0.0.1"
    tls = scope["extensions"]["tls"]
    assert tls["tls_version"] == 0x0304
    assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert tls["client_cert_chain"] == []


async def test_bodies_in_pieces(serve: Serve) -> None:
    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        size = 0
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            size += len(message["body"])
            await send({"type": "http.response.body", "body": b"+", "more_body": True})
            if not message["more_body"]:
                break
        await send({"type": "http.response.body", "body": b"%d" % size})
        assert (await receive())["type"] == "http.disconnect"

    async with serve(app) as site, site.connect() as client:
        response = await client.post("/", content=b"x" * 3_000_000)
        assert (await response.read()).lstrip(b"+") == b"3000000"
        stream = await client.open("POST", "/")
        response_task = asyncio.create_task(stream.response())
        await stream.write(b"abc")
        response = await response_task
        # Before the request is complete.
        assert await response.read(1) == b"+"
        await stream.finish()
        assert (await response.read()).lstrip(b"+") == b"3"


async def test_back_pressure(serve: Serve) -> None:
    """An application gets no further ahead of its client than windows and buffers are large."""
    sent = 0
    done = asyncio.Event()

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        for _ in range(400):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
            sent += 100_000
        await send({"type": "http.response.body", "body": b""})
        done.set()

    window = 256 * 1024
    async with (
        serve(app, send_buffer=window) as site,
        site.connect(
            stream_window=window,
            max_stream_window=window,
            connection_window=window,
            max_connection_window=window,
        ) as client,
    ):
        response = await client.get("/")
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 4_000_000
        assert not done.is_set()
        assert len(await response.read()) == 40_000_000
        await done.wait()


async def test_trailers_and_early_hints(serve: Serve) -> None:
    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        extensions = scope["extensions"]
        assert {"http.response.trailers", "http.response.early_hint"} <= set(extensions)
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await send(START | {"trailers": True})
        await send({"type": "http.response.body", "body": b"body"})
        await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"1")]})

    async with serve(app) as site, site.connect() as client:
        response = await client.get("/")
        assert await response.read() == b"body"
        assert response.trailers is not None
        assert response.trailers["x-sum"] == "1"


async def test_files_by_the_engine(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(5_000_000)
    path.write_bytes(content)

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        if scope["path"] == "/path":
            await send({"type": "http.response.pathsend", "path": str(path)})
            return
        with path.open("rb") as file:
            for more in (True, False):
                message = {"type": "http.response.zerocopysend", "file": file, "more_body": more}
                await send(message | {"offset": 0 if more else 1_000_000, "count": 1_000_000})

    async with serve(app) as site, site.connect() as client:
        assert await (await client.get("/path")).read() == content
        assert await (await client.get("/pieces")).read() == content[:2_000_000]
        head = await client.head("/path")
        assert await head.read() == b""


async def test_a_client_that_leaves(serve: Serve) -> None:
    seen: list[str] = []
    over = asyncio.Event()

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        seen.append((await receive())["type"])
        try:
            await send({"type": "http.response.body", "body": b"x"})
        except OSError as error:
            seen.append(type(error).__name__)
        over.set()

    async with serve(app) as site, site.connect() as client:
        stream = await client.open("GET", "/")
        await stream.finish()
        await stream.response()
        stream.cancel()
        await over.wait()
        assert seen == ["http.disconnect", "Disconnected"]
        over.clear()
        seen.clear()
        stream = await client.open("GET", "/")
        await stream.finish()
        await stream.response()
        client.close()
        await over.wait()
        assert seen == ["http.disconnect", "Disconnected"]


@pytest.mark.parametrize("when", ["before", "between", "never", "length"])
async def test_applications_that_fail(
    serve: Serve, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if when == "before":
            raise RuntimeError("on purpose")
        if when == "never":
            return
        headers = [(b"content-length", b"10")]
        await send(START | {"headers": headers})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        if when == "length":
            await send({"type": "http.response.body", "body": b""})
        raise RuntimeError("on purpose")

    caplog.set_level(logging.CRITICAL, "tquic.h3.server")
    async with serve(app) as site, site.connect() as client:

        async def fetch() -> tuple[int, bytes]:
            response = await client.get("/")
            return response.status, await response.read()

        if when in ("before", "never"):
            assert await fetch() == (500, b"500 Internal Server Error\n")
        else:
            # A reset may overtake what was sent before.
            with pytest.raises(tquic.h3.RequestFailed) as caught:
                await fetch()
            assert caught.value.code == tquic.h3.ErrorCode.H3_INTERNAL_ERROR


async def test_messages_in_the_wrong_order(serve: Serve) -> None:
    wrong: list[BaseException] = []

    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = {"type": "http.response.body", "body": b"x"}
        for message in (body, {"type": "websocket.send", "text": "x"}):
            with contextlib.suppress(RuntimeError, ValueError):
                await send(message)
                wrong.append(AssertionError(message))
        await send(START)
        with contextlib.suppress(RuntimeError):
            await send(START)
            wrong.append(AssertionError("twice"))
        await send(body)
        with contextlib.suppress(RuntimeError):
            await send(body)
            wrong.append(AssertionError("behind the end"))

    async with serve(app) as site, site.connect() as client:
        assert await (await client.get("/")).read() == b"x"
    assert wrong == []


async def test_bodies_have_a_limit(serve: Serve) -> None:
    @only_http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(START)
        await send({"type": "http.response.body", "body": b"read"})

    async with serve(app, limits=Limits(body_size=1000)) as site, site.connect() as client:
        assert await (await client.post("/", content=b"x" * 1000)).read() == b"read"
        assert (await client.post("/", content=b"x" * 1001)).status == 413
        # Without content-length.
        stream = await client.open("POST", "/")
        with contextlib.suppress(tquic.StreamStopped):
            for _ in range(3):
                await stream.write(b"x" * 500)
        assert (await stream.response()).status == 413


# ---- Lifespan ----


async def test_lifespan(serve: Serve) -> None:
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        steps.append("begin")
        yield {"name": "value"}
        steps.append("end")

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.name)

    app = Starlette(routes=[Route("/", page)], lifespan=lifespan)
    async with serve(app) as site:
        assert steps == ["begin"]
        async with site.connect() as client:
            assert await (await client.get("/")).read() == b"value"
    assert steps == ["begin", "end"]


async def test_an_application_that_cannot_start(serve: Serve) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    with pytest.raises(ConfigError, match="no database"):
        async with serve(Starlette(lifespan=lifespan)):
            pass


# ---- Frameworks ----


async def test_starlette(serve: Serve, www: Path) -> None:
    async def echo(request: Request) -> JSONResponse:
        body = await request.json()
        return JSONResponse({"name": body["name"], "cookie": request.cookies.get("a")})

    async def stream(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(1000):
                yield b"%d\n" % number

        return StreamingResponse(pieces())

    async def file(request: Request) -> FileResponse:
        return FileResponse(www / "big.bin")

    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/file", file),
            Mount("/static", StarletteStaticFiles(directory=www)),
        ]
    )
    async with serve(app) as site, site.connect() as client:
        headers = [("cookie", "x=y"), ("cookie", "a=b")]
        response = await client.post("/echo", content=b'{"name": "x y"}', headers=headers)
        assert await response.read() == b'{"name":"x y","cookie":"b"}'
        text = await (await client.get("/stream")).read()
        assert text == b"".join(b"%d\n" % number for number in range(1000))
        content = (www / "big.bin").read_bytes()
        assert await (await client.get("/file")).read() == content
        part = await client.get("/file", headers={"range": "bytes=5-9"})
        assert (part.status, await part.read()) == (206, content[5:10])
        assert await (await client.get("/static/hello.txt")).read() == b"hello, world\n"
        assert (await client.get("/nothing")).status == 404
        assert (await client.head("/stream")).status == 200
        # It may still close the last file.
        assert await site.server.shutdown()


class Item(BaseModel):
    name: str
    price: float


async def test_fastapi(serve: Serve) -> None:
    app = FastAPI()

    @app.post("/items/{number}")
    async def add(number: int, item: Item, doubled: bool = False) -> dict[str, Any]:
        return {"number": number, "price": item.price * (2 if doubled else 1)}

    @app.get("/sync")
    def in_a_thread() -> str:
        return "from a thread"

    async with serve(app) as site, site.connect() as client:
        body = b'{"name": "x", "price": 1.5}'
        headers = {"content-type": "application/json"}
        added = await client.post("/items/7?doubled=1", content=body, headers=headers)
        assert await added.read() == b'{"number":7,"price":3.0}'
        wrong = await client.post("/items/seven", content=body, headers=headers)
        assert wrong.status == 422
        assert await (await client.get("/sync")).read() == b'"from a thread"'
        assert b"openapi" in await (await client.get("/openapi.json")).read()
        many = [client.get("/sync") for _ in range(100)]
        assert {response.status for response in await asyncio.gather(*many)} == {200}


# ---- Names of applications ----


def test_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop_for_tests.py").write_text(
        "class inner:\n    async def app(scope, receive, send): pass\nvalue = 3\n"
    )
    (tmp_path / "broken_for_tests.py").write_text("import nothing_at_all\n")
    assert callable(load("shop_for_tests:inner.app"))
    for name, sentence in [
        ("nothing_for_tests:app", "no module nothing_for_tests"),
        ("shop_for_tests:other", "no other"),
        ("shop_for_tests:value", "cannot be called"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            load(name)
    with pytest.raises(ModuleNotFoundError, match="nothing_at_all"):
        load("broken_for_tests:app")
