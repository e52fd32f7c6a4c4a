"""Tries the tests with code that is wrong on purpose: ``mutants.py CARGO_MUTANTS FILE...``.

cargo-mutants changes the files, one thing at a time, and runs the unit tests of their crate each
time. What no test notices has survived. Changes that make no difference are excluded in
``.cargo/mutants.toml``, each with its reason, and counted here. Logs and diffs go to
``reports/mutants``; with ``--write`` the rows of these files in the page's table are written anew.

Exit status: 0 if nothing survived, 1 if something did.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from page import ROOT, commit, table_rows

OUTPUT = ROOT / "reports" / "mutants"
MARKS = ("<!-- mutants: written by scripts/mutants.py -->", "<!-- end of mutants -->")
HEAD = """| module | mutants | killed | timed out | no build | survived | equivalent | commit |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |
"""
# Builds that are quick, and tests that leave no failed inputs in the tree. What is killed by 64
# inputs of a property is killed by the 256 that tests usually try.
ENVIRONMENT = {
    "CARGO_PROFILE_TEST_OPT_LEVEL": "0",
    "CARGO_PROFILE_TEST_DEBUG": "0",
    "CARGO_INCREMENTAL": "1",
    "PROPTEST_CASES": "64",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
    "RUST_BACKTRACE": "0",
}
KILLED, TIMEOUT, UNVIABLE, SURVIVED = "CaughtMutant", "Timeout", "Unviable", "MissedMutant"


def file_names(program: str, selection: list[str], *options: str) -> list[str]:
    """The file of each mutant that would be tried."""
    command = [program, "mutants", "--list", "--json", *selection, *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [mutant["file"] for mutant in json.loads(done.stdout)]


def outcomes() -> list[tuple[str, str, str]]:
    """File, name and result of each mutant of the last run."""
    report = json.loads((OUTPUT / "mutants.out" / "outcomes.json").read_text())
    found = []
    for outcome in report["outcomes"]:
        if isinstance(outcome["scenario"], dict):
            mutant = outcome["scenario"]["Mutant"]
            found.append((mutant["file"], mutant["name"], outcome["summary"]))
    return found


def rows(results: list[tuple[str, str, str]], equivalent: Counter[str], part: str) -> list[str]:
    """A row of the table for each file."""
    made, state = [], f"{commit()}, {datetime.now(UTC):%Y-%m-%d}"
    for file in sorted({file for file, _, _ in results}):
        count = Counter(summary for where, _, summary in results if where == file)
        module = f"`{file}`" + (f", part {part}" if part else "")
        figures = [sum(count.values())]
        figures += [count[summary] for summary in (KILLED, TIMEOUT, UNVIABLE, SURVIVED)]
        figures.append(equivalent[file])
        made.append(f"| {module} | {' | '.join(map(str, figures))} | {state} |")
    return made


def merge(page: str, new: list[str]) -> str:
    """The page with these rows in place of those of the same modules, and of parts of them."""
    before, rest = page.split(f"{MARKS[0]}\n", 1)
    after = rest.split(MARKS[1], 1)[1]
    table = {line.split("|")[1].strip(): line for line in new}
    for module, line in table_rows(page, *MARKS).items():
        if module.partition(",")[0] not in table:
            table.setdefault(module, line)
    lines = "".join(f"{table[module]}\n" for module in sorted(table))
    return f"{before}{MARKS[0]}\n\n{HEAD}{lines}\n{MARKS[1]}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("program", help="cargo-mutants")
    parser.add_argument("files", nargs="+", metavar="FILE", help="rust/CRATE/src/..., or a pattern")
    parser.add_argument(
        "--shard", default="", metavar="K/N", help="every Nth mutant, from the Kth on (0/4)"
    )
    parser.add_argument(
        "--tests",
        nargs="+",
        default=[],
        metavar="PART",
        help="only tests with one of these in their names, as cid:: (all): fewer, and quicker",
    )
    parser.add_argument("--timeout", type=int, default=60, help="seconds for the tests (60)")
    parser.add_argument("--in-place", action="store_true", help="change these files, not copies")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write rows into this page")
    options = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    selection = [argument for file in options.files for argument in ("--file", file)]
    # Without them all crates are read, and tested once.
    crates = {Path(file).parts[1] for file in options.files}
    selection += [f"--package=tquic-{crate}" for crate in sorted(crates)]
    everything = Counter(file_names(options.program, selection, "--no-config"))
    tried = Counter(file_names(options.program, selection))
    command = [options.program, "mutants", "--no-shuffle"]
    command += [f"--timeout={options.timeout}"]
    command += [*selection, f"--output={OUTPUT}"]
    # Every Nth, so that a part is a sample of all files.
    command += [f"--shard={options.shard}", "--sharding=round-robin"] if options.shard else []
    command += ["--in-place"] if options.in_place else []
    # Integration tests would notice more, and take longer.
    command += ["--", "--lib", "--", *options.tests]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    # 2 and 3: something survived, or was ended by the timeout, which is as good as killed.
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode not in (0, 2, 3):
        return done.returncode
    results = outcomes()
    made = rows(results, everything - tried, options.shard)
    print(HEAD + "\n".join(made))
    survivors = [name for _, name, summary in results if summary == SURVIVED]
    for name in survivors:
        print(f"survived: {name}")
    if options.write is not None:
        options.write.write_text(merge(options.write.read_text(), made))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
