"""AF_XDP on one end and on both ends of veth pairs, under cases of the interop suite.

At the other end is another library, or ourselves; and the simulator's relay, with losses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import needs_xdp
from .support import ENVIRONMENT, PATIENCE, tquic
from .veth import THERE, End, Pair, connect

REPOSITORY = Path(__file__).resolve().parents[2]
PEER = REPOSITORY / "tests" / "interop" / "peers" / "aioquic"
PORT, RELAY_PORT = 4433, 5433
# Addresses of the relay towards the client, and of the server behind it.
MIDDLE, FAR = "10.75.0.2", "10.76.0.2"
CONTENT = {"first.txt": b"first\n", "second.bin": bytes(range(256)) * 2_000}
# Datagrams that the kernel may hand to sockets although AF_XDP takes the port: the client's first
# ones while its peer's neighbour is looked for, at most.
FEW = 20
CASES = ("transfer", "chacha20", "retry", "resumption", "zerortt", "v2", "http3")


@dataclass
class Ends:
    """Who plays, and which end uses AF_XDP."""

    client: str
    server: str
    client_xdp: bool
    server_xdp: bool


WHO = {
    "tquic-xdp-to-aioquic": Ends("tquic", "aioquic", client_xdp=True, server_xdp=False),
    "aioquic-to-tquic-xdp": Ends("aioquic", "tquic", client_xdp=False, server_xdp=True),
    "both-xdp": Ends("tquic", "tquic", client_xdp=True, server_xdp=True),
}


@dataclass
class Stage:
    """The folders of one case, as the interop runner's contract wants them."""

    root: Path
    case: str

    def environment(self, role: str, end: End, *, xdp: bool) -> dict[str, str]:
        """What a role is told."""
        set_by_us = {
            "ROLE": role,
            "TESTCASE": self.case,
            "PROTOCOL": "h3" if self.case == "http3" else "hq-interop",
            "CERTS": str(self.root / "certs"),
            "WWW": str(self.root / "www"),
            "DOWNLOADS": str(self.root / "downloads"),
        }
        return ENVIRONMENT | set_by_us | ({"TQUIC_XDP": end.interface} if xdp else {})

    def arrived(self) -> dict[str, bytes]:
        """What the client has written."""
        return {path.name: path.read_bytes() for path in (self.root / "downloads").iterdir()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    names = (THERE[0], MIDDLE)
    done = tquic("cert", "--out", folder, *(word for name in names for word in ("--name", name)))
    assert done.returncode == 0, done.stderr
    (folder / "key.pem").rename(folder / "priv.key")
    return folder


@pytest.fixture
def stage(request: pytest.FixtureRequest, certificates: Path, tmp_path: Path) -> Stage:
    shutil.copytree(certificates, tmp_path / "certs")
    for folder in ("www", "downloads"):
        (tmp_path / folder).mkdir()
    for name, content in CONTENT.items():
        (tmp_path / "www" / name).write_bytes(content)
    return Stage(tmp_path, request.node.callspec.params.get("case", "transfer"))


def program(name: str, role: str) -> list[str]:
    """What plays a role of the contract."""
    if name == "tquic":
        return [sys.executable, "-m", "tquic.interop"]
    pytest.importorskip("aioquic")
    return [sys.executable, str(PEER / f"{role}.py")]


def bound(end: End, port: int) -> bool:
    """Whether somebody listens at a port in the namespace."""
    table = subprocess.run(
        end.command("cat", "/proc/net/udp"), capture_output=True, text=True, check=True
    )
    lines = table.stdout.splitlines()[1:]
    return any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


def from_kernel(end: End) -> int:
    """Datagrams that the kernel has handed to sockets in the namespace."""
    told = subprocess.run(
        end.command("cat", "/proc/net/snmp"), capture_output=True, text=True, check=True
    )
    names, values = (line.split() for line in told.stdout.splitlines() if line.startswith("Udp:"))
    return int(dict(zip(names, values, strict=True))["InDatagrams"])


@contextmanager
def running(end: End, words: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """A server, from when it listens to the end of the block."""
    process = subprocess.Popen(
        end.command(*words),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + PATIENCE
        while not bound(end, port):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                pytest.fail(f"{words} does not listen: {process.communicate()[0]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def fetch(end: End, who: Ends, stage: Stage, place: str) -> None:
    """Every file, by the client."""
    urls = " ".join(f"https://{place}/{name}" for name in CONTENT)
    done = subprocess.run(
        end.command(*program(who.client, "client")),
        env=stage.environment("client", end, xdp=who.client_xdp) | {"REQUESTS": urls},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert stage.arrived() == CONTENT


@contextmanager
def past_the_kernel(end: End, *, xdp: bool) -> Iterator[None]:
    """What comes in the block comes past the kernel with AF_XDP, and not without."""
    before = from_kernel(end)
    yield
    grown = from_kernel(end) - before
    assert grown < FEW if xdp else grown > 0, f"{grown} datagrams through the kernel"


@contextmanager
def serving(end: End, who: Ends, stage: Stage, host: str) -> Iterator[None]:
    environment = stage.environment("server", end, xdp=who.server_xdp)
    environment |= {"HOST": host, "PORT": str(PORT)}
    with running(end, program(who.server, "server"), PORT, environment):
        assert end.attached() == who.server_xdp
        yield


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ends", WHO)
def test_interop(pair: Pair, stage: Stage, ends: str, case: str) -> None:
    who = WHO[ends]
    assert stage.case == case
    with (
        serving(pair.server, who, stage, THERE[0]),
        past_the_kernel(pair.client, xdp=who.client_xdp),
        past_the_kernel(pair.server, xdp=who.server_xdp),
    ):
        fetch(pair.client, who, stage, f"{THERE[0]}:{PORT}")


@pytest.fixture(scope="module")
def relay() -> Path:
    """The simulator's links, played in real time."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [target / profile / "tquic-relay" for profile in ("release", "simulate", "debug")]
    named = os.environ.get("TQUIC_RELAY")
    for path in [Path(named)] if named else built:
        if path.is_file():
            return path
    pytest.skip("tquic-relay is not built: cargo build -p tquic-sim --bin tquic-relay")


@dataclass
class Line:
    """Client, middle and server, a veth pair between each two."""

    client: End
    middle: End
    server: End


@pytest.fixture(scope="module")
def line(namespaces: tuple[str, str, str]) -> Line:
    near, middle, far = namespaces
    connect(near, middle, ("tqxdp1", "tqxdp-a"), 75)
    connect(middle, far, ("tqxdp-b", "tqxdp1"), 76)
    made = Line(End(near, "tqxdp1"), End(middle, "tqxdp-a"), End(far, "tqxdp1"))
    needs_xdp(made.client)
    return made


@pytest.mark.parametrize(("client_xdp", "server_xdp"), [(True, False), (False, True), (True, True)])
def test_through_a_relay_with_losses(
    line: Line, relay: Path, stage: Stage, *, client_xdp: bool, server_xdp: bool
) -> None:
    who = Ends("tquic", "tquic", client_xdp=client_xdp, server_xdp=server_xdp)
    summary = stage.root / "summary.json"
    words = [str(relay), "--listen", f"{MIDDLE}:{RELAY_PORT}", "--to", f"{FAR}:{PORT}"]
    words += ["--loss", "3", "--delay", "2ms", "--seed", "1", "--summary", str(summary)]
    with (
        serving(line.server, who, stage, FAR),
        running(line.middle, words, RELAY_PORT, ENVIRONMENT),
        past_the_kernel(line.client, xdp=client_xdp),
        past_the_kernel(line.server, xdp=server_xdp),
    ):
        fetch(line.client, who, stage, f"{MIDDLE}:{RELAY_PORT}")
    told = json.loads(summary.read_text())
    lost = sum(told[way]["dropped_datagrams"] for way in ("to_client", "to_server"))
    assert lost > 0, told
