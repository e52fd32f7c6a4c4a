"""Counts instructions of the hot paths: ``count_instructions.py PROGRAM [--update]``.

Runs ``tquic-operations`` (``rust/bench``) under callgrind and compares what each operation takes
with ``rust/bench/instructions.json``. Counts hardly depend on the machine and not at all on what
else it does, so a few per cent mean something. They do depend on the compiler: counts of another
one are shown and not judged.

Exit status: 0 if nothing takes more than it may, 1 if something does, 2 if nothing could be
counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BASELINE = Path(__file__).resolve().parents[1] / "rust" / "bench" / "instructions.json"
# An operation may take this much more than was recorded.
TOLERANCE = 0.05
# Seconds.
LIMIT = 900


class CountError(Exception):
    """Nothing was counted, and why."""


@dataclass(frozen=True)
class Baseline:
    """What was recorded, and with what."""

    compiler: str
    machine: str
    operations: dict[str, int]

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Reads a file that `write` has written."""
        document = json.loads(path.read_text())
        return cls(document["compiler"], document["machine"], document["operations"])

    def write(self, path: Path) -> None:
        """Writes the file for people to read differences of."""
        path.write_text(json.dumps(vars(self), indent=2) + "\n")


def collected(dump: str) -> int:
    """The sum in what callgrind has written."""
    match = re.search(r"^(?:summary|totals): (\d+)", dump, re.M)
    if match is None or not int(match[1]):
        raise CountError("callgrind has collected nothing")
    return int(match[1])


def _run(command: list[str]) -> str:
    """What the command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-5:]
        raise CountError("\n".join([f"{command[0]} failed:", *last]))
    return done.stdout


def count(program: Path) -> dict[str, int]:
    """Instructions of each operation.

    Raises:
        CountError: valgrind is not there, or something failed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CountError("valgrind is not installed")
    times, *operations = _run([str(program)]).split()
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "dump"
        callgrind = [
            valgrind,
            "--tool=callgrind",
            "--toggle-collect=*::measured*",
            f"--callgrind-out-file={dump}",
        ]
        for operation in operations:
            _run([*callgrind, str(program), operation])
            counts[operation] = round(collected(dump.read_text()) / int(times))
    return counts


def compiler() -> str:
    """The compiler's version, as it calls itself."""
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def judge(name: str, now: int, before: int | None) -> tuple[str, bool]:
    """A row of the table, and whether the operation takes too much."""
    if before is None:
        return f"{name:26} {now:>12,}   new", True
    change = now / before - 1
    if change > TOLERANCE:
        remark = f"more than {TOLERANCE:.0%} above what is recorded"
    elif change < -TOLERANCE:
        remark = "better: record it, or the gain can be lost unnoticed"
    else:
        remark = ""
    row = f"{name:26} {now:>12,} {before:>12,} {change:+7.1%}  {remark}"
    return row.rstrip(), change > TOLERANCE


def report(counts: dict[str, int], baseline: Baseline) -> bool:
    """Prints the table; whether nothing takes too much."""
    print(f"{'instructions of':26} {'now':>12} {'recorded':>12} {'change':>7}")
    worse = []
    for name, now in counts.items():
        row, too_much = judge(name, now, baseline.operations.get(name))
        print(row)
        if too_much:
            worse.append(name)
    worse += sorted(baseline.operations.keys() - counts.keys())
    here = (compiler(), platform.machine())
    if here != (baseline.compiler, baseline.machine):
        recorded = f"{baseline.compiler} on {baseline.machine}"
        print(f"recorded with {recorded}, counted with {here[0]} on {here[1]}: not judged")
        return True
    if worse:
        print(f"instructions: {', '.join(worse)}: not as recorded")
        print("If that is wanted, say why in the commit, with `make instructions UPDATE=1`.")
    return not worse


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--update", action="store_true", help="record these counts")
    options = parser.parse_args()
    try:
        counts = count(options.program)
    except (CountError, OSError, subprocess.SubprocessError) as error:
        print(f"instructions: nothing was counted: {error}")
        return 2
    if options.update:
        Baseline(compiler(), platform.machine(), counts).write(BASELINE)
    return 0 if report(counts, Baseline.load(BASELINE)) else 1


if __name__ == "__main__":
    sys.exit(main())
