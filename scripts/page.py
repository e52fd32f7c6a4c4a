"""Tables that programs write into pages of ``docs``."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def write_table(page: Path, mark: str, text: str) -> None:
    """Puts the table, of whole lines, between the line `mark` and the next `END`."""
    before, rest = page.read_text().split(f"{mark}\n")
    after = rest.split(END, 1)[1]
    page.write_text(f"{before}{mark}\n\n{text}\n{END}{after}")
