"""Scripts for shells, asked by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tquic.cli import COMMANDS
from tquic.cli.completion import SHELLS, commands

from .support import tquic

BASH = shutil.which("bash")


def offered(words: list[str], cwd: Path) -> set[str]:
    """What bash offers after `words`, the last of which is begun."""
    assert BASH is not None
    script = tquic("completion", "bash").stdout
    array = " ".join(f"'{word}'" for word in words)
    asked = (
        f"{script}\nCOMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _tquic\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [BASH, "--norc", "-c", asked], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_offers_what_fits(tmp_path: Path) -> None:
    (tmp_path / "my file.pem").touch()
    (tmp_path / "folder").mkdir()
    assert offered(["tquic", ""], tmp_path) == set(COMMANDS)
    assert offered(["tquic", "ge"], tmp_path) == {"get"}
    assert {"--sha256", "--cacert", "-o"} <= offered(["tquic", "get", "-"], tmp_path)
    assert offered(["tquic", "get", "--ca"], tmp_path) == {"--cacert"}
    assert offered(["tquic", "get", "--cacert", "m"], tmp_path) == {"my file.pem"}
    assert offered(["tquic", "get", "--congestion", "c"], tmp_path) == {"copa", "cubic"}
    assert offered(["tquic", "get", "--congestion", "=", "n"], tmp_path) == {"newreno"}
    assert offered(["tquic", "get", "--sha256", ""], tmp_path) == set()
    assert offered(["tquic", "serve", ""], tmp_path) == {"folder"}
    assert offered(["tquic", "perf", ""], tmp_path) == {"client", "server"}
    assert "--handshakes" in offered(["tquic", "perf", "client", "--h"], tmp_path)
    assert "--handshakes" not in offered(["tquic", "perf", "server", "--h"], tmp_path)
    assert offered(["tquic", "completion", "f"], tmp_path) == {"fish"}
    assert offered(["tquic", "perf", "server", "--i"], tmp_path) == {"--interface"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_understands_its_script(shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} here")
    script = tquic("completion", shell)
    assert script.returncode == 0
    done = subprocess.run(
        [path, "-n"], input=script.stdout, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_in_every_script(shell: str) -> None:
    script = tquic("completion", shell).stdout
    for command in commands():
        for option in command.named:
            name = option.names[-1]
            shown = name if shell != "fish" else f"-l {name[2:]}"
            if name.startswith("--"):
                assert shown in script, (command.path, name)


def test_fish_offers_what_fits(tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("no fish here")
    script = tquic("completion", "fish").stdout
    for line, wanted in (("tquic ge", "get"), ("tquic get --congestion ", "newreno")):
        asked = f"{script}\ncomplete -C '{line}'"
        done = subprocess.run(
            [fish, "--no-config", "-c", asked], capture_output=True, text=True, check=False
        )
        assert wanted in done.stdout, done.stderr


def test_another_shell_is_wrong_usage() -> None:
    done = tquic("completion", "tcsh")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
