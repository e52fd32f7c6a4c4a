"""An honest client in a process of its own: ``python -m tests.attack.honest HOST PORT CA FILE``.

Begins a new connection every `INTERVAL`, whatever became of the last one, fetches a file over it
and compares it. Who is refused (CONNECTION_REFUSED, or status 503) comes again after `AGAIN`, as
Retry-After says. FILE gets a line when an attempt begins, `begin TIME` in seconds of the monotonic
clock (which all processes share), for each refusal, `refused TIME`, and when it is over, `end TIME
SECONDS SERVED`: the same time as at the beginning, how long it took until the last byte, and
whether the bytes were right.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Final

from tquic import Config, ConnectionRefused, h3

INTERVAL: Final = 0.05
# After which a client is counted as not served.
PATIENCE: Final = 5.0
AGAIN: Final = 1.0
# Attempts at a time; more would be an attack.
AT_A_TIME: Final = 100
PAGE: Final = "/honest.bin"
CONTENT: Final = bytes(range(256)) * 8


async def fetch(address: tuple[str, int], config: Config) -> bool | None:
    """Whether the page came as it is; `None` if the server has too much to do."""
    try:
        async with h3.connect("https://localhost/", config=config, address=address) as connection:
            response = await connection.get(PAGE)
            return None if response.status == 503 else await response.read() == CONTENT
    except ConnectionRefused:
        return None


async def come(address: tuple[str, int], config: Config, results: Path) -> bool:
    """Comes again until it is not refused; whether the page came as it is."""
    while (served := await fetch(address, config)) is None:
        with results.open("a") as file:
            file.write(f"refused {time.monotonic()}\n")
        await asyncio.sleep(AGAIN)
    return served


async def visit(address: tuple[str, int], config: Config, results: Path) -> None:
    """One attempt, written down."""
    begun, served = time.monotonic(), False
    with results.open("a") as file:
        file.write(f"begin {begun}\n")
    # Whatever went wrong, the client was not served.
    with contextlib.suppress(Exception):
        served = await asyncio.wait_for(come(address, config, results), PATIENCE)
    with results.open("a") as file:
        file.write(f"end {begun} {time.monotonic() - begun} {int(served)}\n")


async def main(host: str, port: str, ca: str, results: str) -> None:
    """Goes on until it is ended."""
    config = Config(ca=Path(ca))
    attempts: set[asyncio.Task[None]] = set()
    while True:
        if len(attempts) < AT_A_TIME:
            task = asyncio.ensure_future(visit((host, int(port)), config, Path(results)))
            attempts.add(task)
            task.add_done_callback(attempts.discard)
        await asyncio.sleep(INTERVAL)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
