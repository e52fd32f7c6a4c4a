"""Starts servers and clients, and sees what they use."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compare.peers import ROOT

# Seconds until a server listens, or ends when it is told to.
PATIENCE = 30.0
# Seconds that a client may take.
LIMIT = 90.0
# Open files: some stacks give every connection a socket.
FILES = 65_536

# Seconds after which a counter surely counts.
COUNTER_START = 0.3

SENDING = ("sendmsg", "sendmmsg", "sendto")
RECEIVING = ("recvmsg", "recvmmsg", "recvfrom")
# Those of TCP; wakers use them as well, so they do not count for UDP.
WRITING, READING = "write", "read"
CALLS = (*SENDING, *RECEIVING, WRITING, READING)


class RunError(Exception):
    """A run that gave no result, with the reason."""


class Process:
    """A process of ours, kept to one CPU."""

    def __init__(
        self, command: list[str], cpu: int | None, environment: dict[str, str], folder: Path
    ) -> None:
        descriptor, name = tempfile.mkstemp(prefix="errors-", dir=folder)
        self.errors = Path(name)

        def prepare() -> None:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        try:
            self.child = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                text=True,
                cwd=folder,
                env={**os.environ, **environment},
                preexec_fn=prepare,
            )
        except OSError as error:
            raise RunError(str(error)) from None
        finally:
            os.close(descriptor)

    def line(self) -> str:
        """The next line that it prints; empty at its end."""
        assert self.child.stdout is not None
        return self.child.stdout.readline()

    def said(self) -> str:
        """The end of what it said about errors, without the place of this repository."""
        lines = self.errors.read_text().replace(f"{ROOT}/", "").strip().splitlines()
        return " / ".join(lines[-4:])

    def cpu_seconds(self) -> float:
        """CPU time of its threads that live."""
        total = 0
        for path in Path(f"/proc/{self.child.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(path.read_text().split()[0])
        return total / 1e9

    def memory(self, field: str) -> int:
        """Bytes of `VmRSS` or `VmHWM`; 0 if it is gone."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self.child.pid}/status").read_text()
            if found := re.search(rf"^{field}:\s+(\d+) kB", status, re.M):
                return int(found[1]) * 1024
        return 0

    def stop(self) -> None:
        """Ends it, if need be by force."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.child.poll() is not None:
                break
            self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(PATIENCE)
        if self.child.stdout is not None:
            self.child.stdout.close()
        self.errors.unlink()


@contextmanager
def started(
    command: list[str], cpu: int | None, environment: dict[str, str], folder: Path
) -> Generator[Process]:
    """A process for as long as the block lasts."""
    process = Process(command, cpu, environment, folder)
    try:
        yield process
    finally:
        process.stop()


def listening(process: Process) -> str:
    """Waits for the line that tells where it listens, and gives the address."""
    line = process.line()
    if found := re.match(r"listening on (\S+)", line):
        return found[1]
    raise RunError(f"the server did not start: {line.strip() or process.said()}")


# Seconds in which a server deals with what clients sent last.
AFTERMATH = 0.1


def totals(process: Process) -> dict[str, Any]:
    """Ends a server and gives what it has seen."""
    time.sleep(AFTERMATH)
    process.child.send_signal(signal.SIGTERM)
    return _document(process, PATIENCE)


def report(process: Process) -> dict[str, Any]:
    """Waits for a client's report."""
    return _document(process, LIMIT)


def first_document(process: Process) -> dict[str, Any]:
    """The report of a client that goes on after it."""
    return _parse(process.line(), process)


def _document(process: Process, limit: float) -> dict[str, Any]:
    try:
        output, _ = process.child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise RunError(f"no end after {limit:.0f} s") from None
    if process.child.returncode:
        raise RunError(process.said() or f"ended with status {process.child.returncode}")
    return _parse(output, process)


def _parse(text: str, process: Process) -> dict[str, Any]:
    start = text.find("{")
    try:
        document = json.loads(text[start:] if start >= 0 else text)
    except ValueError:
        raise RunError(f"no report: {process.said() or text.strip()[-200:]}") from None
    if not isinstance(document, dict):
        raise RunError("a report that is no object")
    return document


def children_cpu() -> float:
    """CPU time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def allow_files() -> None:
    """As many open files as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def counted(command: list[str], path: Path) -> list[str]:
    """A command whose system calls the kernel's tracepoints count into a file."""
    return ["perf", "stat", "-x", ",", "-o", str(path), "-e", _events(), "--", *command]


@contextmanager
def counting(process: Process, path: Path) -> Generator[None]:
    """Counts the system calls of a process for as long as the block lasts."""
    command = ["perf", "stat", "-x", ",", "-o", str(path), "-e", _events()]
    try:
        child = subprocess.Popen(
            [*command, "-p", str(process.child.pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise RunError(f"perf: {error}") from None
    # It opens its counters before it sleeps.
    time.sleep(COUNTER_START)
    try:
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(PATIENCE)


def _events() -> str:
    return ",".join(f"syscalls:sys_enter_{name}" for name in CALLS)


def parse_calls(text: str) -> dict[str, int]:
    """What `perf stat -x,` wrote."""
    lines = (line.split(",") for line in text.splitlines() if line and not line.startswith("#"))
    return {
        fields[2].rsplit("sys_enter_", 1)[-1]: int(fields[0])
        for fields in lines
        if len(fields) > 2 and fields[0].isdigit()
    }
