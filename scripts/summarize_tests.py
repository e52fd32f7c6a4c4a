"""Says in one line what `make test` ran: ``summarize_tests.py CARGO_OUTPUT PYTEST_JUNIT_XML``."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

_CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)


def rust_counts(output: str) -> tuple[int, int, int]:
    """Passed, failed and ignored tests in the output of `cargo test`, over all its programs."""
    passed = failed = ignored = 0
    for match in _CARGO_RESULT.finditer(output):
        passed += int(match[1])
        failed += int(match[2])
        ignored += int(match[3])
    return passed, failed, ignored


def python_counts(report: str) -> tuple[int, int, int]:
    """Passed, failed and skipped tests in pytest's JUnit report."""
    total = failed = skipped = 0
    for suite in ElementTree.fromstring(report).iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def describe(passed: int, failed: int, skipped: int) -> str:
    """The counts as words; zeros are left out, except for what passed."""
    words = [f"{passed} passed"]
    words += [f"{failed} failed"] if failed else []
    words += [f"{skipped} skipped"] if skipped else []
    return " ".join(words)


def main(arguments: list[str]) -> int:
    """Prints the line; fails if a test failed, or if one of the two sides ran none."""
    rust_report, python_report = map(Path, arguments)
    for report in (rust_report, python_report):
        if not report.exists():
            print(f"test: failed, there is no {report}: its tests ended before they could report")
            return 1
    rust = rust_counts(rust_report.read_text(encoding="utf-8"))
    python = python_counts(python_report.read_text(encoding="utf-8"))
    print(
        f"test: rust {describe(*rust)}, python {describe(*python)}; report in {rust_report.parent}/"
    )
    return int(rust[1] + python[1] > 0 or rust[0] == 0 or python[0] == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
