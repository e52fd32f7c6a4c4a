"""Says which lines the tests run: ``coverage_report.py [--write docs/reliability.md]``.

Rust: the tests of the crates and a slice of the simulator, built with ``-C instrument-coverage`` in
``target/coverage``; code of tests is not counted. Python: the quick part of the suite under
coverage.py. Lines that nothing ran are listed in ``reports/coverage``; in the page rows of what was
not measured stay. LLVM's tools must be of the same version as rustc's LLVM; LLVM_PROFDATA and
LLVM_COV name others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import llvm_tools
from page import commit, table_rows, write_table

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "target" / "coverage"
REPORT = ROOT / "reports" / "coverage"
MARK = "<!-- coverage: written by scripts/coverage_report.py -->"
# Not the binding and what is preloaded, which tests in other languages run, nor benchmarks.
CRATES = ("wire", "crypto", "core", "trace", "sched", "net", "engine", "socket", "sim")
# Parts of rust/core with a row of their own: what a peer's bytes come to.
PARTS = ("rx", "tx", "space", "cid", "stream", "recovery", "path", "keys", "connection", "endpoint")
SIMULATED = 2000
PYTHON_TESTS = ("tests/python", "tests/h3", "tests/h3server", "tests/compat", "tests/sockets")

_TEST_FILE = re.compile(r"/tests/|/tests\.rs$|_tests\.rs$|/testing\.rs$")
_TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{", re.MULTILINE)


@dataclass
class Count:
    """Of how many things how many ran."""

    lines: int = 0
    lines_run: int = 0
    regions: int = 0
    regions_run: int = 0
    unrun: list[int] = field(default_factory=list)
    """Numbers of the lines that nothing ran."""

    def add(self, other: Count) -> None:
        """Adds those of another file."""
        self.lines += other.lines
        self.lines_run += other.lines_run
        self.regions += other.regions
        self.regions_run += other.regions_run


def run_rust(profiles: Path, crates: Sequence[str]) -> list[str]:
    """Runs the tests and, with its crate, the simulator; the programs that ran."""
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(TARGET),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_TEST_DEBUG": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        # Each in a file of its own; a program that is started again adds to its own.
        "LLVM_PROFILE_FILE": str(profiles / "%m.profraw"),
        "RUSTFLAGS": f"{os.environ.get('RUSTFLAGS', '')} -C instrument-coverage".strip(),
    }
    packages = [f"--package=tquic-{crate}" for crate in crates]
    command = ["cargo", "test", "--locked", "--lib", "--bins", "--tests", *packages]
    built = subprocess.run(
        [*command, "--no-run", "--message-format=json-render-diagnostics"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    messages = map(json.loads, built.stdout.splitlines())
    programs = {m["executable"] for m in messages if m.get("executable")}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    if "sim" in crates:
        simulator = str(TARGET / "debug" / "tquic-simulate")
        subprocess.run([simulator, "--runs", str(SIMULATED)], cwd=ROOT, env=environment, check=True)
        programs.add(simulator)
    return sorted(programs)


def measure_rust(crates: Sequence[str]) -> dict[str, Count]:
    """Every file of the crates."""
    try:
        profdata, cov = llvm_tools.find("llvm-profdata"), llvm_tools.find("llvm-cov")
    except llvm_tools.ToolError as error:
        sys.exit(f"coverage: {error}")
    profiles = TARGET / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    programs = run_rust(profiles, crates)
    merged = TARGET / "coverage.profdata"
    raw = [str(path) for path in profiles.glob("*.profraw")]
    subprocess.run([profdata, "merge", "--sparse", "-o", merged, *raw], check=True)
    objects = itertools.chain.from_iterable(("-object", program) for program in programs[1:])
    command = [cov, "export", "--skip-functions", f"--instr-profile={merged}", programs[0]]
    exported = subprocess.run([*command, *objects], stdout=subprocess.PIPE, text=True, check=True)
    found = {}
    for file in json.loads(exported.stdout)["data"][0]["files"]:
        path = Path(file["filename"])
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
        ours = name.startswith(tuple(f"rust/{crate}/src/" for crate in crates))
        if ours and not _TEST_FILE.search(name):
            found[name] = count(file["segments"], end_of_code(path.read_text()))
    return found


def end_of_code(text: str) -> int:
    """The last line before a module of tests in the file."""
    tests = _TEST_MODULE.search(text)
    return text.count("\n", 0, tests.start()) if tests else sys.maxsize


def count(segments: Iterable[Sequence[int]], end: int) -> Count:
    """What ran up to the line `end`, from LLVM's segments: line, column, executions, whether those
    are known, whether a region of code begins here, whether it is a gap between such."""
    result, around = Count(), None
    position = 0
    for line, group in itertools.groupby(segments, key=lambda segment: segment[0]):
        if around is not None:
            count_lines(result, range(position + 1, min(line, end + 1)), around)
        if line > end:
            return result
        here = list(group)
        starts = [s for s in here if s[3] and s[4] and not s[5]]
        result.regions += len(starts)
        result.regions_run += sum(s[2] > 0 for s in starts)
        told = [s[2] for s in starts] + ([around] if around is not None else [])
        if told:
            count_lines(result, (line,), max(told))
        last, position = here[-1], line
        around = last[2] if last[3] and not last[5] else None
    return result


def count_lines(result: Count, lines: Iterable[int], executions: int) -> None:
    """Counts lines that ran so often."""
    for line in lines:
        result.lines += 1
        if executions:
            result.lines_run += 1
        else:
            result.unrun.append(line)


def measure_python() -> dict[str, Count]:
    """Every file of the package but the commands, whose tests are slow."""
    data = TARGET / "python.coverage"
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run(
        [*coverage, "run", f"--data-file={data}", "--source=python/tquic", "--omit=*/tquic/cli/*",
         "-m", "pytest", "-q", *PYTHON_TESTS],
        cwd=ROOT, check=True,
    )  # fmt: skip
    report = TARGET / "python.json"
    subprocess.run(
        [*coverage, "json", "-q", f"--data-file={data}", "-o", report], cwd=ROOT, check=True
    )
    found = {}
    for name, file in json.loads(report.read_text())["files"].items():
        summary = file["summary"]
        found[name] = Count(
            lines=summary["num_statements"],
            lines_run=summary["covered_lines"],
            unrun=file["missing_lines"],
        )
    return found


def total(files: Mapping[str, Count], prefix: str) -> Count:
    """All files below a folder."""
    result = Count()
    for name, one in files.items():
        if name.startswith(prefix):
            result.add(one)
    return result


def folders() -> list[str]:
    """What has a row: each crate, each part of the core, and the package."""
    found = [f"rust/{crate}/src/" for crate in CRATES]
    core = found.index("rust/core/src/") + 1
    found[core:core] = [f"rust/core/src/{part}/" for part in PARTS]
    return [*found, "python/tquic/"]


def table(files: Mapping[str, Count], page: str | None) -> str:
    """The table; what was not measured keeps its row in the page, if it has one."""
    kept = {} if page is None else table_rows(page, MARK)
    state = f"{commit()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = ["| code | lines | run | regions run | commit |", "| --- | ---: | ---: | ---: | --- |"]
    for folder in folders():
        one = total(files, folder)
        name = f"`{folder.removesuffix('src/').rstrip('/')}`"
        if one.lines:
            regions = share(one.regions_run, one.regions) if one.regions else ""
            run = share(one.lines_run, one.lines)
            lines.append(f"| {name} | {one.lines} | {run} | {regions} | {state} |")
        elif name in kept:
            lines.append(kept[name])
    return "\n".join([*lines, ""])


def share(part: int, whole: int) -> str:
    """In per cent; 100 only if it is all."""
    return f"{int(part / whole * 1000) / 10:.1f} %"


def spans(lines: Iterable[int]) -> str:
    """Such as ``3, 7-9``."""
    found: list[list[int]] = []
    for line in lines:
        if found and found[-1][-1] == line - 1:
            found[-1][1:] = [line]
        else:
            found.append([line])
    return ", ".join("-".join(map(str, span)) for span in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--crates", nargs="*", choices=CRATES, default=CRATES, help="of these alone (all)"
    )
    parser.add_argument("--no-python", action="store_true", help="of the crates alone")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the table into this page")
    options = parser.parse_args(arguments)
    TARGET.mkdir(parents=True, exist_ok=True)
    REPORT.mkdir(parents=True, exist_ok=True)
    files = measure_rust(options.crates) if options.crates else {}
    files |= {} if options.no_python else measure_python()
    missing = [f"{name}: {spans(one.unrun)}" for name, one in files.items() if one.unrun]
    (REPORT / "missing.txt").write_text("\n".join([*sorted(missing), ""]))
    page = None if options.write is None else options.write.read_text()
    text = table(files, page)
    print(text, end="")
    if options.write is not None:
        write_table(options.write, MARK, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
