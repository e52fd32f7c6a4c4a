"""The commands of the documentation run as they stand, each page's in a folder of its own.

They are the lines of blocks that begin with three backticks and ``sh``. A server goes on in the
background until the next one begins; ports are changed to one that is free.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<kind>sh|python \w+\.py)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "\n```sh\n" in page.read_text()
]
PORT = "4433"
LIMIT = 60


class Terminal:
    """Where a page's commands are typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        # The command `tquic` of the Python that runs the tests.
        shell = f'tquic() {{ "{sys.executable}" -m tquic "$@"; }}; set -eu; '
        self.command = ["bash", "-c", f'{shell}eval "$0"']
        self.server: subprocess.Popen[str] | None = None

    def type(self, line: str) -> str:
        """Runs a line to its end, or to where it serves; what it prints."""
        line = line.replace(PORT, self.port)
        if not line.startswith("tquic serve"):
            done = subprocess.run(
                [*self.command, line],
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
            return done.stdout
        self.interrupt()
        assert self.port in line
        # In its place, so that signals reach it.
        arguments = [sys.executable, "-m", *line.split()]
        self.server = subprocess.Popen(
            arguments, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.server.stdout is not None
        told = self.server.stdout.readline()
        assert "listening" in told, f"{line}: {told}"
        return told

    def interrupt(self) -> None:
        """Ends the server, if there is one."""
        server, self.server = self.server, None
        if server is not None:
            server.terminate()
            server.communicate(timeout=LIMIT)
            assert server.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    text = page.read_text()
    if "\ntquic cert" not in text:
        # The page says that it runs where its files are.
        terminal.type("tquic cert")
    printed = ""
    try:
        for block in BLOCK.finditer(text):
            if block["kind"] == "sh":
                for line in block["code"].splitlines():
                    printed += terminal.type(line)
            else:
                (tmp_path / block["kind"].split()[1]).write_text(block["code"])
    finally:
        terminal.interrupt()
    assert "listening" in printed


def test_these_pages_have_commands() -> None:
    assert {page.name for page in PAGES} >= {"README.md", "quickstart.md", "http3-server.md"}
