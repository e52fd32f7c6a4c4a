"""AF_XDP on one and on both ends of a veth pair between two network namespaces."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .support import CONTENT, ENVIRONMENT, PATIENCE, command, document, sha256
from .veth import INTERFACE, THERE, Pair, ip

XDP = ("--backend", "xdp", "--interface", INTERFACE)

Perf = Callable[..., dict[str, Any]]


@pytest.fixture
def perf(pair: Pair, certs: Path) -> Perf:
    """Runs a perf client against a perf server, and answers the reports of both."""

    def run(host: str, backends: tuple[str, str], *arguments: object) -> dict[str, Any]:
        options = [XDP if backend == "xdp" else () for backend in backends]
        keys = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
        server_words = ("perf", "server", *keys, "--json", *options[1])
        with pair.server.serving(host, *server_words) as (process, place):
            words = ("perf", "client", place, "--insecure", "--json", *options[0], *arguments)
            done = pair.client.tquic(*words)
            assert done.returncode == 0, done.stderr
            process.terminate()
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
        return {"client": document(done), "server": json.loads(out)}

    return run


@pytest.mark.parametrize("host", THERE)
@pytest.mark.parametrize("backends", [("xdp", "udp"), ("udp", "xdp"), ("xdp", "xdp")])
def test_every_byte_arrives(perf: Perf, host: str, backends: tuple[str, str]) -> None:
    size = 8_000_000
    reports = perf(host, backends, "--download", size, "--upload", size)
    client = reports["client"]
    assert client["verified"] is True
    assert client["bytes"] == 2 * size
    for report, backend in zip((client, reports["server"]), backends, strict=True):
        assert report["backend"] == backend
        if backend == "xdp":
            xdp = report["xdp"]
            assert xdp["interface"] == INTERFACE
            assert xdp["up"] is True
            assert xdp["damaged"] == xdp["errors"] == 0
            # All that comes, and what leaves once the neighbour is known: 1472 bytes a datagram.
            assert xdp["datagrams_received"] > size / 1472
            assert xdp["datagrams_sent"] > size / 1472 / 2


@pytest.mark.parametrize("host", THERE)
def test_handshakes(perf: Perf, host: str) -> None:
    for kind in ((), ("--resume",), ("--0rtt",)):
        client = perf(host, ("xdp", "xdp"), "--handshakes", 10, *kind)["client"]
        assert client["verified"] is True
        assert client["xdp"]["datagrams_received"] > 10


def test_a_file_by_its_hash(
    pair: Pair, certs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    served, fetched = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("fetched")
    (served / "big.bin").write_bytes(CONTENT["big.bin"])
    keys = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    # The default engine: every command and every program has it by the environment.
    with pair.server.serving(THERE[0], "serve", served, *keys, TQUIC_XDP=INTERFACE) as (_, place):
        assert pair.server.attached()
        done = pair.client.tquic(
            "get", f"https://{place}/big.bin", "--insecure", "--sha256", sha256("big.bin"),
            cwd=fetched, TQUIC_XDP=INTERFACE,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (fetched / "big.bin").read_bytes() == CONTENT["big.bin"]


def test_a_killed_server_leaves_nothing_behind(pair: Pair, perf: Perf, certs: Path) -> None:
    keys = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    assert not pair.server.attached()
    with pair.server.serving(THERE[0], "perf", "server", *keys, *XDP) as (process, _):
        assert pair.server.attached()
        # `ip netns exec` has become the server itself.
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    until = time.monotonic() + PATIENCE
    while pair.server.attached():
        assert time.monotonic() < until
        time.sleep(0.01)
    # And the next one finds the interface free.
    assert perf(THERE[0], ("udp", "xdp"), "--download", 100_000)["client"]["verified"]


def test_the_interface_goes_down_and_comes_back(pair: Pair, certs: Path) -> None:
    keys = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    server_words = ("perf", "server", *keys, "--json", *XDP)
    before = pair.server.sent()
    with pair.server.serving(THERE[0], *server_words) as (process, place):
        words = ("perf", "client", place, "--insecure", "--json", "--duration", "5s", *XDP)
        client = subprocess.Popen(
            pair.client.command(*command(*words)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while pair.server.sent() < before + 1_000_000:
            assert time.monotonic() < until
            time.sleep(0.05)
        ip("-n", pair.server.namespace, "link", "set", INTERFACE, "down")
        time.sleep(0.5)
        ip("-n", pair.server.namespace, "link", "set", INTERFACE, "up")
        out, err = client.communicate(timeout=PATIENCE)
        process.terminate()
        told, warned = process.communicate(timeout=PATIENCE)
    # Down takes the addresses of IPv6 along.
    ip(*f"-n {pair.server.namespace} addr replace {THERE[1]}/64 dev {INTERFACE} nodad".split())
    assert client.returncode == 0, err
    report = json.loads(out)
    assert report["verified"] is True
    assert report["bytes"] > 0
    xdp = json.loads(told)["xdp"]
    assert xdp["errors"] >= 1
    assert xdp["up"] is True, "it is used again"
    assert f"AF_XDP on {INTERFACE}" in warned
    assert "go through the kernel until it is back" in warned
    assert "it is back" in warned.replace("until it is back", "")


@pytest.mark.parametrize(
    ("interface", "sentence"),
    [("lo", "frames need an Ethernet interface"), ("not-here", "no such interface")],
)
def test_interfaces_that_cannot_be_used(pair: Pair, interface: str, sentence: str) -> None:
    words = ("perf", "client", "127.0.0.1:1", "--backend", "xdp", "--interface", interface)
    done = pair.client.tquic(*words)
    assert done.returncode == 1, done.stdout
    assert f"AF_XDP on {interface}: {sentence}" in done.stderr


def test_the_environment_names_an_interface_that_cannot_be_used(pair: Pair) -> None:
    for words in (("get", "https://127.0.0.1:1/x"), ("serve", ".", "--alpn", "hq-interop")):
        done = pair.client.tquic(*words, TQUIC_XDP="not-here")
        assert done.returncode == 1, done.stdout
        assert done.stderr.startswith(f"tquic {words[0]}: AF_XDP on not-here: no such interface")


def test_an_interface_has_one_program(pair: Pair, certs: Path) -> None:
    keys = ("--cert", certs / "cert.pem", "--key", certs / "key.pem")
    words = ("perf", "server", *keys, *XDP)
    with pair.server.serving(THERE[0], *words):
        done = pair.server.tquic(*words, "--port", 0)
    assert done.returncode == 1
    assert "another XDP program is there" in done.stderr


def test_sockets_of_the_guide(pair: Pair) -> None:
    program = """
import errno
from tquic.socket import *
fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_QUIC)
print(fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP))
assert fd.offload().enabled & TQUIC_OFFLOAD_CAP_AF_XDP
assert not fd.offload().caps & TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY
fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP, 1)
for wanted in (0, 2):
    try:
        fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP, wanted)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP
        print(error)
"""
    done = subprocess.run(
        pair.client.command(sys.executable, "-c", program),
        capture_output=True, text=True, env=ENVIRONMENT | {"TQUIC_XDP": INTERFACE},
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # veth copies.
    mode, whole, copies = done.stdout.splitlines()
    assert mode == "1"
    assert "for the whole program" in whole
    assert "copies packets" in copies
