"""`tquic load`: what it prints and writes, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import tquic as tquic_module
from tquic.cli.load import lines
from tquic.load import Result
from tquic.many import ConnectionCounts

from .support import ENVIRONMENT, PATIENCE, Server, command, document, serving, tquic, until


def load(server: Server, certs: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    url = f"https://{server.place}/{arguments[0]}"
    return tquic("load", url, "--cacert", certs / "ca.pem", *arguments[1:])


def test_a_closed_loop_as_json(server: Server, certs: Path) -> None:
    done = load(server, certs, "small.txt", "-c", 4, "-m", 2, "-n", 100, "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["ok"] is True
    assert (report["requests"], report["responses"], report["failed"]) == (100, 100, 0)
    assert report["statuses"] == {"200": 100}
    assert report["connections"]["open"] == 4
    assert set(report["latency_us"]) >= {"p50", "p90", "p99", "p99_9", "p99_99", "max"}


def test_an_open_loop_for_people(server: Server, certs: Path) -> None:
    done = load(server, certs, "small.txt", "-c", 2, "--rate", 100, "-d", "300ms", "--poisson")
    assert done.returncode == 0, done.stderr
    assert "responses in" in done.stdout
    for word in ("p99.99", "latency", "first byte", "handshake", "status 200:"):
        assert word in done.stdout


def test_files(server: Server, certs: Path, tmp_path: Path) -> None:
    table, log = tmp_path / "load.csv", tmp_path / "load.hlog"
    done = load(server, certs, "small.txt", "-n", 60, "--csv", table, "--hlog", log)
    assert done.returncode == 0, done.stderr
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {row["status"] for row in rows} == {"200"}
    assert all(float(row["latency_us"]) >= float(row["first_byte_us"]) > 0 for row in rows)
    lines = log.read_text().splitlines()
    assert lines[0] == "#[Histogram log format version 1.3]"
    assert len(lines[-1].split(",")) == 4


def test_packets_that_the_kernel_dropped_are_told() -> None:
    histogram = tquic_module.Histogram()
    result = Result(
        url="",
        options={},
        requests=0,
        responses=0,
        failed=0,
        seconds=1.0,
        bytes_sent=0,
        bytes_received=0,
        connections=ConnectionCounts(*[0] * 7),
        latency=histogram,
        service=histogram,
        first_byte=histogram,
        handshake=histogram,
        statuses={},
        errors={},
        reasons={},
        engine={"kernel_drops": 1200.0},
    )
    told = list(lines(result))
    assert told[-1].startswith("1,200 packets found no room")
    assert not any(line.startswith("status") for line in told)


def test_failures_decide_the_exit_status(server: Server, certs: Path) -> None:
    done = load(server, certs, "missing", "-n", 10, "--json")
    assert done.returncode == 1
    report = document(done)
    assert (report["ok"], report["statuses"], report["errors"]) == (
        False,
        {"404": 10},
        {"status": 10},
    )
    done = load(server, certs, "missing", "-n", 10, "--max-failed", "100%")
    assert done.returncode == 0
    done = load(server, certs, "small.txt", "-n", 10, "--expect", 1, "--max-failed", 50)
    assert done.returncode == 1
    assert "unexpected: 10" in done.stdout


def test_methods_fields_and_content(server: Server, certs: Path, tmp_path: Path) -> None:
    # The server of files knows GET and HEAD only.
    done = load(server, certs, "small.txt", "-n", 5, "--data", "10K", "-H", "x-a: b", "--json")
    report = document(done)
    assert report["responses"] == 0
    assert report["statuses"] == {"405": 5}
    done = load(server, certs, "small.txt", "-n", 5, "-X", "HEAD", "--json")
    assert document(done)["bytes_received"] == 0
    body = tmp_path / "body"
    assert load(server, certs, "small.txt", "--data", f"@{body}").returncode == 1
    body.write_bytes(b"x")
    assert load(server, certs, "small.txt", "-n", 5, "--data", f"@{body}").returncode == 1


def test_connections_that_come_and_go(server: Server, certs: Path) -> None:
    done = load(
        server,
        certs,
        "small.txt",
        "-c",
        2,
        "--per-connection",
        1,
        "-n",
        12,
        "--resume",
        50,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["responses"] == 12
    assert report["connections"]["resumed"] >= 1
    assert report["handshake_us"]["p50"] > 0


def test_nobody_is_there(certs: Path) -> None:
    done = tquic("load", "https://127.0.0.1:9/", "-n", 1, "--cacert", certs / "ca.pem", "--json")
    assert done.returncode == 1
    report = document(done)
    assert report["ok"] is False
    assert "connections" in report["error"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["http://localhost/"], "no https URL"),
        (["https://a/", "https://b/"], "of one server"),
        (["https://localhost/", "--rate", "none"], "no number above 0"),
        (["https://localhost/", "--resume", "101"], "no percentage"),
        (["https://localhost/", "--resume", "50"], "per_connection"),
        (["https://localhost/", "--ramp", "1s"], "together with a rate"),
        (["https://localhost/", "--data", "10X"], "--data"),
        (["https://localhost/", "--rate", "1e9"], "below 1e9"),
        (["https://localhost/", "-d", "0s"], "argument -d: '0s' is no time above 0"),
        (["https://localhost/", "-c", "5000000"], "connections"),
        (["https://localhost/", "--connect-timeout", "0"], "--connect-timeout: '0' is no"),
        (["https://localhost:99999/"], "https://localhost:99999/: Port"),
        (["https://[::1/"], "https://[::1/"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str) -> None:
    done = tquic("load", "--insecure", *arguments)
    assert done.returncode == 2
    assert why in done.stderr


def test_an_interrupted_load_tells_what_it_knows(
    server: Server, certs: Path, tmp_path: Path
) -> None:
    url, table = f"https://{server.place}/small.txt", tmp_path / "load.csv"
    with subprocess.Popen(
        command("load", url, "--cacert", certs / "ca.pem", "-d", "60s", "--csv", table),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        # Interrupted before the load has begun, it would have nothing to tell.
        until(lambda: table.exists() and table.stat().st_size > 0)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "responses in" in out


def test_a_rate_that_nobody_keeps_up_with_ends_in_time(server: Server, certs: Path) -> None:
    # 10,000 requests, of which one at a time can leave: the others count, and are not sent later.
    done = load(
        server,
        certs,
        *("small.txt", "-c", 1, "-m", 1, "--rate", 100_000, "-d", "100ms"),
        *("--json", "--max-failed", 1),
    )
    assert done.returncode == 1
    report = document(done)
    assert report["responses"] + report["failed"] == 10_000
    assert report["errors"]["not_sent"] == 10_000 - report["requests"]


def test_a_server_that_dies(www: Path, certs: Path, tmp_path: Path) -> None:
    table = tmp_path / "load.csv"
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("serve", www, "--cert", cert, "--key", key) as server:
        url = server.url("small.txt")
        with subprocess.Popen(
            command("load", url, "--cacert", certs / "ca.pem", "--json", "--csv", table),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # One that says nothing any more is noticed by its silence.
            env={**ENVIRONMENT, "TQUIC_IDLE_TIMEOUT": "3s"},
        ) as process:
            # Its header and some responses.
            until(lambda: table.exists() and table.stat().st_size > 1000)
            server.process.kill()
            out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    report = json.loads(out)
    assert report["ok"] is False
    assert report["responses"] > 0
    assert report["errors"]["connection_lost"] >= 1
    assert (report["connections"]["open"], report["connections"]["closed"]) == (0, 10)


def test_nobody_reads_the_result(server: Server, certs: Path) -> None:
    load = command("load", server.url("small.txt"), "--cacert", certs / "ca.pem", "-n", 5, "--json")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            load,
            stdout=writer,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("option", ["--csv", "--hlog"])
def test_files_that_cannot_be_written(server: Server, certs: Path, option: str) -> None:
    done = load(server, certs, "small.txt", "-n", 1, option, "no-folder/file")
    assert done.returncode == 1
    assert "cannot write no-folder/file: No such file" in done.stderr
    if Path("/dev/full").exists():
        done = load(server, certs, "small.txt", "-n", 1, option, "/dev/full")
        assert done.returncode == 1
        assert "cannot write /dev/full: No space" in done.stderr
