"""`tquic top`, `stats`, `qlog` and `trace`, from outside."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tquic import _live, metrics

from .support import (
    CONTENT,
    ENVIRONMENT,
    PATIENCE,
    Server,
    command,
    document,
    serving,
    tquic,
    until,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="the live view is there on Linux only")


@contextmanager
def transfer(folder: Path) -> Iterator[tuple[Server, int]]:
    """A server, and the process number of a client that downloads for a while."""
    with serving("perf", "server") as server:
        client = subprocess.Popen(
            command("perf", "client", server.place, "--cacert", server.ca, "--duration", "30s"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        try:
            yield server, client.pid
        finally:
            client.terminate()
            client.communicate(timeout=PATIENCE)


@linux
def test_a_running_process_tells_of_itself(tmp_path: Path) -> None:
    with transfer(tmp_path) as (server, client):
        number = server.process.pid
        deadline = time.monotonic() + PATIENCE
        while True:
            done = tquic("stats", number, "--json", "--interval", "300ms")
            if done.returncode == 0 and document(done)["connections"]:
                break
            assert time.monotonic() < deadline, done.stderr
        (connection,) = document(done)["connections"]
        assert connection["role"] == "server"
        assert connection["state"] == "established"
        assert connection["rate_sent"] > 0
        (path,) = connection["paths"]
        assert path["cwnd"] > 0
        assert path["srtt"] > 0
        (other,) = document(tquic("stats", client, "--json"))["connections"]
        assert (other["id"], other["role"]) == (connection["id"], "client")

        shown = tquic("top", number, "-n", "1", "--interval", "200ms")
        assert shown.returncode == 0, shown.stderr
        assert connection["id"][:16] in shown.stdout
        assert "established" in shown.stdout

        text = tquic("stats", number, "--prometheus").stdout
        assert f'tquic_connection_bytes_sent_total{{id="{connection["id"]}",role="server"}}' in text
    assert number not in _live.sockets(), "its socket is gone with it"


@linux
def test_who_does_not_want_to_be_seen_is_not(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"TQUIC_LIVE": "0"}
    process = subprocess.Popen(
        command("perf", "server", "--port", 0), stdout=subprocess.PIPE, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        done = tquic("stats", process.pid)
        assert done.returncode == 1
        assert "does not answer" in done.stderr
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@linux
def test_a_killed_process_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQUIC_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    # This process, as if it had the number of one that left its socket.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / f"{os.getpid()}-0.sock"))
    assert os.getpid() not in _live.processes()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as heard:
        heard.bind(str(tmp_path / f"{os.getpid()}-1.sock"))
        heard.listen()
        assert os.getpid() in _live.processes()


def test_prometheus_escapes_what_it_must() -> None:
    snapshot = {
        "shards": [{"connections": 2, "accepted": 1}],
        "connections": [{"id": 'a"b\\', "role": "client", "bytes_sent": 5, "paths": []}],
    }
    lines = metrics.exposition(snapshot).splitlines()
    assert 'tquic_connections{shard="0"} 2' in lines
    assert r'tquic_connection_bytes_sent_total{id="a\"b\\",role="client"} 5' in lines
    assert "tquic_connection" not in metrics.exposition(snapshot, connections=False).replace(
        "tquic_connections", ""
    )
    # Each metric is explained once, before its values.
    for line in lines:
        assert re.match(r"# (HELP|TYPE) tquic_\w+ \S|tquic_\w+\{.*\} [\d.]+$", line), line


class Relay(threading.Thread):
    """Passes datagrams between a client and a server, and loses every 50th to the client."""

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._inside, self._outside = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)
        )
        self._outside.bind(("127.0.0.1", 0))
        self._inside.bind(("127.0.0.1", 0))
        self._client: tuple[str, int] | None = None
        self._count = 0
        self._over = threading.Event()
        self.place = "{}:{}".format(*self._outside.getsockname())

    def run(self) -> None:
        sides = [self._outside, self._inside]
        while not self._over.is_set():
            ready, _, _ = select.select(sides, [], [], 0.2)
            for side in ready:
                data, sender = side.recvfrom(65_536)
                if side is self._outside:
                    self._client = sender
                    self._inside.sendto(data, self._server)
                    continue
                self._count += 1
                if self._count % 50 and self._client is not None:
                    self._outside.sendto(data, self._client)

    def end(self) -> None:
        self._over.set()
        self.join()
        self._inside.close()
        self._outside.close()


def lossy_download(tmp_path: Path, *options: object) -> tuple[list[Path], dict[str, Any]]:
    """Downloads a file over a link that loses: both logs, and what the client said."""
    www, logs = tmp_path / "www", tmp_path / "logs"
    www.mkdir()
    (www / "big.bin").write_bytes(CONTENT["big.bin"])
    with serving("serve", www, "--qlog", logs) as server:
        relay = Relay((server.host, server.port))
        relay.start()
        arguments = ("--cacert", server.ca, "--connect-to", relay.place, "-o", tmp_path / "out")
        done = tquic("get", server.url("big.bin"), *arguments, "--json", "--qlog", logs, *options)
        relay.end()
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == CONTENT["big.bin"]
    return sorted(logs.iterdir()), document(done)


def test_logs_of_a_lossy_download_are_valid_and_can_be_drawn(tmp_path: Path) -> None:
    files, said = lossy_download(tmp_path)
    assert [path.name.rpartition("_")[2] for path in files] == ["client.sqlog", "server.sqlog"]
    assert len({path.name.partition("_")[0] for path in files}) == 1
    done = tquic("qlog", "validate", *files, "--json")
    result = document(done)
    assert (done.returncode, result["ok"]) == (0, True), result
    (connection,) = said["connections"]
    client, server = (path.read_text() for path in files)
    assert client.count('"quic:packet_sent"') >= connection["packets_sent"]
    assert server.count('"quic:packet_lost"') > 10
    assert '"quic:connection_closed"' in client

    pytest.importorskip("matplotlib", reason="tquic qlog plot needs matplotlib")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        done = tquic("qlog", "plot", files[1], "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert re.search(r"\d{2,} packets lost", done.stdout)
        image = (tmp_path / name).read_bytes()
        assert image.startswith(start)
        assert len(image) > 10_000


@contextmanager
def listening(tmp_path: Path, *options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("qlog", "listen", "--unix", tmp_path / "qlog.sock", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("listening")
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def tell(tmp_path: Path) -> None:
    """A download whose events go to the listener."""
    www = tmp_path / "www"
    www.mkdir(exist_ok=True)
    (www / "small").write_bytes(bytes(1000))
    told = {"TQUIC_QLOG_MODE": "unix", "TQUIC_QLOG": str(tmp_path / "qlog.sock")}
    with serving("serve", www) as server:
        done = subprocess.run(
            command("get", server.url("small"), "--cacert", server.ca, "-o", tmp_path / "out"),
            capture_output=True,
            text=True,
            env={**ENVIRONMENT, **told},
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@linux
def test_a_listener_prints_events(tmp_path: Path) -> None:
    with listening(tmp_path, "--json", "-n", 50) as process:
        tell(tmp_path)
        out, err = process.communicate(timeout=PATIENCE)
    events = [json.loads(line) for line in out.splitlines()]
    assert len(events) == 50
    assert {"quic:packet_sent", "quic:parameters_set"} <= {event["name"] for event in events}
    assert {event["role"] for event in events} == {"client"}
    assert "50 events of 1 connection heard, 0 dropped" in err
    with listening(tmp_path, "-n", 3) as process:
        tell(tmp_path)
        out, _ = process.communicate(timeout=PATIENCE)
    assert len(out.splitlines()) == 3
    assert "quic:" in out.splitlines()[0]


@linux
def test_a_listener_keeps_files(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with listening(tmp_path, "-o", logs) as process:
        tell(tmp_path)
        end = '"quic:connection_closed"'
        until(lambda: any(end in path.read_text() for path in logs.glob("*")))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "events of 1 connection heard" in err
    [file] = logs.iterdir()
    assert file.name.endswith("_client.sqlog")
    done = tquic("qlog", "validate", file)
    assert done.returncode == 0, done.stdout


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    header = {
        "file_schema": "urn:ietf:params:qlog:file:sequential",
        "serialization_format": "application/qlog+json-seq",
        "trace": {"event_schemas": ["urn:ietf:params:qlog:events:quic-13"]},
    }
    ping = {"frame_type": "ping"}
    good = {"header": {"packet_type": "1RTT", "packet_number": 1}, "frames": [ping]}
    records = [
        header,
        {"time": 1, "name": "quic:packet_sent", "data": good},
        {"time": 0.5, "name": "quic:packet_sent", "data": good},
        {"time": 2, "name": "quic:packet_sent", "data": {"header": {"packet_type": "2RTT"}}},
        {"time": 3, "name": "quic:packet_thrown", "data": {}},
        {"time": 4, "name": "quic:spin_bit_updated", "data": {"state": 1, "colour": "red"}},
        {"time": 5, "name": "quic:packet_lost", "data": {"header": {}}},
    ]
    path = tmp_path / "bad.sqlog"
    path.write_text("".join(f"\x1e{json.dumps(record)}\n" for record in records) + "\x1e{")
    done = tquic("qlog", "validate", path)
    assert done.returncode == 1
    for sentence in (
        "record 3 (quic:packet_sent): time: 0.5 is before 1",
        "record 4 (quic:packet_sent): data.header.packet_type: '2RTT' is none of",
        "record 5 (quic:packet_thrown): name: no event of the drafts",
        "record 6 (quic:spin_bit_updated): data.state: 1 is no truth value",
        "data.colour is not in the drafts",
        "record 7 (quic:packet_lost): data.header.packet_type is missing",
        "record 8 is no JSON",
    ):
        assert sentence in done.stdout, done.stdout
    assert "record 2" not in done.stdout
    (tmp_path / "none.sqlog").write_text("hello")
    done = tquic("qlog", "validate", tmp_path / "none.sqlog")
    assert done.returncode == 1
    assert "neither JSON text sequences nor JSON" in done.stderr


def test_trace_prints_what_bpftrace_gets(tmp_path: Path) -> None:
    script = tmp_path / "a.bt"
    script.write_text("tracepoint:tquic:packet_sent { @ = sum(args->size); }\n")
    done = tquic("trace", script, "--print")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"usdt:/\S+:tquic:packet_sent \{ @ = sum\(arg3\); \}\n", done.stdout)
    script.write_text("tracepoint:tquic:packet_sent { @ = sum(args->weight); }\n")
    done = tquic("trace", script, "--print")
    assert done.returncode == 2
    assert "packet_sent has no field weight" in done.stderr
