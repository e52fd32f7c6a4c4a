"""Checks the limits that keep the code easy to change, which compilers and linters do not.

- No source file over 800 lines.
- No function over 100 lines of code (blank lines and whole-line comments do not count).
- No struct `Connection` with more than 16 fields: parts own their state.
- No path of one developer's or build machine in any file.

Rust functions are found by their indentation, which `cargo fmt --check` guarantees.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 100
MAX_CONNECTION_FIELDS = 16

_SOURCES = {".rs", ".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".go", ".sh"}

# In two parts, so that this line passes its own check. The character before tells an absolute path
# from the end of a relative one.
_MACHINE_PATH = re.compile(r"(?<![\w.-])/" + r"(work|root)/")

_RUST_FUNCTION = re.compile(
    r"(?P<indent> *)(pub(\([\w: ]+\))? )?(const |async |unsafe |extern \"\w+\" )*fn (?P<name>\w+)"
)
_CYTHON_FUNCTION = re.compile(
    r"(?P<indent> *)(def|cpdef|cdef)\b(?! (extern|class|enum|struct)\b)[^=]*?(?P<name>\w+)\("
)
_RUST_CONNECTION = re.compile(r"(?P<indent> *)(pub(\([\w: ]+\))? )?struct Connection\b[^;]*\{")


def findings(path: Path, text: str) -> Iterator[str]:
    """What is wrong with one file, each as a line for people."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if _MACHINE_PATH.search(line):
            yield f"{path}:{number}: names a path of somebody's machine"
    if path.suffix not in _SOURCES:
        return
    if len(lines) > MAX_FILE_LINES:
        yield f"{path}: {len(lines)} lines, at most {MAX_FILE_LINES} are allowed"
    for name, first, last in functions(path, text, lines):
        size = code_lines(path, lines[first:last])
        if size > MAX_FUNCTION_LINES:
            yield (
                f"{path}:{first + 1}: function {name} has {size} lines of code, "
                f"at most {MAX_FUNCTION_LINES} are allowed"
            )
    if path.suffix == ".rs":
        yield from connection_findings(path, lines)


def functions(path: Path, text: str, lines: list[str]) -> Iterator[tuple[str, int, int]]:
    """Every function as its name, the index of its first line and that after its last."""
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                yield node.name, node.lineno - 1, node.end_lineno
    elif path.suffix == ".rs":
        for first, line in enumerate(lines):
            if match := _RUST_FUNCTION.match(line):
                yield match["name"], first, _end_of_rust_item(lines, first, match["indent"])
    elif path.suffix in {".pyx", ".pxd"}:
        for first, line in enumerate(lines):
            if match := _CYTHON_FUNCTION.match(line):
                yield match["name"], first, _end_of_block(lines, first, len(match["indent"]))


def _end_of_rust_item(lines: list[str], first: int, indent: str) -> int:
    """The index after the line that closes an item.

    rustfmt ends the head with an opening brace and puts the closing one at the item's own
    indentation, unless there is no body or an empty one.
    """
    for index in range(first, len(lines)):
        line = lines[index].split(" //")[0].rstrip()
        if line.endswith((";", "}")):
            return index + 1
        if line.endswith("{"):
            closing = indent + "}"
            return next((i + 1 for i in range(index, len(lines)) if lines[i] == closing), index)
    return len(lines)


def _end_of_block(lines: list[str], first: int, indent: int) -> int:
    """The index after the last line of an indented block whose head is at ``first``."""
    index = first
    # The head may span lines; its last ends in a colon.
    while index < len(lines) and not lines[index].rstrip().endswith(":"):
        index += 1
    end = index + 1
    for index in range(end, len(lines)):
        line = lines[index]
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                break
            end = index + 1
    return end


def code_lines(path: Path, lines: list[str]) -> int:
    """How many of the lines are neither blank nor only a comment."""
    comment = "//" if path.suffix in {".rs", ".c", ".h", ".go"} else "#"
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith(comment))


def connection_findings(path: Path, lines: list[str]) -> Iterator[str]:
    """Connections that have grown too many fields."""
    for first, line in enumerate(lines):
        match = _RUST_CONNECTION.match(line)
        if not match:
            continue
        field = re.compile(match["indent"] + r"    (pub(\([\w: ]+\))? )?(r#)?[a-z_]\w*: ")
        last = _end_of_rust_item(lines, first, match["indent"])
        count = sum(1 for entry in lines[first + 1 : last] if field.match(entry))
        if count > MAX_CONNECTION_FIELDS:
            yield (
                f"{path}:{first + 1}: struct Connection has {count} fields, "
                f"at most {MAX_CONNECTION_FIELDS} are allowed"
            )


def main() -> int:
    """Checks every file that is, or is about to be, under version control."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = []
    names = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary: a test vector, a packet capture
        found.extend(findings(Path(name), text))
    for line in found:
        print(line)
    if found:
        return 1
    print(f"layout: {len(names)} files within their limits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
