"""Tells the compiler what is hot: ``train_profile.py PROFILE``.

Builds the package in ``target/instrumented`` so that it counts where it goes, has it do a bit of
everything, and merges the counts into PROFILE, which a build of the package takes from
``PGO_PROFILE``. What is not done here counts as cold and is compiled for size, so what matters to
anybody belongs into `WORK`, and no kind of it has to dominate.

Exit status: 0 if there is a profile, 1 if something failed, 2 if there is no ``llvm-profdata`` of
the compiler's LLVM.
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

import llvm_tools

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
# And over two paths at the same time.
PATHS = "--path 127.0.0.1 --path 127.0.0.2"
MULTIPATH_WORK = ("--download 50M", "--upload 50M --streams 5")
# And as where the CPU lacks what the package's own AES-GCM needs.
RING_WORK = ("--download 50M", "--upload 50M", "--requests 5000 --inflight 8 --response 300")

# What `tquic load` is asked for, and of what.
LOAD = (("-n 5000 -c 20 -m 10", "small"), ("-n 20 -c 2 -m 4", "large"))


class TrainError(Exception):
    """There is no profile, and why."""


def build(folder: Path, raw: Path, isolated: bool) -> Path:
    """The instrumented package, unpacked below `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder)]
    environment = counting(raw) | {
        "RUSTFLAGS": f"{os.environ.get('RUSTFLAGS', '')} -Cprofile-generate".strip(),
        "CARGO_TARGET_DIR": str(ROOT / "target" / "instrumented"),
    }
    environment.pop("PGO_PROFILE", None)
    if not isolated:
        command.append("--no-isolation")
    run(command, ROOT, environment)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "package", "zip")
    return folder / "package"


def counting(raw: Path) -> dict[str, str]:
    """An environment in which programs add what they count to a file below `raw`."""
    return os.environ | {
        "LLVM_PROFILE_FILE": str(raw / "%m.profraw"),
        # The functions that a call by pointer calls most: few are used, and there is room for few.
        "LLVM_VP_MAX_NUM_VALS_PER_SITE": "4",
    }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Runs a program to its end."""
    try:
        subprocess.run(command, cwd=folder, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise TrainError(str(error)) from None


class Trainer:
    """Runs the instrumented package in a folder with certificates and content."""

    def __init__(self, package: Path, folder: Path, raw: Path) -> None:
        self.folder = folder
        self.environment = counting(raw) | {"PYTHONPATH": str(package)}
        self.tquic("cert")
        content = folder / "content"
        content.mkdir()
        dice = random.Random(1)
        (content / "small").write_bytes(dice.randbytes(SMALL))
        (content / "large").write_bytes(dice.randbytes(LARGE))

    def tquic(self, *command: str) -> None:
        """Runs a command to its end."""
        print("$ tquic", *command, flush=True)
        try:
            subprocess.run(
                [sys.executable, "-m", "tquic", *command],
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
        with self.serving("perf", "server", "--multipath") as address:
            for options in MULTIPATH_WORK:
                self.perf(address, f"{options} {PATHS}")
        with self.serving("serve", "content", "--writable") as (host, port):
            site = f"https://{host}:{port}"
            for options, name in LOAD:
                self.tquic("load", *options.split(), "--cacert", "ca.pem", f"{site}/{name}")
            self.tquic("get", "--cacert", "ca.pem", "-o", "-", f"{site}/large")
            self.tquic("put", "--cacert", "ca.pem", "content/large", f"{site}/copy")
        self.environment["TQUIC_CRYPTO"] = "ring"
        with self.serving("perf", "server") as address:
            for options in RING_WORK:
                self.perf(address, options)

    def perf(self, address: tuple[str, int], options: str) -> None:
        """A line of work for `tquic perf client`."""
        where = f"{address[0]}:{address[1]}"
        self.tquic("perf", "client", where, "--cacert", "ca.pem", *options.split())


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


def train(profile: Path, profdata: str, isolated: bool) -> None:
    """All from the build to the profile."""
    with tempfile.TemporaryDirectory(prefix="tquic-profile-") as place:
        folder = Path(place)
        # Build scripts and procedural macros count as well, which nobody wants to know.
        package = build(folder, folder / "build", isolated)
        Trainer(package, folder, folder / "raw").work()
        profile.parent.mkdir(parents=True, exist_ok=True)
        run([profdata, "merge", f"--output={profile}", str(folder / "raw")], ROOT, dict(os.environ))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("profile", type=Path, metavar="PROFILE", help="file to write")
    parser.add_argument(
        "--isolated",
        action="store_true",
        help="build in an environment of its own, with what pyproject.toml asks for",
    )
    options = parser.parse_args()
    profile: Path = options.profile.absolute()
    try:
        # Before the build, which takes minutes.
        profdata = llvm_tools.find("llvm-profdata")
        train(profile, profdata, options.isolated)
    except llvm_tools.ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.profile}: {profile.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
