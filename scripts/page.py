"""Tables that programs write into pages of ``docs``."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
END = "<!-- end -->"


def write_table(page: Path, mark: str, text: str) -> None:
    """Puts the table, of whole lines, between the line `mark` and the next `END`."""
    before, rest = page.read_text().split(f"{mark}\n")
    after = rest.split(END, 1)[1]
    page.write_text(f"{before}{mark}\n\n{text}\n{END}{after}")


def commit() -> str:
    """The commit that is measured, with ``+`` if files have changed since."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"
