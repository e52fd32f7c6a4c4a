"""Runs one work over one peer, and a session of them all."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare import machine, process
from compare.machine import Load
from compare.peers import Files, Peer
from compare.process import Process, RunError
from compare.works import Work

# Bytes of a stream in a full datagram, about.
PACKET = 1440
SERVER_CPU, CLIENT_CPU = 0, 1
# How often a run is repeated because others used the machine.
REPEATS = 2


@dataclass(frozen=True)
class Session:
    """What all runs of a session share."""

    files: Files
    relay: Path
    folder: Path
    # Seconds to wait for a quiet machine before a run; 0 runs at once and marks nothing.
    patience: float
    # One CPU for each end.
    pinned: bool


def run(peer: Peer, work: Work, session: Session) -> dict[str, Any]:
    """The facts of one run on a quiet machine, or of the last of several on a noisy one."""
    work = work.scaled(peer.share)
    for attempt in range(REPEATS + 1):
        quiet = machine.wait_until_quiet(session.patience)
        facts = _run(peer, work, session)
        facts["noisy"] = not quiet or facts["foreign_cpus"] > machine.QUIET
        if not facts["noisy"] or not session.patience or attempt == REPEATS:
            break
    return facts


def _run(peer: Peer, work: Work, session: Session) -> dict[str, Any]:
    with ends(peer, work, session) as (server, between, address):
        own, load = process.children_cpu(), Load.now()
        used, carried = server.cpu_seconds(), between.cpu_seconds() if between else 0.0
        idle = server.memory("VmRSS")
        command = peer.client_command(work, address, session.files)
        cpu = CLIENT_CPU if session.pinned else None
        with process.started(command, cpu, peer.environment, session.folder) as client:
            if work.kind == "idle":
                facts = _watch_idle(client, server, work, idle)
            else:
                facts = normal(process.report(client))
        now = Load.now()
        used = server.cpu_seconds() - used
        # What the link's relay takes is no foreign work.
        carried = between.cpu_seconds() - carried if between else 0.0
        client_used = process.children_cpu() - own
        memory = server.memory("VmHWM")
        seen = normal_totals(process.totals(server))
    return facts | {
        "server_cpu_seconds": used,
        "server_peak_memory": memory,
        "foreign_cpus": round(now.foreign(load, used + client_used + carried), 3),
        "verified": verify(work, facts, seen),
    }


@contextmanager
def ends(
    peer: Peer, work: Work, session: Session
) -> Generator[tuple[Process, Process | None, str]]:
    """A server, the relay before it if the work has a link, and the address that leads to it."""
    cpu = SERVER_CPU if session.pinned else None
    with ExitStack() as stack:
        command = peer.server_command(session.files)
        server = stack.enter_context(
            process.started(command, cpu, peer.environment, session.folder)
        )
        address, between = process.listening(server), None
        if work.link:
            relay = [str(session.relay), "--listen", "127.0.0.1:0", "--to", address, *work.link]
            between = stack.enter_context(process.started(relay, None, {}, session.folder))
            address = process.listening(between)
        yield server, between, address


def _watch_idle(client: Process, server: Process, work: Work, before: int) -> dict[str, Any]:
    """Looks at the server while the client keeps its connections and does nothing."""
    facts = normal(process.first_document(client))
    used, start = server.cpu_seconds(), time.monotonic()
    # The client ends by itself; the last part of its time is not watched.
    time.sleep(max(work.number("seconds") - 1, 1))
    facts["idle_bytes"] = server.memory("VmRSS") - before
    facts["idle_cpu_share"] = (server.cpu_seconds() - used) / (time.monotonic() - start)
    return facts


def normal(report: dict[str, Any]) -> dict[str, Any]:
    """A client's report, whichever program wrote it."""
    if "verified" not in report:
        return report
    # `tquic perf client --json`
    facts = {
        "bytes": report["bytes"],
        "count": round(report["rate_per_second"] * report["seconds"]),
        "mismatches": 0 if report["verified"] else 1,
        "seconds": report["seconds"],
        "cpu_seconds": report["cpu_seconds"],
        "peak_memory": report["max_rss_bytes"],
    }
    if report["latency_us"] is not None:
        facts["latency_us"] = report["latency_us"]
    return facts


def normal_totals(seen: dict[str, Any]) -> dict[str, Any]:
    """What a server has seen, whichever program tells it."""
    if "bytes_received" in seen:
        # `tquic perf server --json`
        return seen | {"streams": seen["requests"], "received": seen["bytes_received"]}
    return seen


def verify(work: Work, facts: dict[str, Any], seen: dict[str, Any]) -> bool:
    """Whether everything that was asked for was done and every byte was right."""
    right = bool(facts["mismatches"] == 0 and seen["mismatches"] == 0)
    if work.kind == "bulk":
        right &= facts["bytes"] == work.bytes and seen["received"] == work.number("upload")
    if work.kind in {"requests", "handshakes"}:
        wanted = work.number("requests") or work.number("count")
        right &= facts["count"] == wanted
    if work.kind in {"handshakes", "idle"}:
        wanted = work.number("count") or work.number("connections")
        right &= seen["connections"] >= wanted
    if work.kind == "datagrams":
        # Unreliable: what was received is the result.
        facts["count"] = seen["datagrams"]
        right &= seen["datagrams"] > 0
    return right


def count_calls(peer: Peer, work: Work, session: Session) -> dict[str, float]:
    """Packets per system call at each end, in a run of its own: counting costs time."""
    work = work.scaled(peer.share)
    client_file, server_file = session.folder / "client.csv", session.folder / "server.csv"
    with ends(peer, work, session) as (server, _, address):
        command = peer.client_command(work, address, session.files)
        cpu = CLIENT_CPU if session.pinned else None
        with process.counting(server, server_file):
            command = process.counted(command, client_file)
            with process.started(command, cpu, peer.environment, session.folder) as client:
                process.report(client)
    counts = []
    for path in (client_file, server_file):
        with contextlib.suppress(OSError):
            counts.append(process.parse_calls(path.read_text()))
    if len(counts) != 2 or not all(counts):
        raise RunError("perf counted nothing: it needs root and tracefs")
    return per_call(work, *counts, is_tcp=peer.name == "tcp-tls")


def per_call(
    work: Work, client: dict[str, int], server: dict[str, int], *, is_tcp: bool = False
) -> dict[str, float]:
    """Full packets' worth of data per system call that sends, and that receives."""
    sending, receiving = (client, server) if work.number("upload") else (server, client)
    packets = work.bytes / PACKET
    out = (process.WRITING,) if is_tcp else process.SENDING
    into = (process.READING,) if is_tcp else process.RECEIVING
    sent = sum(sending.get(name, 0) for name in out)
    received = sum(receiving.get(name, 0) for name in into)
    return {
        "packets_per_send_call": packets / max(sent, 1),
        "packets_per_receive_call": packets / max(received, 1),
    }


@contextmanager
def session(tquic: Path, relay: Path, patience: float, *, pinned: bool) -> Generator[Session]:
    """Certificates and a folder for the time of a session."""
    process.allow_files()
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        try:
            subprocess.run(
                [str(tquic), "cert"], cwd=folder, check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise RunError(f"no certificates: {error}") from None
        files = Files(*(folder / f"{part}.pem" for part in ("ca", "cert", "key")))
        yield Session(files, relay, folder, patience, pinned)


@dataclass
class Cell:
    """One work over one peer."""

    peer: Peer
    work: Work
    runs: list[dict[str, Any]]
    failures: list[str]
    calls: dict[str, float] | None = None


def interleave(
    cells: list[Cell], rounds: int, session: Session, tell: Callable[[str], None]
) -> None:
    """All cells once, then all of them again: what changes on the machine hits all alike."""
    for number in range(1, rounds + 1):
        # Another one is first in each round: nobody always comes behind the same.
        turn = number % max(len(cells), 1)
        for cell in cells[turn:] + cells[:turn]:
            if number > 1 and not cell.runs:
                continue
            where = f"round {number}/{rounds} {cell.work.name:16} {cell.peer.name:14}"
            try:
                facts = run(cell.peer, cell.work, session)
            except RunError as error:
                cell.failures.append(str(error))
                tell(f"{where} FAILED: {error}")
                continue
            facts["round"] = number
            if not facts["verified"]:
                cell.failures.append("wrong or missing bytes")
                tell(f"{where} FAILED: wrong or missing bytes: {facts}")
                continue
            facts["value"] = cell.work.value(facts)
            cell.runs.append(facts)
            noisy = " (noisy)" if facts["noisy"] else ""
            tell(f"{where} {facts['value']:12.2f} {cell.work.unit}{noisy}")
