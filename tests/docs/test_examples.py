"""Every Python example of the documentation runs as it stands.

Code blocks of the README and of docs that begin with three backticks and ``python`` are whole
programs; those marked ``python fragment`` are not, and only have to be Python.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tquic import _engine

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 60


def examples(fragment: bool) -> Iterator[object]:
    """The blocks of one kind, each with the place where it stands."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        for block in BLOCK.finditer(text):
            if ("fragment" in block["mark"]) == fragment:
                line = text.count("\n", 0, block.start()) + 1
                yield pytest.param(block["code"], id=f"{page.name}:{line}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the certificates that `tquic cert` makes."""
    folder = tmp_path_factory.mktemp("examples")
    names = ("ca.pem", "cert.pem", "key.pem")
    contents = _engine.make_certificates(["localhost", "127.0.0.1", "::1"], 2)
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("code", list(examples(fragment=False)))
def test_programs_run(code: str, folder: Path) -> None:
    for module in ("anyio", "trio"):
        if module in code:
            pytest.importorskip(module)
    # -X dev: an example that forgets to close something is a bad example.
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    # Slow machines are told that callbacks take long.
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", list(examples(fragment=True)))
def test_fragments_are_python(code: str) -> None:
    compile(code, "fragment", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_api_page_has_examples() -> None:
    assert len(BLOCK.findall((ROOT / "docs" / "api.md").read_text())) >= 5
