"""Tells the compiler what is hot: ``train_profile.py PROFILE``.

Builds the package so that it counts where it goes, has it do a bit of everything, and merges the
counts into PROFILE, which a build of a wheel takes from ``TQUIC_PROFILE``. What is not done here
counts as cold and is compiled for size, so what matters to anybody belongs into `WORK`, and no kind
of it has to dominate.

Exit status: 0 if there is a profile, 1 if something failed, 2 if there is no ``llvm-profdata`` that
understands the compiler.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Seconds that one piece of work may take; an instrumented engine is slow.
LIMIT = 600
# Content for HTTP/3.
LARGE, SMALL = 100_000_000, 2_000

# What `tquic perf client` is asked for.
WORK = (
    "--download 300M",
    "--upload 300M",
    "--download 200M --streams 30",
    "--upload 100M --streams 7 --cipher aes256",
    "--download 50M --cipher chacha20",
    "--requests 3000 --inflight 1 --response 100",
    "--requests 20000 --inflight 10 --response 50",
    "--requests 20000 --inflight 60 --response 2000",
    "--requests 2000 --inflight 30 --response 40K",
    "--requests 200 --inflight 2 --response 100 --connections 100",
    "--handshakes 200",
    "--handshakes 200 --resume",
    "--handshakes 200 --0rtt",
    "--datagrams 100000 --size 1100",
    "--datagrams 100000 --size 200",
    "--api asyncio --download 100M",
    "--api asyncio --requests 5000 --inflight 20 --response 500",
)
# The same through a network that loses datagrams.
LOSSY_WORK = ("--download 10M", "--upload 10M --streams 5", "--requests 2000 --inflight 20")
LOSS = 0.01

# What `tquic load` is asked for, and of what.
LOAD = (("-n 5000 -c 20 -m 10", "small"), ("-n 20 -c 2 -m 4", "large"))


class TrainError(Exception):
    """There is no profile, and why."""


def find_profdata() -> str | None:
    """The `llvm-profdata` of the compiler's LLVM: the toolchain's own (component ``llvm-tools``),
    that of ``LLVM_PROFDATA``, or the system's of the same major version."""
    said = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    libraries = subprocess.run(
        ["rustc", "--print", "target-libdir"], capture_output=True, text=True, check=True
    )
    version = re.search(r"^LLVM version: (\d+)", said, re.M)
    own = Path(libraries.stdout.strip()).parent / "bin" / "llvm-profdata"
    candidates = [os.environ.get("LLVM_PROFDATA"), str(own)]
    if version:
        candidates.append(f"llvm-profdata-{version[1]}")
    return next((path for name in candidates if name and (path := shutil.which(name))), None)


def build(folder: Path, raw: Path) -> None:
    """The instrumented package, unpacked into `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    environment = os.environ | {
        "RUSTFLAGS": f"-Cprofile-generate={raw}",
        "CARGO_TARGET_DIR": str(ROOT / "target" / "instrumented"),
    }
    environment.pop("TQUIC_PROFILE", None)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "package", "zip")
    # Build scripts and procedural macros were instrumented, too.
    for path in raw.glob("*.profraw"):
        path.unlink()


class Trainer:
    """Runs the instrumented package in a folder with certificates and content."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"PYTHONPATH": str(package)}
        self.tquic([], "cert")
        content = folder / "content"
        content.mkdir()
        (content / "small").write_bytes(random.randbytes(SMALL))
        (content / "large").write_bytes(random.randbytes(LARGE))

    def tquic(self, arguments: list[str], *command: str) -> None:
        """Runs a command to its end."""
        line = [sys.executable, "-m", "tquic", *command, *arguments]
        print("$ tquic", *line[3:], flush=True)
        try:
            subprocess.run(
                line,
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.DEVNULL,
                timeout=LIMIT,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise TrainError(str(error)) from None

    @contextmanager
    def serving(self, *command: str) -> Iterator[tuple[str, int]]:
        """A server, which ends well and so writes its counts; its address."""
        options = ["--host", "127.0.0.1", "--port", "0", "--cert", "cert.pem", "--key", "key.pem"]
        line = [sys.executable, "-m", "tquic", *command, *options]
        with subprocess.Popen(
            line, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                said = re.search(r"listening on (\S+):(\d+)", server.stdout.readline())
                if said is None:
                    raise TrainError(f"tquic {command[0]} does not listen")
                yield said[1], int(said[2])
                server.send_signal(signal.SIGTERM)
                if server.wait(LIMIT):
                    raise TrainError(f"tquic {command[0]} ended with status {server.returncode}")
            finally:
                server.kill()

    def work(self) -> None:
        """All of it."""
        with self.serving("perf", "server") as address:
            for options in WORK:
                self.perf(address, options)
            with losing(address) as relay:
                for options in LOSSY_WORK:
                    self.perf(relay, options)
        with self.serving("serve", "content") as (host, port):
            for options, name in LOAD:
                url = f"https://{host}:{port}/{name}"
                self.tquic([*options.split(), "--cacert", "ca.pem", url], "load")
            self.tquic(["--cacert", "ca.pem", "-o", "-", f"https://{host}:{port}/large"], "get")

    def perf(self, address: tuple[str, int], options: str) -> None:
        """One line of `WORK`."""
        where = [f"{address[0]}:{address[1]}", "--cacert", "ca.pem"]
        self.tquic([*where, *options.split()], "perf", "client")


@contextmanager
def losing(server: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """A way to `server` for one client at a time, on which datagrams are lost."""
    outer, inner = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    outer.bind(("127.0.0.1", 0))
    inner.connect(server)
    waker, over = socket.socketpair()

    def carry() -> None:
        client = None
        dice = random.Random(1)
        with selectors.DefaultSelector() as selector:
            for source in (outer, inner, over):
                selector.register(source, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is over:
                        return
                    if key.fileobj is outer:
                        datagram, client = outer.recvfrom(1 << 16)
                        if dice.random() >= LOSS:
                            inner.send(datagram)
                    else:
                        datagram = inner.recv(1 << 16)
                        if client is not None and dice.random() >= LOSS:
                            outer.sendto(datagram, client)

    thread = threading.Thread(target=carry)
    with outer, inner, waker, over:
        thread.start()
        try:
            yield "127.0.0.1", outer.getsockname()[1]
        finally:
            waker.send(b".")
            thread.join()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("profile", type=Path, metavar="PROFILE", help="file to write")
    options = parser.parse_args()
    profdata = find_profdata()
    if profdata is None:
        print(
            "no llvm-profdata that fits the compiler: `rustup component add llvm-tools`, or a "
            "package like llvm-22",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="tquic-profile-") as place:
        folder, raw = Path(place), Path(place) / "raw"
        raw.mkdir()
        build(folder, raw)
        try:
            Trainer(folder / "package", folder).work()
        except TrainError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        options.profile.parent.mkdir(parents=True, exist_ok=True)
        merge = [profdata, "merge", f"--output={options.profile}", str(raw)]
        subprocess.run(merge, check=True)
    print(f"{options.profile}: {options.profile.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
