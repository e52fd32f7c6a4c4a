"""Fuzzes the HTTP/3 codec, compiled with AddressSanitizer and UndefinedBehaviorSanitizer.

Usage: fuzz_codec.py SECONDS [SEED]

The Cython modules are compiled once more into build/fuzz-codec, with the sanitizers, and a second
Python, in which every allocation is guarded, feeds them with honest exchanges that were damaged and
with random bytes. Each round follows from its seed alone: the seed of a round that fails is
printed, and `fuzz_codec.py 1 SEED` begins with it. Needs GCC with its libasan, and Linux.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "fuzz-codec"

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -g"


def build() -> Path:
    """Compiles the modules with the sanitizers; returns the folder to import them from."""
    sys.path.insert(0, str(ROOT / "build_backend"))
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    from tquic_wheel import cython_modules

    shutil.rmtree(WORK, ignore_errors=True)
    package = WORK / "package"
    extensions = [
        Extension(
            name,
            [f"cython/{name.replace('.', '/')}.pyx"],
            extra_compile_args=FLAGS.split(),
            extra_link_args=FLAGS.split()[:1],
        )
        for name in cython_modules(ROOT)
    ]
    os.chdir(ROOT)
    command = Distribution(
        {
            "name": "tquic",
            "ext_modules": cythonize(
                extensions,
                build_dir=str(WORK / "c"),
                include_path=[str(ROOT / "cython")],
                quiet=True,
            ),
        }
    ).get_command_obj("build_ext")
    command.build_lib = str(package)
    command.build_temp = str(WORK / "temp")
    command.ensure_finalized()
    command.run()
    # The Python files that the codec is made of and imports. Nothing that needs the engine: that is
    # why the packages themselves, which would import it, are empty.
    for name in ("", "h3"):
        for path in (ROOT / "python" / "tquic" / name).glob("*.py"):
            shutil.copy2(path, package / "tquic" / name / path.name)
        (package / "tquic" / name / "__init__.py").write_text("")
    return package


def libasan() -> str | None:
    """The sanitizer's library, which must be loaded before Python; None where there is none."""
    if shutil.which("gcc") is None:
        return None
    # The bare name comes back when it is not installed.
    done = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], stdout=subprocess.PIPE, text=True, check=True
    )
    path = done.stdout.strip()
    return path if Path(path).is_absolute() and sys.platform == "linux" else None


def run(seconds: int, seed: int | None = None) -> dict[str, object]:
    """Fuzzes for a while; says what `fuzz.py` says of its targets."""
    library = libasan()
    if library is None:
        raise SystemExit("error: fuzzing the codec needs Linux and GCC with libasan")
    package = build()
    environment = os.environ | {
        "PYTHONPATH": str(package),
        "LD_PRELOAD": library,
        # Every object by itself, so that a read beyond its end is seen.
        "PYTHONMALLOC": "malloc",
        # The interpreter keeps things to its end. Threads are not what this is about.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
    }
    start = time.monotonic()
    first = random.SystemRandom().getrandbits(48) if seed is None else seed
    done = subprocess.run(
        [sys.executable, __file__, "--worker", str(seconds), str(first)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    rounds = re.findall(r"^(\d+) inputs, seed (\d+)$", done.stdout, re.MULTILINE)
    ok = done.returncode == 0
    if not ok:
        print(done.stdout[-6000:])
    return {
        "executions": int(rounds[-1][0]) if rounds else 0,
        "seconds": round(time.monotonic() - start, 1),
        "edges": 0,
        "failed": [] if ok else [f"fuzz_codec.py 1 {rounds[-1][1] if rounds else first}"],
        "ok": ok,
    }


# What runs under the sanitizers


def mutated(data: bytes, dice: random.Random, most: int = 4) -> bytes:
    """A copy with a few faults."""
    out = bytearray(data)
    for _ in range(dice.randint(1, most)):
        place = dice.randrange(len(out) + 1)
        kind = dice.randrange(5)
        if kind == 0 and out:
            out[place % len(out)] ^= 1 << dice.randrange(8)
        elif kind == 1 and out:
            out[place % len(out)] = dice.choice([0, 0x1F, 0x3F, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            out[place:place] = dice.randbytes(dice.randrange(1, 12))
        elif kind == 3:
            del out[place : place + dice.randrange(1, 6)]
        else:
            out[place:place] = out[:place][-dice.randrange(1, 20) :]
    return bytes(out)


def parts(data: bytes, dice: random.Random) -> list[bytes]:
    """The data cut somewhere."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(3)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def drawn_text(dice: random.Random) -> bytes:
    size = dice.choice([0, 1, 3, 8, 20, 60, 126, 127, 128, 300])
    if dice.random() < 0.2:
        return dice.randbytes(size)
    return bytes(dice.choices(b"abcdefghijklmnop/-_=.0123456789ABC\\<", k=size))


def fuzz_huffman(dice: random.Random) -> int:
    from tquic.h3 import _huffman

    for _ in range(20):
        text = drawn_text(dice)
        coded = _huffman.encode(text)
        assert _huffman.decode(coded) == text
        other = mutated(coded, dice)
        with contextlib.suppress(ValueError):
            assert _huffman.encode(_huffman.decode(other)) == other
    return 40


def fuzz_frames(dice: random.Random) -> int:
    from tquic.h3._codec import DataSpan, FrameDecoder, encode_frame_header
    from tquic.h3.errors import H3Error

    stream = b""
    for _ in range(dice.randrange(8)):
        kind, body = dice.choice([0, 1, 4, 7, 0x21]), drawn_text(dice)
        stream += encode_frame_header(kind, len(body)) + body
    if dice.random() < 0.7:
        stream = mutated(stream, dice)
    spans, views = FrameDecoder(max_payload=200), FrameDecoder(max_payload=200)
    for part in parts(stream, dice):
        try:
            fed = spans.feed(part)
        except H3Error:
            break
        for event, other in zip(fed, views.read(part), strict=True):
            if isinstance(event, DataSpan):
                assert part[event.start : event.end] == bytes(other.payload)  # type: ignore[arg-type]
            else:
                assert event == other
    return 1


def fuzz_qpack(dice: random.Random) -> int:
    """An exchange with faults on every way; before the first one it must be exact."""
    from tquic.h3.errors import H3Error
    from tquic.h3.qpack import STATIC_TABLE, Decoder, Encoder

    capacity, blocked = dice.choice([0, 64, 300, 4096]), dice.randrange(4)
    encoder = Encoder(capacity, blocked, never_indexed=dice.choice([(), (b"cookie",)]))
    decoder = Decoder(capacity, blocked, dice.choice([0, 100, 3000]))
    faults = dice.choice([0.0, 0.1, 0.5])
    lines = [(drawn_text(dice), drawn_text(dice)) for _ in range(6)]
    lines += dice.choices(STATIC_TABLE, k=3)

    def way(data: bytes) -> list[bytes]:
        return parts(mutated(data, dice) if dice.random() < faults else data, dice)

    try:
        for part in way(encoder.set_capacity(capacity)):
            decoder.feed_encoder(part)
        for stream in range(30):
            fields = dice.choices(lines, k=dice.randrange(6))
            instructions, section = encoder.encode(stream, fields)
            late = dice.random() < 0.2
            for part in [] if late else way(instructions):
                decoder.feed_encoder(part)
            damaged = mutated(section, dice) if dice.random() < faults else section
            found = decoder.decode(stream, damaged)
            for part in way(instructions) if late else []:
                decoder.feed_encoder(part)
            if not isinstance(found, list):
                found = decoder.decode(stream, damaged)
            assert faults or found == fields
            if dice.random() < 0.1:
                decoder.cancel(stream)
            for part in way(decoder.take_decoder_stream()):
                encoder.feed_decoder(part)
            if dice.random() < 0.05:
                decoder.feed_encoder(encoder.set_capacity(dice.randrange(capacity + 1)))
    except H3Error as error:
        assert faults or error.code.name in ("H3_EXCESSIVE_LOAD",), error
    except ValueError as error:
        assert "in use" in str(error), error
    return 30


TARGETS: list[Callable[[random.Random], int]] = [fuzz_huffman, fuzz_frames, fuzz_qpack]


def worker(seconds: int, seed: int) -> int:
    """Plays rounds until the time is over; each says its seed before it begins."""
    end = time.monotonic() + seconds
    inputs = 0
    while True:
        print(f"{inputs} inputs, seed {seed}", flush=True)
        dice = random.Random(seed)
        for _ in range(50):
            inputs += dice.choice(TARGETS)(dice)
        seed += 1
        if time.monotonic() > end:
            print(f"{inputs} inputs, seed {seed}")
            return 0


def main() -> int:
    """Fuzzes and prints one line."""
    if sys.argv[1] == "--worker":
        return worker(int(sys.argv[2]), int(sys.argv[3]))
    result = run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    state = "ok" if result["ok"] else f"FAILED: {result['failed']}"
    print(f"codec: {result['executions']:,} inputs under the sanitizers, {state}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
