"""A browser loads pages, and talks WebTransport."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import tquic
from tquic.h3.webtransport import Session, SessionClosed, SessionRequest, Stream

from .chromium import REPORT, visit

FILES = 1000
# One pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

PAGE = f"""<!doctype html><title>page</title>
<link rel="stylesheet" href="/style.css">
<script>{REPORT}</script>
<script src="/script.js"></script>
{"".join(f'<img src="/image/{n}.png">' for n in range(10))}
<script type="module">
addEventListener("load", () => report(async () => {{
  const files = [];
  for (let n = 0; n < {FILES}; n++) files.push(`/small/${{n}}`);
  performance.setResourceTimingBufferSize({FILES} + 100);
  const texts = await Promise.all(files.map(async (file) => (await fetch(file)).text()));
  const big = "0123456789".repeat(100000);
  const echo = await (await fetch("/echo", {{method: "POST", body: big}})).text() === big;
  const entries = performance.getEntriesByType("resource")
    .concat(performance.getEntriesByType("navigation"));
  return {{
    right: texts.filter((text, n) => text === `file ${{n}}`).length,
    script: window.loaded,
    color: getComputedStyle(document.body).color,
    images: [...document.images].filter((image) => image.naturalWidth === 1).length,
    entries: entries.length,
    protocols: [...new Set(entries.map((entry) => entry.nextHopProtocol))],
    echo,
  }};
}}));
</script>
"""


async def test_a_page_with_many_files(tmp_path: Path) -> None:
    files = {
        "/": ("text/html", PAGE.encode()),
        "/style.css": ("text/css", b"body { color: rgb(1, 2, 3) }"),
        "/script.js": ("text/javascript", b"window.loaded = true;"),
        **{f"/image/{n}.png": ("image/png", PNG) for n in range(10)},
        **{f"/small/{n}": ("text/plain", f"file {n}".encode()) for n in range(FILES)},
    }
    result, site = await visit(files, "/", tmp_path)
    assert "error" not in result, result["error"]
    assert result.pop("entries") >= FILES + 12
    assert result == {
        "right": FILES,
        "script": True,
        "color": "rgb(1, 2, 3)",
        "images": 10,
        # Nothing listens for TCP there; and the browser says so.
        "protocols": ["h3"],
        "echo": True,
    }
    assert len(set(site.requests)) >= FILES + 13


DEAF = f"""<!doctype html><title>unread</title>
<script>{REPORT}</script>
<script>
report(async () => {{
  const body = "0123456789".repeat(400000);
  const answers = [];
  for (let n = 0; n < 3; n++) {{
    answers.push(await (await fetch("/deaf", {{method: "POST", body}})).text());
  }}
  return answers;
}});
</script>
"""


async def test_an_answer_to_a_body_nobody_read(tmp_path: Path) -> None:
    """Chromium reads a response when it has sent its request, and never if it was stopped before
    (RFC 9114 section 4.1)."""
    result, _ = await visit({"/": ("text/html", DEAF.encode())}, "/", tmp_path)
    assert result == ["no, thanks"] * 3


SESSION = f"""<!doctype html><title>session</title>
<script>{REPORT}</script>
<script type="module">
const text = new TextDecoder(), bytes = new TextEncoder();

async function all(readable) {{
  let result = "";
  for await (const piece of readable) result += text.decode(piece);
  return result;
}}
async function send(writable, content) {{
  const writer = writable.getWriter();
  await writer.write(bytes.encode(content));
  await writer.close();
}}
async function next(readable) {{
  const reader = readable.getReader();
  const {{value}} = await reader.read();
  reader.releaseLock();
  return value;
}}

report(async () => {{
  const url = `https://${{location.host}}/echo?x=1`;
  const transport = new WebTransport(url, {{protocols: ["one", "two"]}});
  await transport.ready;
  const result = window.progress = {{protocol: transport.protocol}};

  const big = "0123456789".repeat(20000);
  const both = await transport.createBidirectionalStream();
  const [, back] = await Promise.all([send(both.writable, big), all(both.readable)]);
  result.both = back === big;

  await send(await transport.createUnidirectionalStream(), "one way");
  result.one = await all(await next(transport.incomingUnidirectionalStreams));

  const theirs = await next(transport.incomingBidirectionalStreams);
  await send(theirs.writable, "from the browser");
  result.theirs = await all(theirs.readable);

  const writable = transport.datagrams.writable ?? transport.datagrams.createWritable();
  const datagrams = writable.getWriter();
  await datagrams.write(bytes.encode("datagram"));
  result.datagram = text.decode(await next(transport.datagrams.readable));

  const reset = await transport.createBidirectionalStream();
  await reset.writable.getWriter().write(bytes.encode("reset me"));
  try {{
    await all(reset.readable);
  }} catch (error) {{
    result.reset = [error.source, error.streamErrorCode];
  }}

  const last = await transport.createBidirectionalStream();
  await last.writable.getWriter().write(bytes.encode("close"));
  const {{closeCode, reason}} = await transport.closed;
  result.closed = [closeCode, reason];

  const mine = new WebTransport(`https://${{location.host}}/mine`);
  await mine.ready;
  mine.close({{closeCode: 11, reason: "enough"}});
  await mine.closed;

  const refused = new WebTransport(`https://${{location.host}}/no`);
  refused.closed.catch(() => {{}});
  result.refused = await refused.ready.then(() => false, () => true);
  return result;
}});
</script>
"""


async def _serve(stream: Stream) -> None:
    session = stream.session
    if not stream.writable:
        back = session.open_stream(unidirectional=True)
        back.write(await stream.read())
        back.finish()
        theirs = session.open_stream()
        theirs.write(b"the server heard: ")
        theirs.write(await theirs.read())
        theirs.finish()
        return
    start = await stream.read(10)
    if start.startswith(b"reset"):
        stream.reset(0x1234)
    elif start.startswith(b"close"):
        session.close(42, "as you wish")
    else:
        await stream.write(start)
        async for piece in stream:
            await stream.write(piece)
        stream.finish()


async def _datagrams(session: Session) -> None:
    with contextlib.suppress(SessionClosed):
        while True:
            session.send_datagram(await session.recv_datagram())


async def test_webtransport(tmp_path: Path) -> None:
    ends: asyncio.Queue[Any] = asyncio.Queue()
    origins: list[str | None] = []
    drafts: list[int] = []

    async def handle(request: SessionRequest) -> None:
        origins.append(request.origin)
        if request.path == "/no":
            return
        settings = request._exchange.connection.h3.peer_settings
        drafts.append(settings.webtransport if settings is not None else 0)
        wanted = request.protocols[-1] if request.protocols else None
        session = request.accept(protocol=wanted)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_datagrams(session))
                async for stream in session:
                    group.create_task(_serve(stream))
        except* (SessionClosed, tquic.StreamReset):
            pass
        ends.put_nowait(session.exception)

    files = {"/": ("text/html", SESSION.encode())}
    result, site = await visit(files, "/", tmp_path, handle)
    assert "error" not in result, result["error"]
    assert result == {
        "protocol": "two",
        "both": True,
        "one": "one way",
        "theirs": "the server heard: from the browser",
        "datagram": "datagram",
        "reset": ["stream", 0x1234],
        "closed": [42, "as you wish"],
        "refused": True,
    }
    first, second = await ends.get(), await ends.get()
    assert (first.code, first.by) == (42, "local")
    assert (second.code, second.reason, second.by) == (11, "enough", "peer")
    assert len(set(origins)) == 1
    assert origins[0] is not None
    assert origins[0].startswith("https://localhost:")
    assert set(drafts) <= {2, 7}
    assert "/report" in site.requests
