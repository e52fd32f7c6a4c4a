"""`tquic perf`: every kind of measurement, and the keys that scripts read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import ENVIRONMENT, PATIENCE, Server, command, document, serving, tquic, until

KEYS = {
    "bytes", "seconds", "gbps", "verified", "packets_sent", "packets_received",
    "packets_per_send_call", "packets_per_receive_call", "cpu_seconds", "max_rss_bytes",
    "lost_packets", "rate_per_second", "latency_us", "paths",
}  # fmt: skip
PATH_KEYS = {"id", "local", "remote", "bytes", "srtt_us", "lost"}


@pytest.fixture(scope="module")
def perf(certs: Path) -> Iterator[Server]:
    with serving("perf", "server", "--cert", certs / "cert.pem", "--key", certs / "key.pem") as it:
        yield it


def client(perf: Server, certs: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return tquic("perf", "client", perf.place, "--cacert", certs / "ca.pem", *arguments)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (["--download", "5M"], 5_000_000),
        (["--upload", "3Mi", "--streams", "3"], 3 << 20),
        (["--download", "1M", "--upload", "1M"], 2_000_000),
        (["--download", "1M", "--cipher", "chacha20"], 1_000_000),
        (["--download", "1M", "--congestion", "newreno", "--mtu", "1300"], 1_000_000),
    ],
)
def test_transfers(perf: Server, certs: Path, arguments: list[str], size: int) -> None:
    done = client(perf, certs, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert set(report) >= KEYS
    assert report["bytes"] == size
    assert report["verified"] is True
    assert report["gbps"] == pytest.approx(size * 8 / report["seconds"] / 1e9)
    assert report["packets_per_send_call"] >= 1
    assert report["max_rss_bytes"] > 0
    assert report["latency_us"] is None
    (path,) = report["paths"]
    assert set(path) >= PATH_KEYS
    assert path["remote"] == perf.place


def test_trains_on_loan(perf: Server, certs: Path) -> None:
    """Loopback copies all the same; without the option nothing is lent."""
    options = (("--zerocopy",), ()) if sys.platform == "linux" else ((),)
    for option in options:
        done = client(perf, certs, "--upload", "20M", *option, "--json")
        assert done.returncode == 0, done.stderr
        report = document(done)
        assert report["verified"] is True
        lent = report["zerocopy"]
        assert lent["copied"] <= lent["sends"]
        assert (lent["sends"] > 0) == bool(option)
        assert lent["fallbacks"] == 0


def test_a_time_instead_of_a_size(perf: Server, certs: Path) -> None:
    done = client(perf, certs, "--duration", "300ms", "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["bytes"] > 0
    assert 0.2 < report["seconds"] < 60


@pytest.mark.parametrize(
    "arguments",
    [
        ["--requests", "200", "--inflight", "20", "--response", "1K"],
        ["--requests", "200", "--spin", "1ms"],
        ["--handshakes", "20"],
        ["--handshakes", "20", "--resume"],
        ["--handshakes", "20", "--0rtt"],
        ["--handshakes", "20", "--first-byte"],
    ],
)
def test_rates_and_latencies(perf: Server, certs: Path, arguments: list[str]) -> None:
    done = client(perf, certs, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["verified"] is True
    assert report["rate_per_second"] == pytest.approx(int(arguments[1]) / report["seconds"])
    latency = report["latency_us"]
    assert set(latency) == {"p50", "p90", "p99", "p99_9", "max"}
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99_9"]
    assert latency["p99_9"] <= latency["max"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--download", "5M", "--streams", "2"],
        ["--upload", "5M"],
        ["--duration", "300ms"],
        ["--upload", "1G", "--duration", "300ms"],
        ["--requests", "100", "--inflight", "10", "--response", "1K"],
        ["--requests", "100", "--spin", "1ms"],
    ],
)
def test_through_asyncio(perf: Server, certs: Path, arguments: list[str]) -> None:
    done = client(perf, certs, *arguments, "--api", "asyncio", "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert set(report) >= KEYS
    assert report["verified"] is True
    assert report["bytes"] > 0
    assert set(report["paths"][0]) >= PATH_KEYS
    assert (report["latency_us"] is not None) == ("--requests" in arguments)


def test_connections_at_a_time(perf: Server, certs: Path) -> None:
    done = client(perf, certs, "--requests", "20", "--connections", "10", "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["verified"] is True
    assert report["rate_per_second"] * report["seconds"] == pytest.approx(200)


def test_the_server_tells_what_came(certs: Path) -> None:
    arguments = ("--cert", certs / "cert.pem", "--key", certs / "key.pem", "--json")
    with serving("perf", "server", *arguments) as server:
        done = client(server, certs, "--upload", "1M", "--json")
        assert done.returncode == 0, done.stderr
        server.process.send_signal(signal.SIGTERM)
        output, _ = server.process.communicate(timeout=PATIENCE)
    seen = json.loads(output)
    assert seen["bytes_received"] == 1_000_000
    assert (seen["connections"], seen["requests"], seen["mismatches"]) == (1, 1, 0)


def test_datagrams(perf: Server, certs: Path) -> None:
    done = client(perf, certs, "--datagrams", "300", "--size", "1000", "--json")
    assert done.returncode == 0, done.stderr
    assert 0 < document(done)["bytes"] <= 300_000


def test_the_report_for_people(perf: Server, certs: Path) -> None:
    done = client(perf, certs, "--download", "1M")
    assert done.returncode == 0, done.stderr
    assert "every byte verified" in done.stdout
    assert "per call" in done.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stdout)


def test_by_name(perf: Server, certs: Path) -> None:
    place = f"localhost:{perf.port}"
    done = tquic(
        "perf", "client", place, "--cacert", certs / "ca.pem", "--download", "1K", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert document(done)["bytes"] == 1000


def test_failures(perf: Server, www: Path, certs: Path) -> None:
    done = tquic("perf", "client", perf.place, "--json")
    assert done.returncode == 1
    assert "not signed by a CA that is trusted" in document(done)["error"]
    with serving("serve", www, "--cert", certs / "cert.pem", "--key", certs / "key.pem") as other:
        done = client(other, certs, "--download", "1K")
    assert done.returncode == 1
    assert "speaks QUIC, but not the QUIC perf protocol" in done.stderr


def test_ctrl_c(perf: Server, certs: Path) -> None:
    # Those of the tests before.
    until(lambda: not perf.connections())
    process = subprocess.Popen(
        command("perf", "client", perf.place, "--cacert", certs / "ca.pem", "--duration", "1m"),
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until(perf.connections)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "ROLE"),
        (["client"], "HOST:PORT"),
        (["client", "localhost"], "HOST:PORT"),
        (["client", "localhost:1", "--requests", "1", "--handshakes", "1"], "one at a time"),
        (["client", "localhost:1", "--resume"], "kinds of --handshakes"),
        (["client", "localhost:1", "--download", "many"], "no size"),
        (["client", "127.0.0.1:1", "--mtu", "1000"], "1228 to 65535"),
        (
            ["client", "localhost:1", "--api", "asyncio", "--handshakes", "1"],
            "transfers and requests",
        ),
        (["client", "localhost:1", "--path", ""], "neither an address nor the name"),
        (["client", "localhost:1", "--scheduler", "x"], "scheduler must be of"),
        (["server", "--backend", "xdp"], "--backend xdp needs --interface"),
        (["server", "--interface", "eth0"], "--interface is that of --backend xdp"),
        (
            ["server", "--backend", "xdp", "--interface", "lo", "--workers", "2"],
            "works with one thread",
        ),
        (["client", "127.0.0.1:1", "--interface", "eth0"], "that of --backend xdp"),
        (
            ["client", "127.0.0.1:1", "--backend", "xdp", "--interface", "lo", "--api", "asyncio"],
            "set TQUIC_XDP",
        ),
        (["client", "127.0.0.1:1", "--zerocopy", "--api", "asyncio"], "net.tquic.zerocopy_enable"),
        (
            ["server", "--backend", "xdp", "--interface", "lo", "--zerocopy"],
            "--zerocopy is for --backend udp",
        ),
        (["server", "--scheduler", "x"], "scheduler must be of"),
    ],
)
def test_wrong_usage(arguments: list[str], sentence: str) -> None:
    done = tquic("perf", *arguments)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stdout == ""
