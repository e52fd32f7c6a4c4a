"""Runs pages in Chromium, headless, with HTTP/3 and nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import tquic.h3
from tquic import _engine
from tquic.h3.server import Request, Response
from tquic.h3.webtransport import SessionHandler

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Seconds for a page, below the limit of all tests: starting the browser takes most of it.
LIMIT = 50

# What every page can use: it tells the test how it went, whatever happens.
REPORT = """
async function report(work) {
  let result;
  try {
    result = await work();
  } catch (error) {
    const so_far = JSON.stringify(window.progress);
    result = {error: `${error}\\n${error && error.stack}\\nafter ${so_far}`};
  }
  await fetch("/report", {method: "POST", body: JSON.stringify(result)});
}
"""


def executable() -> str:
    """The browser; skips the test without one."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium: on Debian, install the package chromium")
    return found


class Site:
    """A server on this machine: pages by their paths, and what they report."""

    def __init__(self, files: dict[str, tuple[str, bytes]]) -> None:
        self.files = files
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.requests: list[str] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request.path)
        if request.path == "/report":
            self.reports.put_nowait(json.loads(await request.read()))
            return Response()
        if request.path == "/deaf":
            return Response("no, thanks")
        if request.method == "POST":
            return Response(await request.read())
        if request.path not in self.files:
            return Response("", 404)
        kind, content = self.files[request.path]
        return Response(content, headers={"content-type": kind, "cache-control": "no-store"})


@contextlib.asynccontextmanager
async def _browser(url: str, port: int, spki: str, profile: Path) -> AsyncIterator[Path]:
    """A browser on a page, until the block ends; the file of what it complains of."""
    command = [
        executable(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
        # localhost may be ::1 first; and nothing else is looked up.
        "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        # Without Alt-Svc, and by one's own certificate.
        f"--origin-to-force-quic-on=localhost:{port}",
        f"--ignore-certificate-errors-spki-list={spki}",
        url,
    ]
    log = profile / "stderr"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        # Its children, too; the first may have gone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _ends(folder: Path) -> str:
    """How connections ended, by the server's qlog."""
    lines = [
        f"{file.name}: {line}"
        for file in sorted(folder.iterdir())
        for line in file.read_text(errors="replace").splitlines()
        if "connection_closed" in line
    ]
    return "\n".join(lines)


async def visit(
    files: dict[str, tuple[str, bytes]],
    path: str,
    profile: Path,
    webtransport: SessionHandler | bool = False,
) -> tuple[Any, Site]:
    """Has a browser open a page; answers what the page reports, and the server."""
    executable()
    _, cert, key = _engine.make_certificates(["localhost"], 2)
    public = x509.load_pem_x509_certificate(cert.encode()).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    spki = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
    qlog = profile / "qlog"
    config = tquic.Config(cert=cert.encode(), key=key.encode(), qlog=qlog)
    site = Site(files)
    async with tquic.h3.serve(
        site, "127.0.0.1", 0, config=config, webtransport=webtransport
    ) as server:
        port = server.address[1]
        async with _browser(f"https://localhost:{port}{path}", port, spki, profile) as log:
            try:
                async with asyncio.timeout(LIMIT):
                    result = await site.reports.get()
                if "error" in result:
                    result["error"] += f"\n{_ends(qlog)}"
                return result, site
            except TimeoutError:
                text = log.read_text(errors="replace")[-3000:]
                asked = site.requests[:20]
                pytest.fail(f"the page reports nothing; it asked for {asked}\n{text}")
