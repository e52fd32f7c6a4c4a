"""The programs of docs/migrating-from-aioquic.md run as they stand there."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "migrating-from-aioquic.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_guide_has_programs() -> None:
    assert len(PROGRAMS) == 4


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs(number: int, files: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number].replace("4433", str(free_port()))],
        cwd=Path(files.ca).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs GNU sed")
def test_the_command_changes_imports(tmp_path: Path) -> None:
    """The one for sed, and nothing else in the file."""
    (command,) = re.findall(r"^    (sed .*)$", GUIDE.read_text(), re.MULTILINE)
    program = tmp_path / "program.py"
    before = "from aioquic.asyncio import connect\nimport aioquic_of_mine\n'import aioquic'\n"
    program.write_text(before)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert program.read_text() == before.replace("from aioquic", "from tquic.compat.aioquic")
