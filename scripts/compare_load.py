"""The load generator beside others: ``compare_load.py [--rounds N] [--requests N]``.

Every generator that is installed makes the same requests to the same server, a
`tquic.load.Responder` in a process of its own, in turns: the server on the first CPU, the generator
on the last. What counts is responses per second, and CPU time of the generator for each response,
which a busy machine changes less. The facts go to ``reports/load.json``.

Looked for on the PATH: ``gtlsclient`` (Debian ngtcp2-client), ``tquic_client`` (crate tquic_tools),
``oha`` (with its feature http3), ``h2load`` (built with HTTP/3).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tquic import Config
from tquic._engine import make_certificates
from tquic.load import Responder

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "load.json"
BODY = b"x" * 32
PATIENCE = 120.0


class Work(NamedTuple):
    """What each generator does."""

    port: int
    connections: int
    streams: int
    requests: int

    @property
    def url(self) -> str:
        """What is requested."""
        return f"https://127.0.0.1:{self.port}/"


def _tquic(work: Work) -> list[str]:
    load = [sys.executable, "-m", "tquic", "load", work.url, "--insecure", "--json"]
    return [*load, *map(str, ("-c", work.connections, "-m", work.streams, "-n", work.requests))]


def _gtlsclient(work: Work) -> list[str]:
    # One connection; streams as many as the server allows.
    options = ["-q", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close"]
    count = ["-n", str(work.requests)]
    return ["gtlsclient", *options, *count, "127.0.0.1", str(work.port), work.url]


def _tquic_client(work: Work) -> list[str]:
    each = max(work.requests // work.connections, 1)
    counts = {
        "--threads": 1,
        "--max-concurrent-conns": work.connections,
        "--max-requests-per-conn": each,
        "--total-requests-per-thread": work.requests,
        "--max-concurrent-requests": work.streams,
    }
    options = [str(part) for pair in counts.items() for part in pair]
    return ["tquic_client", *options, "-c", f"127.0.0.1:{work.port}", work.url]


def _oha(work: Work) -> list[str]:
    counts = ["-n", work.requests, "-c", work.connections, "-p", work.streams]
    flags = ["--http-version", "3", "--insecure", "--no-tui", "--output-format", "json"]
    return ["oha", *flags, *map(str, counts), work.url]


def _h2load(work: Work) -> list[str]:
    counts = ["-n", work.requests, "-c", work.connections, "-m", work.streams]
    return ["h2load", "--alpn-list=h3", *map(str, counts), work.url]


GENERATORS: dict[str, Callable[[Work], list[str]]] = {
    "tquic": _tquic,
    "gtlsclient": _gtlsclient,
    "tquic_client": _tquic_client,
    "oha": _oha,
    "h2load": _h2load,
}
# How each says how many responses came; none is believed without.
_ANSWERED = {
    "tquic": r'"responses": (\d+)',
    "tquic_client": r"total_responses\D*(\d+)|success\D*(\d+)",
    "oha": r'"200": (\d+)',
    "h2load": r"(\d+) succeeded",
}


def measure(name: str, work: Work, cpu: int) -> dict[str, float]:
    """One run of a generator, on one CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(
        ["taskset", "-c", str(cpu), *GENERATORS[name](work)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answered = work.requests if name == "gtlsclient" and done.returncode == 0 else 0
    if name in _ANSWERED and (found := re.search(_ANSWERED[name], done.stdout + done.stderr)):
        answered = int(next(filter(None, found.groups())))
    if name == "tquic" and answered:
        document = json.loads(done.stdout)
        # The others begin at once; what Python's start costs is no matter of rates.
        seconds, cpu_seconds = document["seconds"], document["engine"]["cpu_seconds"]
    if not answered:
        raise RuntimeError(f"{name} failed: {(done.stderr or done.stdout)[-500:]}")
    return {
        "responses": answered,
        "per_second": answered / seconds,
        "cpu_us": cpu_seconds / answered * 1e6,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--streams", type=int, default=100)
    options = parser.parse_args(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    names = [name for name in GENERATORS if name == "tquic" or shutil.which(name)]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), cpus[0]) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        work = Work(port, options.connections, options.streams, options.requests)
        for turn in range(options.rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                runs[name].append(measure(name, work, cpus[-1]))
        server.terminate()
    table = {name: summarize(several) for name, several in runs.items()}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({"work": work._asdict(), "runs": runs, "table": table}, indent=2))
    for name, row in table.items():
        print(f"{name:14}{row['per_second']:>12,.0f}/s{row['cpu_us']:>10.2f} us of CPU each")
    return 0


def summarize(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians, and the range of rates."""
    rates = [run["per_second"] for run in runs]
    return {
        "per_second": statistics.median(rates),
        "range": [min(rates), max(rates)],
        "cpu_us": statistics.median(run["cpu_us"] for run in runs),
    }


def serving(folder: Path, cpu: int) -> subprocess.Popen[str]:
    """The server, in a process of its own."""
    for name, text in zip(
        ("ca", "cert", "key"), make_certificates(["localhost", "127.0.0.1"], 2), strict=True
    ):
        (folder / f"{name}.pem").write_text(text)
    command = ["taskset", "-c", str(cpu), sys.executable, __file__, "--serve", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _serve(folder: Path) -> None:
    config = Config(cert=folder / "cert.pem", key=folder / "key.pem")
    with Responder(config, BODY) as server:
        print(server.address[1], flush=True)
        # Until it is terminated.
        time.sleep(86_400)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(Path(sys.argv[2]))
    else:
        sys.exit(main())
