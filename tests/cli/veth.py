"""Network namespaces that veth pairs connect, and what runs in them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .support import ENVIRONMENT, PATIENCE, command

# Of the pair, in both namespaces.
INTERFACE = "tqxdp0"
HERE = ("10.78.0.1", "fd78::1")
THERE = ("10.78.0.2", "fd78::2")


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `ip`."""
    return subprocess.run(("ip", *arguments), capture_output=True, text=True, check=True)


@dataclass
class End:
    """One end of the pair."""

    namespace: str
    interface: str = INTERFACE

    def command(self, *arguments: object) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *map(str, arguments)]

    def tquic(
        self, *arguments: object, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `tquic` to its end."""
        return subprocess.run(
            self.command(*command(*arguments)),
            capture_output=True,
            text=True,
            cwd=cwd,
            env=ENVIRONMENT | environment,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def serving(
        self, host: str, *arguments: object, **environment: str
    ) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """`tquic ARGUMENTS` on a free port, and where it listens, until the block ends."""
        words = command(*arguments, "--host", host, "--port", 0)
        process = subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | environment,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            match = re.fullmatch(r"listening on (\S+)\n", line)
            if match is None:
                process.kill()
                raise AssertionError(f"{line!r} {process.communicate()[1]}")
            if "--cert" not in arguments:
                process.stdout.readline()
            yield process, match[1]
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=PATIENCE)

    def attached(self) -> bool:
        """Whether a program is on the interface."""
        return "prog/xdp" in ip("-n", self.namespace, "link", "show", self.interface).stdout

    def sent(self) -> int:
        """Bytes that have left through the interface."""
        told = ip("-n", self.namespace, "-j", "-s", "link", "show", self.interface).stdout
        sent: int = json.loads(told)[0]["stats64"]["tx"]["bytes"]
        return sent


@dataclass
class Pair:
    """Both."""

    client: End
    server: End


def connect(near: str, far: str, interfaces: tuple[str, str], net: int) -> None:
    """A veth pair between two namespaces, with addresses in 10.`net`.0.0 and fd`net`::."""
    ip(*f"link add {interfaces[0]} netns {near} type veth".split(),
       *f"peer name {interfaces[1]} netns {far}".split())  # fmt: skip
    for n, name, interface in ((1, near, interfaces[0]), (2, far, interfaces[1])):
        ip(*f"-n {name} addr add 10.{net}.0.{n}/24 dev {interface}".split())
        ip(*f"-n {name} addr add fd{net}::{n}/64 dev {interface} nodad".split())
        ip(*f"-n {name} link set {interface} up".split())
