"""The page that shows what is in a folder."""

from __future__ import annotations

import html
import os
import stat
import time
from typing import Final
from urllib.parse import quote_from_bytes

__all__ = ["MAX_LISTED", "listing"]

# Entries shown at most: the page is made in memory.
MAX_LISTED: Final = 10_000

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2em; }}
td {{ padding: 0.1em 1em 0.1em 0; }}
td + td {{ text-align: right; color: #555; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
{rows}
</table>
{note}</body>
</html>
"""


def _shown(name: bytes) -> str:
    # Bytes that are no UTF-8 show as what they are not, but lead to the right file.
    return html.escape(name.decode("utf-8", "replace"))


def listing(folder: int, parts: list[bytes]) -> bytes:
    """The page for a folder.

    Args:
        folder: its descriptor.
        parts: the way to it from the root, decoded.
    """
    found: list[tuple[bool, bytes, os.stat_result]] = []
    more = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) == MAX_LISTED:
                more = True
                break
            try:
                # Where a link leads, is found out when somebody follows it.
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            link = stat.S_ISLNK(facts.st_mode)
            if entry.is_dir(follow_symlinks=False) or stat.S_ISREG(facts.st_mode) or link:
                name = os.fsencode(entry.name)
                found.append((not entry.is_dir(follow_symlinks=False), name, facts))
    found.sort(key=lambda one: one[:2])
    rows = ['<tr><td><a href="../">..</a></td><td></td><td></td></tr>'] if parts else []
    rows += [_row(name, facts, is_file=is_file) for is_file, name, facts in found]
    title = "/" + "".join(f"{_shown(part)}/" for part in parts)
    note = f"<p>The first {MAX_LISTED} entries.</p>\n" if more else ""
    return _PAGE.format(title=title, rows="\n".join(rows), note=note).encode()


def _row(name: bytes, facts: os.stat_result, *, is_file: bool) -> str:
    slash = "" if is_file else "/"
    # "./" in front: a name such as "a:b" would read as a scheme.
    link = f"./{quote_from_bytes(name, safe='')}{slash}"
    size = str(facts.st_size) if stat.S_ISREG(facts.st_mode) else ""
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(facts.st_mtime))
    anchor = f'<a href="{link}">{_shown(name)}{slash}</a>'
    return f"<tr><td>{anchor}</td><td>{size}</td><td>{when}</td></tr>"
