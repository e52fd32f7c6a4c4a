"""Every Python example of the documentation runs as it stands.

Code blocks of the README and of docs that begin with three backticks and ``python`` are whole
programs. ``python continued`` goes on with the program above it; ``python fragment`` is no program,
and only has to be Python; ``python NAME.py`` is a module for commands of the page.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tquic import _engine

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 60


def examples() -> tuple[dict[str, str], dict[str, str]]:
    """The programs and the fragments: the place where each begins, and what it is."""
    programs: dict[str, str] = {}
    fragments: dict[str, str] = {}
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text, last = page.read_text(), ""
        for block in BLOCK.finditer(text):
            place = f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}"
            match block["mark"].split():
                case []:
                    programs[place] = block["code"]
                    last = place
                case ["continued"]:
                    programs[last] += block["code"]
                case ["fragment"]:
                    fragments[place] = block["code"]
                case [name] if name.endswith(".py"):
                    programs[place] = block["code"]
                case mark:
                    raise ValueError(f"{place}: {mark}")
    return programs, fragments


PROGRAMS, FRAGMENTS = examples()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the certificates that `tquic cert` makes."""
    folder = tmp_path_factory.mktemp("examples")
    names = ("ca.pem", "cert.pem", "key.pem")
    contents = _engine.make_certificates(["localhost", "127.0.0.1", "::1"], 2)
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
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


def test_fragments_are_python() -> None:
    for place, code in FRAGMENTS.items():
        compile(code, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That continued blocks are found where they belong."""
    fence = "`" * 3
    blocks = {"": "a = 1", " fragment": "await a", " continued": "print(a)"}
    page = "".join(f"{fence}python{mark}\n{code}\n{fence}\n" for mark, code in blocks.items())
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(page)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert examples() == ({"README.md:1": "a = 1\nprint(a)\n"}, {"README.md:4": "await a\n"})


def test_the_api_page_has_examples() -> None:
    assert len(BLOCK.findall((ROOT / "docs" / "api.md").read_text())) >= 5
