"""The server under attack: `tquic serve` in a process of its own, watched from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trustme

from tquic import _live

from . import honest
from .ports import Address

# What slow readers do not read.
LARGE: Final = 64 << 20
TICK: Final = os.sysconf("SC_CLK_TCK")


def make_site(folder: Path) -> None:
    """Certificates and files to serve."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(folder / "cert.pem"), append=True)
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    site = folder / "site"
    site.mkdir()
    (site / honest.PAGE[1:]).write_bytes(honest.CONTENT)
    with (site / "large.bin").open("wb") as file:
        file.truncate(LARGE)


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], address: Address, site: Path) -> None:
        self.process, self.address, self.site = process, address, site

    @property
    def _proc(self) -> Path:
        return Path("/proc", str(self.process.pid))

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return self.process.poll() is None

    def reset_peak(self) -> None:
        """From now on `peak` is that of what follows (proc_pid_clear_refs(5))."""
        (self._proc / "clear_refs").write_text("5")

    def memory(self, name: str = "VmRSS") -> int:
        """Resident bytes; `VmHWM`: the most since `reset_peak`."""
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise LookupError(name)

    def cpu(self) -> float:
        """Seconds of CPU time, of all its threads, in user and kernel."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def counters(self) -> dict[str, int]:
        """What the engine counts, all shards together."""
        total: dict[str, int] = {}
        for shard in _live.ask(self.process.pid)["shards"]:
            for name, value in shard.items():
                total[name] = total.get(name, 0) + (value or 0)
        return total


@contextlib.contextmanager
def serving(
    folder: Path, options: tuple[str, ...] = (), settings: tuple[tuple[str, str], ...] = ()
) -> Iterator[Server]:
    """`tquic serve` for the site in `folder`."""
    command = [
        sys.executable, "-m", "tquic", "serve", str(folder / "site"), "--writable", "--port", "0",
        "--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem"),
        "--grace", "1s", *options,
    ]  # fmt: skip
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | dict(settings)
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"{' '.join(command)}: {(folder / 'server.log').read_text()}")
        host, _, port = line.split()[-1].rpartition(":")
        yield Server(process, (host, int(port)), folder / "site")
    finally:
        end(process)


@contextlib.contextmanager
def visiting(folder: Path, server: Address) -> Iterator[Path]:
    """Honest clients, and the file with what became of them."""
    results = folder / f"honest-{server[1]}.txt"
    results.touch()
    arguments = [server[0], str(server[1]), str(folder / "ca.pem"), str(results)]
    process = subprocess.Popen([sys.executable, "-m", "tests.attack.honest", *arguments])
    try:
        yield results
    finally:
        end(process)


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Ends a process of ours, kindly first."""
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
