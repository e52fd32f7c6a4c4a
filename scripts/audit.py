"""Looks into what others gave us: ``audit.py TOOLS PIP_AUDIT``.

``TOOLS`` is the folder with cargo-deny and cargo-audit. Licences, sources and forbidden crates are
checked by deny.toml, without a network. Known vulnerabilities need the advisory databases of
RustSec and PyPI: where one cannot be reached, the rest is checked, the last line names what was
not, and it is no failure. ``ADVISORY_DB`` names a copy of RustSec's to use instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# A finding, which counts whatever else could not be asked.
_FOUND = re.compile(r"Found \d+ known vulnerabilit|\d+ vulnerabilit(y|ies) found")
# What the tools say when they cannot ask.
_UNREACHABLE = (
    "couldn't fetch advisory database",
    "failed to fetch advisory database",
    # A mirror of PyPI that has packages and no advisories.
    "could not be audited",
    "Failed to establish a new connection",
    "Max retries exceeded",
    "NameResolutionError",
    "ServiceError",
    "Temporary failure in name resolution",
)


@dataclass(frozen=True)
class Check:
    """One tool's look at one thing."""

    name: str
    command: list[str]

    def run(self) -> tuple[str, str]:
        """``passed``, ``failed`` or ``not checked``, and what was printed."""
        done = subprocess.run(
            self.command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return verdict(done.returncode, done.stdout), done.stdout


def verdict(status: int, printed: str) -> str:
    """What came of a check."""
    if _FOUND.search(printed):
        return "failed"
    # pip-audit's status is 0 too when it could ask nobody.
    if unreachable(printed):
        return "not checked"
    return "passed" if status == 0 else "failed"


def unreachable(printed: str) -> list[str]:
    """The lines that say what could not be asked."""
    return [line for line in printed.splitlines() if any(sign in line for sign in _UNREACHABLE)]


def checks(tools: Path, pip_audit: Path) -> list[Check]:
    """All of them."""
    own = os.environ.get("ADVISORY_DB")
    database = ["--db", own, "--no-fetch", "--stale"] if own else []
    deny = [str(tools / "cargo-deny"), "--locked", "check", "--hide-inclusion-graph"]
    found = [
        Check("licences, sources and bans of Rust crates", [*deny, "bans", "licenses", "sources"]),
        Check(
            "advisories about Rust crates",
            [str(tools / "cargo-audit"), "audit", "--deny", "warnings", *database],
        ),
    ]
    for name in ("dev", "docs"):
        # The package itself needs nothing from PyPI.
        pinned = ["--requirement", f"requirements-{name}.txt", "--no-deps", "--disable-pip"]
        found.append(Check(f"advisories about requirements-{name}.txt", [str(pip_audit), *pinned]))
    return found


def main(arguments: list[str]) -> int:
    """The command: 1 if something was found."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    worst, unasked = 0, []
    for check in checks(*map(Path, arguments)):
        result, printed = check.run()
        if result == "failed":
            worst = 1
            print(printed, end="")
        elif result == "not checked":
            unasked.append(check.name)
            lines = unreachable(printed)
            print(lines[0] + (f" (and {len(lines) - 1} more)" if lines[1:] else ""))
        print(f"{check.name}: {result}", flush=True)
    if unasked:
        print(f"NOT CHECKED, as the databases cannot be reached from here: {'; '.join(unasked)}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
