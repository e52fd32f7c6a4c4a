"""Runs every fuzz target for a while and says how many inputs each was given.

Usage: fuzz.py CARGO_FUZZ SECONDS [TARGET ...]

libFuzzer writes what it learns to fuzz/target/corpus; the seeds in fuzz/corpus are only read. The
report reports/fuzz.json has one entry for each target: executions, seconds, edges covered, and the
inputs that failed, which lie in fuzz/artifacts. The target `codec` is not libFuzzer's: `fuzz_codec`
plays it, and names the seeds that failed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import fuzz_codec

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"

# The last line of libFuzzer's own that tells of progress.
_PROGRESS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+)", re.MULTILINE)
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)


def targets() -> list[str]:
    """The names of all targets, by the files that hold them."""
    names = sorted(path.stem for path in (FUZZ / "targets").glob("*.rs"))
    if fuzz_codec.libasan() is None:
        print("codec: not fuzzed, that needs Linux and GCC with libasan")
        return names
    return ["codec", *names]


def run(cargo_fuzz: str, target: str, seconds: int) -> dict[str, object]:
    """Fuzzes one target and reads what libFuzzer says of it."""
    learned = FUZZ / "target" / "corpus" / target
    learned.mkdir(parents=True, exist_ok=True)
    artifacts = FUZZ / "artifacts" / target
    before = set(artifacts.glob("*"))
    # libFuzzer needs flags of the compiler that only nightly has without this.
    environment = os.environ | {"RUSTC_BOOTSTRAP": "1"}
    command = [
        cargo_fuzz,
        "fuzz",
        "run",
        "-s",
        "none",
        target,
        str(learned),
        str(FUZZ / "corpus" / target),
    ]
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=20"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    progress = _PROGRESS.findall(done.stdout)
    executed = _EXECUTED.findall(done.stdout)
    failed = sorted(str(path.relative_to(ROOT)) for path in set(artifacts.glob("*")) - before)
    if done.returncode != 0:
        print(done.stdout[-4000:])
    count = executed[-1] if executed else (progress[-1][0] if progress else "0")
    return {
        "executions": int(count),
        "seconds": round(time.monotonic() - start, 1),
        "edges": int(progress[-1][1]) if progress else 0,
        "failed": failed,
        "ok": done.returncode == 0,
    }


def main() -> int:
    """Runs the targets one after the other and writes the report."""
    cargo_fuzz, seconds = sys.argv[1], int(sys.argv[2])
    report: dict[str, dict[str, object]] = {}
    for target in sys.argv[3:] or targets():
        codec = target == "codec"
        result = fuzz_codec.run(seconds) if codec else run(cargo_fuzz, target, seconds)
        report[target] = result
        state = "ok" if result["ok"] else "FAILED"
        print(
            f"{target:14} {result['executions']:>12,} executions, {result['edges']} edges, {state}"
        )
    (ROOT / "reports").mkdir(exist_ok=True)
    (ROOT / "reports" / "fuzz.json").write_text(json.dumps(report, indent=2) + "\n")
    failed = [target for target, result in report.items() if not result["ok"]]
    if failed:
        print("fuzz: failed:", ", ".join(failed))
        return 1
    total = sum(int(str(result["executions"])) for result in report.values())
    print(f"fuzz: {len(report)} targets, {total:,} executions, no failure; reports/fuzz.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
