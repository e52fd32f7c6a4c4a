"""The command: builds, runs, writes."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from compare import build, machine, peers, plots, runner, table, works
from compare.process import RunError
from compare.results import Session, document, joined
from compare.runner import Cell

ROUNDS = 5
# Seconds to wait for a quiet machine before each run.
PATIENCE = 20.0
SCHEMA = peers.HERE / "schema.json"
# A part of a guide that shows works of these groups.
PART = re.compile(r"(<!-- compare: ([a-z ]+) -->\n).*?(<!-- end of compare -->)", re.DOTALL)


def arguments(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("compare", description="Compares tquic with other stacks.")

    def names(text: str) -> list[str]:
        return text.replace(",", " ").split()

    parser.add_argument("--peers", type=names, default=[], help="names, or client/server pairs")
    parser.add_argument("--work", type=names, default=[], help="names or groups of works")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, for tests")
    parser.add_argument("--no-build", action="store_true", help="use what is built")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for a quiet machine")
    parser.add_argument("--out", type=Path, default=peers.ROOT / "reports" / "compare")
    parser.add_argument(
        "--from", dest="sources", type=Path, nargs="+", help="show these sessions, run nothing"
    )
    parser.add_argument("--write", type=Path, help="a page to put the tables and plots into")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Runs a session, or shows one."""
    options = arguments(sys.argv[1:] if words is None else words)
    # Ends the processes of a run as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.sources:
            data = joined([json.loads(source.read_text()) for source in options.sources])
            jsonschema.validate(data, json.loads(SCHEMA.read_text()))
        else:
            chosen = peers.select(options.peers), works.select(options.work, quick=options.quick)
            data = measure(options, *chosen)
            jsonschema.validate(data, json.loads(SCHEMA.read_text()))
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "session.json").write_text(json.dumps(data, indent=1) + "\n")
    except (ValueError, RunError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    show(Session(data), options)
    return 0


def measure(
    options: argparse.Namespace, chosen: list[peers.Peer], todo: list[works.Work]
) -> dict[str, Any]:
    """Builds and runs; the document."""
    failed: dict[str, str] = {}
    if not options.no_build:
        failed = build.build(chosen, *(["relay"] if any(work.link for work in todo) else []))
    cells, not_run = plan(chosen, todo, failed)
    patience = 0.0 if options.no_wait else PATIENCE
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    pinned = (machine.describe()["cpus"]) > 1
    started, clock = datetime.now(UTC), time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - clock:7.1f} s  {line}", flush=True)

    with runner.session(peers.TQUIC, build.RELAY, patience, pinned=pinned) as session:
        runner.interleave(cells, rounds, session, tell)
        for cell in cells:
            if cell.work.group == "bulk" and cell.runs:
                try:
                    cell.calls = runner.count_calls(cell.peer, cell.work, session)
                except RunError as error:
                    tell(f"calls {cell.work.name} {cell.peer.name}: {error}")
    about = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "command": command(options),
        "quick": options.quick,
        "rounds": rounds,
        "machine": machine.describe(),
        "peers": {
            peer.name: {
                "family": peer.family,
                "versions": build.versions(peer),
                "remark": peer.remark,
                "failure": broken(peer, failed),
            }
            for peer in chosen
        },
    }
    return document(cells, not_run, about)


def broken(peer: peers.Peer, failed: dict[str, str]) -> str | None:
    """Why it could not be built; `None` if it could."""
    return next((failed[part] for part in peer.builds if part in failed), None)


def plan(
    chosen: list[peers.Peer], todo: list[works.Work], failed: dict[str, str]
) -> tuple[list[Cell], list[dict[str, str]]]:
    """What is to be run, and what is not, with the reason."""
    cells, not_run = [], []
    for work in todo:
        for peer in chosen:
            built = broken(peer, failed) or (failed.get("relay") if work.link else None)
            reason = f"could not be built: {built}" if built else peer.why_not(work)
            if reason is None:
                cells.append(Cell(peer, work, [], []))
            else:
                not_run.append({"work": work.name, "peer": peer.name, "reason": reason})
    return cells, not_run


def command(options: argparse.Namespace) -> str:
    """What to type for the same session."""
    words = ["make", "compare"]
    for name, value in (("PEERS", options.peers), ("WORK", options.work)):
        if value:
            words.append(f"{name}={','.join(value)}")
    if options.rounds:
        words.append(f"ROUNDS={options.rounds}")
    if options.quick:
        words.append("QUICK=1")
    return shlex.join(words)


def show(session: Session, options: argparse.Namespace) -> None:
    """Writes tables and plots, and says where we are behind."""
    options.out.mkdir(parents=True, exist_ok=True)
    text = table.markdown(session)
    (options.out / "table.md").write_text(text)
    plots.draw(session, options.out)
    if options.write is not None:
        write(options.write, session)
    print(f"\n{text}")
    for work, other, ratio in session.losses():
        print(f"behind: {session.works[work]['title']}: {ratio:.2f}x of {other}")


def write(page: Path, session: Session) -> None:
    """Puts the tables, and the plots beside it, into the parts of a page that show such works.

    A part whose works the session has not keeps what it had: sessions of several days fill a page.
    """

    def fill(part: re.Match[str]) -> str:
        shown = session.of(part[2].split())
        if not shown.works:
            return part[0]
        pictures = plots.draw(shown, page.parent / "compare")
        links = "\n".join(f"![{path.stem}](compare/{path.name})" for path in pictures)
        return f"{part[1]}\n{table.markdown(shown)}\n{links}\n{part[3]}"

    page.write_text(PART.sub(fill, page.read_text()))


if __name__ == "__main__":
    sys.exit(main())
