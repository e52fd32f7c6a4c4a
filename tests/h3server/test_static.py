"""Folders over HTTP/3."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path

import pytest

from tquic.h3 import Prepared
from tquic.h3.server import StaticFiles
from tquic.h3.server._answer import Answer
from tquic.h3.server._files import Folder

from .conftest import Serve


async def test_files(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        hello = await client.get("/hello.txt")
        assert hello.status == 200
        assert hello.headers["content-type"] == "text/plain; charset=utf-8"
        assert hello.headers["content-length"] == "13"
        assert hello.headers["accept-ranges"] == "bytes"
        assert hello.headers["x-content-type-options"] == "nosniff"
        assert "date" in hello.headers
        assert await hello.read() == b"hello, world\n"
        assert await (await client.get("/empty")).read() == b""
        big = await client.get("/big.bin?query")
        assert await big.read() == (www / "big.bin").read_bytes()
        assert await (await client.get("/pages/")).read() == b"<p>index</p>"


async def test_head(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        for path, size in [("/hello.txt", 13), ("/big.bin", 2 << 20), ("/empty", 0)]:
            head = await client.head(path)
            assert (head.status, head.headers["content-length"]) == (200, str(size))
            assert await head.read() == b""
            # RFC 9110 section 14.2: Range means nothing there.
            head = await client.head(path, headers={"range": "bytes=0-1"})
            assert (head.status, head.headers["content-length"]) == (200, str(size))
        for path, status in [("/nothing", 404), ("/sub/", 200), ("/sub", 301)]:
            head = await client.head(path)
            assert head.status == status
            assert int(head.headers["content-length"]) > 0
            assert await head.read() == b""


async def test_ranges(serve: Serve, www: Path) -> None:
    content = (www / "big.bin").read_bytes()
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        for path, whole in [("/big.bin", content), ("/hello.txt", b"hello, world\n")]:
            part = await client.get(path, headers={"range": "bytes=3-7"})
            assert part.status == 206
            assert part.headers["content-range"] == f"bytes 3-7/{len(whole)}"
            assert await part.read() == whole[3:8]
            tail = await client.get(path, headers={"range": "bytes=-4"})
            assert await tail.read() == whole[-4:]
            both = await client.get(path, headers={"range": "bytes=0-1,-2"})
            assert both.status == 206
            kind, _, boundary = both.headers["content-type"].partition("; boundary=")
            assert kind == "multipart/byteranges"
            body = await both.read()
            assert len(body) == int(both.headers["content-length"])
            parts = body.split(f"\r\n--{boundary}".encode())
            assert parts[0] == b""
            assert parts[-1] == b"--\r\n"
            assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
                whole[:2],
                whole[-2:],
            ]
            none = await client.get(path, headers={"range": f"bytes={len(whole)}-"})
            assert none.status == 416
            assert none.headers["content-range"] == f"bytes */{len(whole)}"
            for ignored in ("bytes=9-1", "bytes=0-5,2-9", "rows=1-2"):
                all_of_it = await client.get(path, headers={"range": ignored})
                assert all_of_it.status == 200
                assert await all_of_it.read() == whole


async def test_conditions(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        for path in ("/hello.txt", "/big.bin"):
            first = await client.get(path)
            whole = await first.read()
            etag, date = first.headers["etag"], first.headers["last-modified"]
            for name, value in [("if-none-match", etag), ("if-modified-since", date)]:
                again = await client.get(path, headers={name: value})
                assert again.status == 304
                assert again.headers["etag"] == etag
                assert "content-type" not in again.headers
                assert await again.read() == b""
            refused = await client.get(path, headers={"if-match": '"other"'})
            assert refused.status == 412
            matching = {"range": "bytes=0-0", "if-range": etag}
            assert (await client.get(path, headers=matching)).status == 206
            other = await client.get(path, headers=matching | {"if-range": '"other"'})
            assert other.status == 200
            assert await other.read() == whole


async def test_what_was_compressed_before(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        for accepted, coding, body in [
            ("gzip, br", "br", b"brotli"),
            ("gzip", "gzip", b"gzipped"),
            ("br;q=0, gzip", "gzip", b"gzipped"),
            ("identity", None, (www / "app.js").read_bytes()),
        ]:
            for _ in range(2):
                found = await client.get("/app.js", headers={"accept-encoding": accepted})
                assert found.headers.get("content-encoding") == coding
                assert found.headers["vary"] == "accept-encoding"
                assert found.headers["content-type"] == "text/javascript; charset=utf-8"
                assert await found.read() == body
        tags = set()
        for accepted in ("gzip", "br", ""):
            found = await client.get("/app.js", headers={"accept-encoding": accepted})
            tags.add(found.headers["etag"])
        assert len(tags) == 3
        # Made of an older file.
        later = time.time() + 10
        os.utime(www / "app.js", (later, later))
        await asyncio.sleep(1.1)
        found = await client.get("/app.js", headers={"accept-encoding": "br"})
        assert "content-encoding" not in found.headers


async def test_listings_are_escaped(serve: Serve, www: Path) -> None:
    (www / "sub" / '"><script>').mkdir()
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        page = await client.get("/sub/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src" not in page.headers["content-security-policy"]
        text = (await page.read()).decode()
        assert "<script>" not in text
        assert '<a href="./a%26b%20%3Cc%3E.txt">a&amp;b &lt;c&gt;.txt</a>' in text
        assert '<a href="./%22%3E%3Cscript%3E/">' in text
        odd = await client.get("/sub/a%26b%20%3Cc%3E.txt")
        assert await odd.read() == b"odd"
        moved = await client.get("/sub?x=1")
        assert (moved.status, moved.headers["location"]) == (301, "/sub/?x=1")
    async with serve(StaticFiles(www, show=False)) as site, site.connect() as client:
        assert (await client.get("/sub/")).status == 404
        assert (await client.get("/pages/")).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/%2e%2e/secret", 400),
        ("/..%2fsecret", 400),
        ("/a%00b", 400),
        ("/%zz", 400),
        ("/outside", 404),
        ("/nothing", 404),
        ("/hello.txt/", 404),
        ("/hello.txt/more", 404),
        ("/" + "x" * 300, 404),
        ("/" + "x/" * 3000, 404),
    ],
)
async def test_nothing_else_is_served(serve: Serve, www: Path, path: str, status: int) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        response = await client.get(path)
        assert response.status == status
        assert b"secret" not in await response.read()


async def test_a_file_that_is_kept_may_change(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        first = await client.get("/hello.txt")
        (www / "hello.txt").write_text("other")
        await asyncio.sleep(1.1)
        second = await client.get("/hello.txt")
        assert await second.read() == b"other"
        assert second.headers["etag"] != first.headers["etag"]
        (www / "hello.txt").unlink()
        await asyncio.sleep(1.1)
        assert (await client.get("/hello.txt")).status == 404


async def test_methods(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www)) as site, site.connect() as client:
        for method in ("PUT", "POST", "DELETE"):
            response = await client.request(method, "/hello.txt")
            assert response.status == 405
            assert response.headers["allow"] == "GET, HEAD, OPTIONS"
        options = await client.request("OPTIONS", "/")
        assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_uploads(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www, writable=True)) as site, site.connect() as client:
        content = os.urandom(3 << 20)
        made = await client.put("/sub/new.bin", content=content)
        assert made.status == 201
        assert (www / "sub" / "new.bin").read_bytes() == content
        again = await client.put("/sub/new.bin", content=b"short")
        assert again.status == 204
        assert (www / "sub" / "new.bin").read_bytes() == b"short"
        served = await client.get("/sub/new.bin")
        assert served.headers["etag"] == again.headers["etag"]
        for path, headers, status in [
            ("/sub/new.bin", {"if-none-match": "*"}, 412),
            ("/sub/new.bin", {"if-match": '"x"'}, 412),
            ("/sub/new.bin", {"content-range": "bytes 0-4/5"}, 400),
            ("/sub", {}, 409),
            ("/sub/", {}, 409),
            ("/", {}, 409),
            ("/nothing/there", {}, 409),
            ("/hello.txt/there", {}, 409),
            ("/%2e%2e/secret", {}, 400),
            ("/up%2fthere", {}, 400),
        ]:
            refused = await client.put(path, content=b"x", headers=headers)
            assert refused.status == status, path
        # A link is replaced; what it leads to is not written to.
        assert (await client.put("/outside", content=b"mine")).status == 204
        assert (www / "outside").read_bytes() == b"mine"
        assert not (www / "outside").is_symlink()
        assert (www.parent / "secret").read_text() == "secret"
    assert not list(www.rglob("*.part"))


async def test_an_upload_that_is_given_up_leaves_nothing(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www, writable=True)) as site, site.connect() as client:
        for _ in range(3):
            stream = await client.open("PUT", "/half.bin")
            await stream.write(b"x" * 100_000)
            while not list(www.glob(".half.bin.*.part")):
                await asyncio.sleep(0.01)
            stream.cancel()
            while list(www.glob(".half.bin.*.part")):
                await asyncio.sleep(0.01)
        assert (await client.get("/half.bin")).status == 404
        assert (await client.get("/hello.txt")).status == 200


def test_paths_that_clients_do_not_send(www: Path) -> None:
    folder = Folder(www)
    for path, status in [
        (b"/../secret", 400),
        (b"/sub/../hello.txt", 400),
        (b"*", 400),
        (b"", 400),
        (b"//secret", 404),
    ]:
        answer = folder.answer(b"GET", path, [])
        assert isinstance(answer, Answer)
        assert answer.status == status, path
    moved = folder.answer(b"GET", b"//sub", [])
    assert isinstance(moved, Answer)
    # Not to another host.
    assert (b"location", b"/sub/") in moved.fields


# ---- What is kept ----


def test_small_files_are_encoded_once(www: Path) -> None:
    folder = Folder(www)
    first = folder.answer(b"GET", b"/hello.txt", [(b"user-agent", b"x")])
    assert isinstance(first, Prepared)
    assert folder.answer(b"GET", b"/hello.txt", []) is first
    assert folder.answer(b"HEAD", b"/hello.txt", []) is first
    large = folder.answer(b"GET", b"/big.bin", [])
    assert isinstance(large, Answer)
    assert large.descriptor is not None
    large.close()


def test_what_is_kept_is_bounded(www: Path) -> None:
    for number in range(50):
        (www / f"{number}.txt").write_text("x" * 1000)
    folder = Folder(www, keep=20_000)
    for _ in range(2):
        for number in range(50):
            for query in (b"", b"?1"):
                path = b"/%d.txt%s" % (number, query)
                assert isinstance(folder.answer(b"GET", path, []), Prepared)
                assert 0 < folder._used <= 20_000
    assert folder._used == sum(
        found.size * 2 + len(key[0]) + 2048 for key, found in folder._kept.items()
    )


def test_descriptors_are_given_back(www: Path) -> None:
    folder = Folder(www)
    before = _descriptors()
    for path in (
        b"/",
        b"/sub",
        b"/sub/",
        b"/pages/",
        b"/app.js",
        b"/hello.txt",
        b"/nothing",
        b"/outside",
    ):
        for lines in ([], [(b"accept-encoding", b"br")], [(b"if-none-match", b"*")]):
            for method in (b"GET", b"HEAD"):
                answer = folder.answer(method, path, lines)
                if isinstance(answer, Answer):
                    answer.close()
    for value in (b"bytes=5-5", b"bytes=99999999-", b"bytes=0-1,5-6"):
        answer = folder.answer(b"GET", b"/big.bin", [(b"range", value)])
        assert isinstance(answer, Answer)
        answer.close()
    assert _descriptors() == before


def _descriptors() -> int:
    """How many this process has open, where that can be found out."""
    # What earlier tests left behind must not be closed just now.
    gc.collect()
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0
