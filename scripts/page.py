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


def table_rows(text: str, mark: str, end: str = END) -> dict[str, str]:
    """The rows of the table between the line `mark` and `end`, by what their first cells say."""
    block = text.split(f"{mark}\n", 1)[1].split(end, 1)[0]
    found = [line for line in block.splitlines() if line.startswith("| `")]
    return {line.split("|")[1].strip(): line for line in found}


def commit() -> str:
    """The commit that is measured, with ``+`` if files have changed since."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"
