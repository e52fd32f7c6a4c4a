"""`python -m tests.attack`: does the attacks in full size and says what became of them."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

from . import judge
from .field import Result
from .report import write
from .row import Row
from .rows import ROWS
from .server import make_site
from .session import site


def main(arguments: list[str]) -> int:
    """0: every bound holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names; without, all of them")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: 1)")
    parser.add_argument("--fast", action="store_true", help="the sizes of the tests")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="facts of these rows, merged in")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page to write from --json")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(ROWS))
        return 0
    facts = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    broken = []
    for name in options.rows or ROWS:
        row = ROWS[name]
        result = run(row, row.fast if options.fast else row.full, options.seed)
        findings = judge.judge(result, times=not options.fast)
        print(f"{name}: {result.sent}, {result.seconds:.1f} s", flush=True)
        for finding in findings:
            print(f"    {finding}", flush=True)
        broken += [name for finding in findings if not finding.holds]
        facts[name] = asdict(result) | {"date": date.today().isoformat(), "commit": commit()}
        if options.json:
            options.json.parent.mkdir(exist_ok=True)
            options.json.write_text(json.dumps(facts, indent=1) + "\n")
    if options.write:
        write(options.write, facts)
    if broken:
        print(f"bounds broken: {', '.join(dict.fromkeys(broken))}", file=sys.stderr)
    return 1 if broken else 0


def commit() -> str:
    """What is checked out, with a plus if it was changed."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def run(row: Row, size: int, seed: int) -> Result:
    """One row against a server of its own."""
    with tempfile.TemporaryDirectory(prefix="tquic-attack-") as name:
        folder = Path(name)
        make_site(folder)
        with site(folder, row) as place:
            return place.run(row, size, seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
