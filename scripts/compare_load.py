"""The load generator beside others: ``compare_load.py [--rounds N] [--seconds S]``.

Every generator that is installed makes the same small requests to the same server, in turns: the
server on the first CPU, the generator on the last. The servers are `tquic.load.Responder` (in the
engine, so that it is no bottleneck), ``tquic serve`` (in Python), and ``tquic_server`` of the crate
tquic_tools where it is installed: nobody measures with a server of his own alone.

Two facts count: responses per second, and CPU time of the generator for each response. The second
is what a busy machine changes less, and it says what the generator could do where the server is
what limits the first. ``ratio`` is how many times the CPU of ours (and how many parts of its rate)
another has, by the median of the rounds. The facts go to ``reports/load.json``.

Looked for on the PATH: ``gtlsclient`` (Debian ngtcp2-client), ``tquic_client`` (crate tquic_tools),
``oha`` (with its feature http3), ``h2load`` (built with HTTP/3).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tquic
from tquic import Config
from tquic._engine import make_certificates
from tquic.load import Responder

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "load.json"
BODY = b"x" * 32
PATIENCE = 60.0
# A server forgets silent connections soon: oha waits for that at its end.
IDLE = 2.0


class Work(NamedTuple):
    """What each generator does."""

    port: int
    connections: int
    streams: int
    seconds: int
    # For those that know no time.
    requests: int

    @property
    def url(self) -> str:
        """What is requested."""
        return f"https://localhost:{self.port}/body"


class Run(NamedTuple):
    """One run of a generator."""

    responses: int
    seconds: float
    cpu_seconds: float


class ToolError(Exception):
    """A generator did not do its work."""


# ---- Generators: what is run, and what is read of its output ----


def _tquic(work: Work) -> list[str]:
    load = [sys.executable, "-m", "tquic", "load", work.url, "--insecure", "--json"]
    return [*load, *map(str, ("-c", work.connections, "-m", work.streams, "-d", work.seconds))]


def _of_tquic(output: str, _: Work) -> tuple[int, float, float]:
    document = json.loads(output)
    # The others begin at once: what Python's start costs is no matter of rates.
    return document["responses"], document["seconds"], document["engine"]["cpu_seconds"]


def _gtlsclient(work: Work) -> list[str]:
    # One connection; streams as many as the server allows.
    options = ["-q", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close"]
    place = ["127.0.0.1", str(work.port), work.url]
    return ["gtlsclient", *options, "-n", str(work.requests), *place]


def _of_gtlsclient(_: str, work: Work) -> tuple[int, None, None]:
    # It says nothing, and exits with 1 if anything failed.
    return work.requests, None, None


def _tquic_client(work: Work) -> list[str]:
    counts = {
        "--threads": 1,
        "--max-concurrent-conns": work.connections,
        # Without a limit.
        "--max-requests-per-conn": 0,
        "--total-requests-per-thread": 0,
        "--max-concurrent-requests": work.streams,
        "--duration": work.seconds,
        "--connect-to": f"127.0.0.1:{work.port}",
    }
    return ["tquic_client", *(str(part) for pair in counts.items() for part in pair), work.url]


def _of_tquic_client(output: str, work: Work) -> tuple[int, float, None]:
    found = re.search(r"requests: .*success (\d+)", output)
    # It drains for a while after its time, which it counts: the better for it if we do not.
    return int(found[1]) if found else 0, float(work.seconds), None


def _oha(work: Work) -> list[str]:
    counts = ["-z", f"{work.seconds}s", "-c", work.connections, "-p", work.streams]
    flags = ["--http-version", "3", "--insecure", "--no-tui", "--output-format", "json"]
    return ["oha", *flags, *map(str, counts), work.url]


def _of_oha(output: str, work: Work) -> tuple[int, float, None]:
    answered = json.loads(output)["statusCodeDistribution"].get("200", 0)
    # Its own time has the wait for the end of silent connections.
    return answered, float(work.seconds), None


def _h2load(work: Work) -> list[str]:
    counts = ["-D", work.seconds, "-c", work.connections, "-m", work.streams]
    return ["h2load", "--alpn-list=h3", *map(str, counts), work.url]


def _of_h2load(output: str, work: Work) -> tuple[int, float, None]:
    found = re.search(r"(\d+) succeeded", output)
    return int(found[1]) if found else 0, float(work.seconds), None


class Generator(NamedTuple):
    """How one is run and read: responses, and its own seconds and CPU seconds if it has them."""

    command: Callable[[Work], list[str]]
    read: Callable[[str, Work], tuple[int, float | None, float | None]]


OURS = "tquic"
GENERATORS = {
    OURS: Generator(_tquic, _of_tquic),
    "gtlsclient": Generator(_gtlsclient, _of_gtlsclient),
    "tquic_client": Generator(_tquic_client, _of_tquic_client),
    "oha": Generator(_oha, _of_oha),
    "h2load": Generator(_h2load, _of_h2load),
}


def measure(name: str, work: Work, cpu: int) -> Run:
    """One run of a generator, on one CPU.

    Raises:
        ToolError: it did not do its work.
    """
    generator = GENERATORS[name]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run(
            ["taskset", "-c", str(cpu), *generator.command(work)],
            capture_output=True,
            text=True,
            timeout=PATIENCE + work.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not end") from None
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    try:
        responses, seconds, cpu_seconds = generator.read(done.stdout + done.stderr, work)
    except (ValueError, KeyError):
        responses, seconds, cpu_seconds = 0, None, None
    if done.returncode or not responses:
        what = (done.stderr or done.stdout).strip()[-300:]
        raise ToolError(f"{name} failed with status {done.returncode}: {what}")
    return Run(responses, seconds or wall, whole if cpu_seconds is None else cpu_seconds)


# ---- Servers ----


def _responder(folder: Path, port: int) -> list[str]:
    return [sys.executable, __file__, "--serve", str(folder), str(port)]


def _serve(folder: Path, port: int) -> list[str]:
    pair = ["--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    return [sys.executable, "-m", "tquic", "serve", str(folder), "--port", str(port), *pair]


def _tquic_server(folder: Path, port: int) -> list[str]:
    pair = ["--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    quiet = ["--log-level", "OFF", "--idle-timeout", str(int(IDLE * 1000))]
    return ["tquic_server", "--listen", f"127.0.0.1:{port}", "--root", str(folder), *pair, *quiet]


SERVERS = {"responder": _responder, "serve": _serve, "tquic_server": _tquic_server}


@contextlib.contextmanager
def serving(name: str, cpu: int) -> Iterator[int]:
    """A server in a process of its own; gives its port.

    Raises:
        ToolError: it does not answer.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pems = make_certificates(["localhost", "127.0.0.1"], 2)
        for file, text in zip(("ca", "cert", "key"), pems, strict=True):
            (folder / f"{file}.pem").write_text(text)
        (folder / "body").write_bytes(BODY)
        port = _free_port()
        command = ["taskset", "-c", str(cpu), *SERVERS[name](folder, port)]
        environment = {**os.environ, "TQUIC_IDLE_TIMEOUT": f"{IDLE}s"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait_for(name, process, port)
                yield port
            finally:
                process.terminate()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(name: str, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            tquic.load.run(
                f"https://localhost:{port}/body",
                connections=1,
                requests=1,
                connect_to=("127.0.0.1", port),
                connect_timeout=2,
                config=Config(insecure=True),
            )
        except tquic.load.LoadError:
            continue
        return
    raise ToolError(f"the server {name} does not answer")


def _respond(folder: Path, port: int) -> None:
    config = Config(cert=folder / "cert.pem", key=folder / "key.pem", idle_timeout=IDLE)
    with Responder(config, BODY, port=port):
        # Until it is terminated.
        time.sleep(86_400)


# ---- All of them ----


def compare(server: str, options: argparse.Namespace) -> dict[str, Any]:
    """All generators on one server."""
    cpus = sorted(os.sched_getaffinity(0))
    names = [name for name in GENERATORS if name == OURS or shutil.which(name)]
    if options.connections > 1 and "gtlsclient" in names:
        # It makes one: its numbers would be those of another load.
        names.remove("gtlsclient")
    runs: dict[str, list[Run]] = {name: [] for name in names}
    failures: list[str] = []
    with serving(server, cpus[0]) as port:
        work = Work(port, options.connections, options.streams, options.seconds, options.requests)
        for turn in range(options.rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                try:
                    runs[name].append(measure(name, work, cpus[-1]))
                except ToolError as error:
                    failures.append(str(error))
    table = {name: summarize(several) for name, several in runs.items() if several}
    if ours := table.get(OURS):
        for row in table.values():
            row["ratio"] = {
                "rate": ours["per_second"] / row["per_second"],
                "cpu": row["cpu_us"] / ours["cpu_us"],
            }
    return {
        "work": work._asdict(),
        "runs": {name: [run._asdict() for run in several] for name, several in runs.items()},
        "table": table,
        "failures": failures,
    }


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians, the range of rates, and how busy the generator was."""
    rates = [run.responses / run.seconds for run in runs]
    return {
        "per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
        "cpu_us": statistics.median(run.cpu_seconds / run.responses * 1e6 for run in runs),
        "busy": statistics.median(run.cpu_seconds / run.seconds for run in runs),
    }


def show(server: str, facts: dict[str, Any]) -> None:
    """One server's table, for people."""
    heads = ("responses/s", "CPU us each", "busy", "ours: rate", "CPU")
    print(f"{server:14}" + "".join(f"{head:>13}" for head in heads))
    for name, row in facts["table"].items():
        ratio = row.get("ratio")
        compared = f"{ratio['rate']:>12.2f}x{ratio['cpu']:>12.2f}x" if ratio else ""
        print(
            f"{name:14}{row['per_second']:>13,.0f}{row['cpu_us']:>13.2f}"
            f"{row['busy']:>13.0%}{compared}"
        )
    for failure in facts["failures"]:
        print(failure, file=sys.stderr)
    print(flush=True)


def main() -> int:
    """Measures and prints tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100_000, help="of gtlsclient")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--server", action="append", choices=SERVERS, help="default: all")
    options = parser.parse_args()
    wanted = options.server or [n for n in SERVERS if n != "tquic_server" or shutil.which(n)]
    facts: dict[str, Any] = {}
    for server in wanted:
        try:
            facts[server] = compare(server, options)
        except ToolError as error:
            print(error, file=sys.stderr)
            continue
        show(server, facts[server])
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps(facts, indent=2))
    return 0 if facts else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _respond(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
