"""The command: runs every sender alone and against every other, writes a page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import build
from compare.peers import ROOT, TQUIC
from fairness.flows import OTHERS, OURS, Sender
from fairness.network import Bottleneck
from fairness.runs import Files, Result, Times, run, session
from fairness.table import markdown

# Where a guide shows the result.
MARKS = ("<!-- sockets: begin -->\n", "<!-- sockets: end -->\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("fairness", description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="Mbit/s of the link (20)")
    parser.add_argument("--rtt", type=float, default=40, help="ms (40)")
    parser.add_argument("--buffer", type=float, default=1, help="BDP that the queue holds (1)")
    parser.add_argument("--warm-up", type=float, default=15, help="seconds (15)")
    parser.add_argument("--measured", type=float, default=30, help="seconds (30)")
    parser.add_argument("--jobs", type=int, default=1, help="links at a time (1)")
    parser.add_argument("--only", default="", help="senders with this in their name")
    parser.add_argument("--no-build", action="store_true", help="use what is built")
    parser.add_argument("--json", type=Path, default=ROOT / "reports" / "fairness.json")
    parser.add_argument("--write", type=Path, help="a page to put the tables into")
    return parser.parse_args()


def plans(only: str) -> list[list[Sender]]:
    """Everybody alone, then everybody of ours against each of the others, and those against each
    other, which shows what is usual."""
    everybody = [*OURS, *OTHERS]
    pairs = [[sender, rival] for sender in everybody for rival in OTHERS]
    chosen = [[sender] for sender in everybody] + pairs
    return [plan for plan in chosen if only in plan[0].name]


def main() -> int:
    """Runs a session."""
    options = arguments()
    # Ends runs as Ctrl-C does: nobody wants to be left with namespaces.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if os.geteuid() != 0:
        print("fairness: namespaces with a token bucket need root", file=sys.stderr)
        return 2
    todo = plans(options.only)
    if not options.no_build:
        parts = dict.fromkeys(part for plan in todo for s in plan for part in s.builds)
        if failed := build.build([], *parts):
            print(f"fairness: {failed}", file=sys.stderr)
            return 2
    bottleneck = Bottleneck(round(options.rate * 1e6), options.rtt, options.buffer)
    times = Times(options.warm_up, options.measured)
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        files = certificates(Path(folder))

        def one(name: str, plan: list[Sender]) -> Result:
            return run(name, plan, bottleneck, times, files)

        results, failures = session(todo, options.jobs, one, tell)
    document = {
        "bottleneck": vars(bottleneck),
        "times": vars(times),
        "load": os.getloadavg()[1],
        "cpus": os.cpu_count(),
        "results": [result.document(bottleneck) for result in results],
        "failures": failures,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    text = markdown(document)
    print(text)
    if options.write is not None:
        before, rest = options.write.read_text().split(MARKS[0])
        after = rest.split(MARKS[1], 1)[1]
        options.write.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")
    return 1 if failures else 0


def certificates(folder: Path) -> Files:
    """A certificate for a server called localhost."""
    subprocess.run([str(TQUIC), "cert"], cwd=folder, check=True, capture_output=True)
    return Files(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


if __name__ == "__main__":
    sys.exit(main())
