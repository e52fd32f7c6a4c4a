"""Runs one case between one client and one server, and judges it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .capture import Capture
from .cases import Case
from .dissect import Trace
from .dissect.keys import read_keylog
from .evidence import Evidence
from .files import Folders, compare, make_certificates, make_files
from .namespace import wait_for_port
from .relay import Relay
from .roster import H3, PEERS, SUBJECT, Peer
from .setup import Kit, Program

UNSUPPORTED = 127
PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "n/a"
SERVER_PORT, PREFERRED_PORT, RELAY_PORT = 4433, 4434, 5433
START_SECONDS = 60.0
STOP_SECONDS = 5.0
# Time for the last acknowledgements and CONNECTION_CLOSE to be captured.
SETTLE_SECONDS = 0.1
# The one case that the runner plays over HTTP/3.
H3_CASE = "http3"


@dataclass
class Result:
    """The verdict on one cell."""

    case: str
    client: str
    server: str
    verdict: str
    reason: str = ""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    relay: dict[str, Any] | None = None


class _FailedError(Exception):
    """The cell failed, with the reason."""


class _NotApplicableError(Exception):
    """The cell cannot be played, with the reason."""


def run_case(case: Case, pair: tuple[str, str], kit: Kit, profile: str, work: Path) -> Result:
    """One cell of the table: a case between a client and a server, by name.

    `work` keeps its files: capture, key logs, qlog, output.
    """
    client, server = (kit.programs[name] for name in pair)
    result = Result(case.name, client.name, server.name, PASS)
    started = time.monotonic()
    try:
        for role, program in (("client", client), ("server", server)):
            if why := PEERS[program.name].impossible.get((role, case.name)):
                raise _NotApplicableError(why)
            if program.missing:
                raise _NotApplicableError(f"{program.name}: {program.missing}")
        protocol = protocol_of(case, PEERS[client.name], PEERS[server.name])
        if protocol is None:
            raise _NotApplicableError(f"{client.name} and {server.name} share no HTTP")
        _Run(case, client, server, kit, profile, protocol, Folders(work), result).play()
    except _NotApplicableError as error:
        result.verdict, result.reason = NOT_APPLICABLE, str(error)
    except _FailedError as error:
        result.verdict, result.reason = FAIL, str(error)
    result.seconds = round(time.monotonic() - started, 2)
    return result


def refuses_unknown_case(program: Program, role: str, work: Path) -> bool:
    """Whether a program leaves with 127 for a test case that does not exist."""
    folders = Folders(work)
    make_certificates(folders.certs, chain=1)
    protocol = PEERS[program.name].protocols[0]
    environment = _environment(role, "no-such-case-8d1f", protocol, folders)
    environment["REQUESTS"] = f"https://127.0.0.1:{SERVER_PORT}/nothing"
    environment |= {"HOST": "127.0.0.1", "PORT": str(SERVER_PORT)}
    try:
        done = subprocess.run(
            program.command(role),
            env=environment,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == UNSUPPORTED


def protocol_of(case: Case, client: Peer, server: Peer) -> str | None:
    """What both speak in this case; HTTP/0.9 as in the runner, where they have the choice."""
    if case.name == H3_CASE:
        return H3
    return next((one for one in client.protocols if one in server.protocols), None)


def _environment(role: str, testcase: str, protocol: str, folders: Folders) -> dict[str, str]:
    """The contract's variables that do not depend on the case."""
    client = role == "client"
    return os.environ | {
        "ROLE": role,
        "TESTCASE": testcase,
        "PROTOCOL": protocol,
        "CERTS": str(folders.certs),
        "WWW": str(folders.www),
        "DOWNLOADS": str(folders.downloads),
        "SSLKEYLOGFILE": str(folders.keylogs[0 if client else 1]),
        "QLOGDIR": str(folders.client_qlog if client else folders.server_qlog),
        # quic-go asks for bigger socket buffers than a user may have, and says so on every start.
        "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING": "1",
    }


@dataclass
class _Run:
    case: Case
    client: Program
    server: Program
    kit: Kit
    profile: str
    protocol: str
    folders: Folders
    result: Result

    def play(self) -> None:
        """Everything from files to verdict."""
        scale = self.case.scale(self.profile)
        names = make_files(
            self.folders.www, list(scale.sizes), self.case.name_length, self.case.name
        )
        make_certificates(self.folders.certs, self.case.chain)
        link = self.case.link_in(self.profile)
        capture = Capture()
        try:
            with capture, self._server():
                if link is None:
                    self._client(names, SERVER_PORT, scale.timeout)
                else:
                    with self._relay(link):
                        self._client(names, RELAY_PORT, scale.timeout)
                time.sleep(SETTLE_SECONDS)
        finally:
            capture.write(self.folders.root / "capture.pcap")
        overflow = (self.result.relay or {}).get("unplanned", {}).get("receive_overflow", 0)
        if overflow:
            raise _FailedError(f"the relay was too slow and lost {overflow} packets of its own")
        if capture.dropped:
            raise _FailedError(f"the harness lost {capture.dropped} captured packets")
        self._judge(capture, link, len(names))

    def _judge(self, capture: Capture, link: str | None, files: int) -> None:
        if why := compare(self.folders.www, self.folders.downloads):
            raise _FailedError(why)
        secrets = read_keylog(list(self.folders.keylogs))
        datagrams = capture.datagrams()
        server_side = Trace(datagrams, {SERVER_PORT, PREFERRED_PORT}, secrets)
        client_side = server_side if link is None else Trace(datagrams, {RELAY_PORT}, secrets)
        strict = self.server.name == SUBJECT
        evidence = Evidence(client_side, server_side, files, strict, self.result.facts)
        for check in self.case.checks:
            if why := check(evidence):
                raise _FailedError(why)

    @contextlib.contextmanager
    def _server(self) -> Iterator[None]:
        testcase = self.case.server_testcase
        environment = _environment("server", testcase, self.protocol, self.folders)
        environment |= {"HOST": self.case.host, "PORT": str(SERVER_PORT)}
        if self.case.server_testcase == "connectionmigration":
            environment["PREFERRED_V4"] = f"{self.case.host}:{PREFERRED_PORT}"
        log = self.folders.root / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.server.command("server"),
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            if not wait_for_port(SERVER_PORT, process, START_SECONDS):
                self._ended("server", process.poll(), log)
            yield
            if process.poll() is not None:
                self._ended("server", process.returncode, log)
        finally:
            _stop(process)

    @contextlib.contextmanager
    def _relay(self, scenario: str) -> Iterator[None]:
        if self.kit.relay_missing:
            raise _FailedError(self.kit.relay_missing)
        link = Relay(
            Path(self.kit.relay),
            scenario,
            (self.case.host, RELAY_PORT),
            (self.case.host, SERVER_PORT),
            self.folders.root / "relay.json",
        )
        try:
            if not link.ready():
                raise _FailedError("the relay did not start")
            yield
        finally:
            self.result.relay = link.stop()

    def _client(self, names: list[str], port: int, timeout: float) -> None:
        host = f"[{self.case.host}]" if ":" in self.case.host else self.case.host
        testcase = self.case.client_testcase
        environment = _environment("client", testcase, self.protocol, self.folders)
        environment["REQUESTS"] = " ".join(f"https://{host}:{port}/{name}" for name in names)
        log = self.folders.root / "client.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.client.command("client"),
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            got = sum(path.stat().st_size for path in self.folders.downloads.iterdir())
            raise _FailedError(
                f"client not done in {timeout:.0f} s ({got} bytes written)"
            ) from None
        finally:
            _stop(process)
        if status:
            self._ended("client", status, log)

    def _ended(self, role: str, status: int | None, log: Path) -> None:
        name = (self.client if role == "client" else self.server).name
        lines = log.read_text(errors="replace").strip().splitlines()
        if status == UNSUPPORTED:
            # What a library cannot do stands in the roster; anything else is a hole.
            raise _FailedError(f"{name} {role} refuses the case (127), the roster gives no reason")
        said = f": {lines[-1][:160]}" if lines else ""
        what = "does not listen" if status is None else f"ended with {status}"
        raise _FailedError(f"{name} {role} {what}{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the process to end, then ends whatever is left of its session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
