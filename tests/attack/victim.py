"""What reads files and bytes in this process, to be attacked: ``victim.py KIND ROUNDS SEED``.

Prints what became of it as JSON: how often it went well or was refused, what was raised that should
not have been, the seconds of the slowest one, and the peak of resident memory.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tquic import Config, ConfigError, SessionStore, bpf, qlog
from tquic._engine import BpfProgram
from tquic.h3 import H3Error
from tquic.h3._codec import FrameDecoder, decode_varint
from tquic.h3._huffman import decode as decode_huffman
from tquic.h3._websocket import FrameReader, WebSocketError
from tquic.h3.capsules import CapsuleDecoder
from tquic.h3.priority import Priority
from tquic.h3.qpack import Decoder, Encoder
from tquic.h3.settings import PeerSettings

ROOT: Final = Path(__file__).resolve().parents[2]
MEGABYTE: Final = 1_000_000
CONFIG: Final = """
[tquic]
idle_timeout = "30s"
congestion = "cubic"
cert = "server.pem"
key = "server.key"
alpn = ["h3", "hq-interop"]
stream_window = "2Mi"
certificates = [{ name = "*.example.com", cert = "a.pem", key = "a.key" }]
paths = ["eth0", "192.0.2.7"]
"""
# What may stand where a value does.
VALUES: Final = (
    "1e999", "-1", "0", "99999999999999999999999", '"' + "9" * 4000 + 'Gi"', '"\\u0000"', "[]",
    "{}", "nan", "inf", "true", '"../../../../etc/passwd"', '["x"]', "1979-05-27", '"-1s"', '""',
)  # fmt: skip

# One call, and what it may raise.
Case = tuple[Callable[[], object], tuple[type[Exception], ...]]


def noise(source: random.Random, start: bytes = b"") -> bytes:
    """A megabyte behind some bytes: random, one byte all the time, or few different ones."""
    kind = source.randrange(4)
    if kind == 0:
        return start + source.randbytes(MEGABYTE)
    if kind == 1:
        return start + bytes([source.randrange(256)]) * MEGABYTE
    if kind == 2:
        return start + source.randbytes(source.randrange(1, 9)) * (MEGABYTE // 8)
    return start + bytes(source.choices(b"\0\1\2\3\x40\x7f\x80\xbf\xc0\xff", k=MEGABYTE))


def damaged(source: random.Random, data: bytes) -> bytes:
    """Some bytes changed, cut off or repeated."""
    out = bytearray(data)
    for _ in range(source.choice((1, 2, 8, 64))):
        at = source.randrange(len(out))
        out[at] = source.choice((0, 1, 0x7F, 0x80, 0xFF, out[at] ^ 1 << source.randrange(8)))
    kind = source.randrange(4)
    if kind == 0:
        del out[source.randrange(len(out)) :]
    elif kind == 1:
        at = source.randrange(len(out))
        out[at:at] = out[at : at + source.randrange(64)]
    return bytes(out)


def objects(source: random.Random, rounds: int) -> Iterator[Case]:
    """Objects of schedulers that are damaged, or are none."""
    whole = [path.read_bytes() for path in sorted((ROOT / "rust/sched/fixtures").rglob("*.o"))]
    for number in range(rounds):
        data = damaged(source, source.choice(whole)) if number % 20 else noise(source, b"\x7fELF")
        yield lambda data=data: BpfProgram(data), (ConfigError, ValueError)


def configurations(source: random.Random, rounds: int) -> Iterator[Case]:
    """Files and variables with values that nobody means."""
    names = [line.split(" = ")[0] for line in CONFIG.splitlines() if " = " in line]
    for number in range(rounds):
        text = CONFIG
        for name in source.sample(names, 2):
            text += f"[again.{name}]\n" if number % 3 else f"{name} = {source.choice(VALUES)}\n"
        if number % 2:
            head, _, tail = CONFIG.partition("congestion")
            text = f"{head}{source.choice(names)} = {source.choice(VALUES)}\n# {tail}"
        if number % 5 == 0:
            text = damaged(source, text.encode()).decode(errors="replace")
        if number % 100 == 0:
            text = noise(source).decode("latin-1")
        yield lambda text=text: Config.from_toml(text), (ConfigError,)
        variables = {f"TQUIC_{source.choice(names).upper()}": source.choice(VALUES).strip('"')}
        yield lambda variables=variables: Config.from_env(None, variables), (ConfigError,)


def parsers(source: random.Random, rounds: int) -> Iterator[Case]:
    """A megabyte for everything that reads bytes."""
    folder = Path(tempfile.mkdtemp(prefix="tquic-victim-"))

    def file(data: bytes) -> Path:
        path = folder / "noise"
        path.write_bytes(data)
        return path

    def opened(data: bytes) -> SessionStore:
        return SessionStore(path=file(data))

    def websocket(data: bytes) -> object:
        return FrameReader(masked=True).feed(data)

    readers: list[tuple[Callable[[bytes], object], tuple[type[Exception], ...]]] = [
        (lambda data: FrameDecoder().read(data), (H3Error,)),
        (lambda data: Decoder(4096, 16).decode(0, data), (H3Error,)),
        (lambda data: Decoder(4096, 16).feed_encoder(data), (H3Error,)),
        (lambda data: Encoder(4096, 16).feed_decoder(data), (H3Error,)),
        (lambda data: decode_huffman(data), (H3Error, ValueError)),
        (lambda data: decode_varint(data), (ValueError,)),
        (lambda data: PeerSettings.parse(data), (H3Error,)),
        (lambda data: Priority.parse(data), (ValueError,)),
        (lambda data: CapsuleDecoder().read(data), (H3Error,)),
        (websocket, (WebSocketError,)),
        (lambda data: BpfProgram(data), (ConfigError, ValueError)),
        (lambda data: Config.from_toml(file(data)), (ConfigError,)),
        (lambda data: Config(ca=data)._client_tls, (ConfigError,)),
        (lambda data: Config(cert=data, key=data)._server_tls, (ConfigError,)),
        (lambda data: qlog.read(file(data)), (qlog.QlogError,)),
        (opened, ()),
        (lambda data: bpf.load_scheduler(file(data)), (ConfigError,)),
    ]
    for _ in range(rounds):
        for read, refusals in readers:
            data = noise(source, source.choice((b"", b"\0", b"\2\0", b"\x1e{", b"-----BEGIN ")))
            yield lambda read=read, data=data: read(data), refusals


KINDS: Final = {"objects": objects, "configurations": configurations, "parsers": parsers}


def main(kind: str, rounds: str, seed: str) -> None:
    """Does it."""
    # What is not understood is told there.
    logging.disable()
    good = refused = 0
    wrong: list[str] = []
    slowest = 0.0
    for call, refusals in KINDS[kind](random.Random(int(seed)), int(rounds)):
        begun = time.perf_counter()
        try:
            call()
            good += 1
        except refusals:
            refused += 1
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}"[:200])
        slowest = max(slowest, time.perf_counter() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "good": good, "refused": refused, "wrong": wrong, "slowest": slowest, "memory": memory,
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
