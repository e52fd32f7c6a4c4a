"""curl with ngtcp2 and BoringSSL, as curl_cffi brings it: a client of HTTP/3."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from curl_cffi import CurlError, CurlHttpVersion, CurlOpt
from curl_cffi.requests import AsyncSession, RequestsError

EXIT_UNSUPPORTED = 127
CASES = {"handshake", "transfer", "retry", "multiconnect", "http3"}
SECONDS = 290.0


def setting(name: str, fallback: str) -> str:
    """An environment variable, or the place where quic-interop-runner mounts the thing."""
    return os.environ.get(name) or fallback


async def download(urls: list[str]) -> None:
    """All of them over one connection, in parallel."""
    folder = Path(setting("DOWNLOADS", "/downloads"))
    # PIPEWAIT: others wait for the connection of the first, instead of opening their own.
    async with AsyncSession(
        http_version=CurlHttpVersion.V3ONLY,
        verify=str(Path(setting("CERTS", "/certs")) / "ca.pem"),
        max_clients=200,
        timeout=SECONDS,
        curl_options={CurlOpt.PIPEWAIT: 1},
    ) as session:

        async def fetch(url: str) -> None:
            response = await session.get(url)
            response.raise_for_status()
            (folder / Path(urlsplit(url).path).name).write_bytes(response.content)

        await asyncio.gather(*map(fetch, urls))


async def run(testcase: str) -> None:
    """Plays the case."""
    urls = setting("REQUESTS", "").split()
    for part in [[url] for url in urls] if testcase == "multiconnect" else [urls]:
        await download(part)


def main() -> int:
    """The exit status."""
    testcase = setting("TESTCASE", "")
    if testcase not in CASES or setting("ROLE", "") != "client":
        print(f"curl: unsupported: test case {testcase}", file=sys.stderr)
        return EXIT_UNSUPPORTED
    try:
        asyncio.run(run(testcase))
    except (CurlError, RequestsError) as error:
        print(f"curl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
