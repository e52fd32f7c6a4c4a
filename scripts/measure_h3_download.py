"""Measures how fast one large file comes by HTTP/3, beside a stream with nothing but the file.

Server and client are processes of their own on one connection over loopback; both ways read the
file in the engine's threads and write it to a sink. Runs alternate, so that a busy machine is busy
for both. Ends with status 1 if HTTP/3 has less than 80 % of the stream's rate. ::

    python scripts/measure_h3_download.py --size 2G
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tquic
import tquic.h3
from tquic._engine import make_certificates
from tquic.h3.server import StaticFiles

_NAME = "large.bin"
# What HTTP/3 must have of the bare stream.
_SHARE = 0.8
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


async def _serve(folder: Path) -> None:
    """Both servers; tells their ports."""
    config = tquic.Config(cert=folder / "cert.pem", key=folder / "key.pem", alpn=("raw",))

    async def handle(connection: tquic.Connection) -> None:
        async for stream in connection:
            await stream.send_file(folder / _NAME)

    async with (
        tquic.h3.serve(StaticFiles(folder), "127.0.0.1", 0, config=config) as http,
        tquic.serve("127.0.0.1", 0, handle, config=config) as raw,
    ):
        print(http.address[1], raw.address[1], flush=True)
        await raw.wait_closed()


async def _by_http(port: int, ca: bytes) -> tuple[int, float]:
    """Bytes, and the seconds that they took."""
    url = f"https://127.0.0.1:{port}/{_NAME}"
    async with tquic.h3.connect(url, config=tquic.Config(ca=ca)) as client:
        begun = time.perf_counter()
        response = await client.get(url)
        return await response.recv_to_file(os.devnull), time.perf_counter() - begun


async def _by_stream(port: int, ca: bytes) -> tuple[int, float]:
    config = tquic.Config(ca=ca, alpn=("raw",))
    async with tquic.connect("127.0.0.1", port, config=config) as connection:
        begun = time.perf_counter()
        stream = connection.open_stream()
        stream.write(b"x")
        stream.finish()
        return await stream.recv_to_file(os.devnull), time.perf_counter() - begun


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper())
    return int(float(text[:-1]) * unit) if unit else int(text)


def main() -> None:
    """Measures and prints; or serves, as its own child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=_size, default=_size("1G"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve(options.serve))
        return
    rates: dict[str, list[float]] = {"a stream": [], "HTTP/3": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ca, cert, key = make_certificates(["localhost", "127.0.0.1"], 2)
        (folder / "cert.pem").write_text(cert)
        (folder / "key.pem").write_text(key)
        with (folder / _NAME).open("wb") as file:
            # With holes: the disk is not what is measured.
            file.truncate(options.size)
        command = [sys.executable, __file__, "--serve", made]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                http, raw = map(int, server.stdout.readline().split())
                for _ in range(options.runs):
                    for name, how, port in (
                        ("a stream", _by_stream, raw),
                        ("HTTP/3", _by_http, http),
                    ):
                        size, seconds = asyncio.run(how(port, ca.encode()))
                        if size != options.size:
                            raise SystemExit(f"{name} brought {size} of {options.size} bytes")
                        rates[name].append(size * 8 / seconds / 1e9)
                        print(f"{name}: {rates[name][-1]:.2f} Gbit/s", flush=True)
            finally:
                server.terminate()
    medians = {name: statistics.median(found) for name, found in rates.items()}
    share = medians["HTTP/3"] / medians["a stream"]
    print(*(f"{name}: {rate:.2f} Gbit/s" for name, rate in medians.items()), sep=", ", end="; ")
    print(f"HTTP/3 has {share:.0%} of the stream's rate")
    sys.exit(share < _SHARE)


if __name__ == "__main__":
    main()
