"""The command `tquic`: its own options, and how it finds and runs subcommands."""

import argparse
import subprocess
import sys
import types

import pytest

import tquic
from tquic.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    info = tquic.build_info()
    assert capsys.readouterr().out.startswith(f"tquic {tquic.__version__} ({info['target']}, ")


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "--version" in capsys.readouterr().out


def test_nothing_asked_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: tquic" in captured.err


@pytest.mark.parametrize("argument", ["no-such-command", "--no-such-option"])
def test_what_is_unknown_is_wrong_usage(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([argument])
    assert caught.value.code == 2
    assert argument in capsys.readouterr().err


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tquic", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"tquic {tquic.__version__} ")


@pytest.fixture
def greet(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A subcommand as its module would be, with one option."""
    module = types.ModuleType("tquic.cli.greet")

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--status", type=int, default=0)
        parser.add_argument("--interrupt", action="store_true")

    def run(options: argparse.Namespace) -> int:
        if options.interrupt:
            raise KeyboardInterrupt
        return int(options.status)

    module.add_arguments = add_arguments  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tquic.cli.greet", module)
    return module


COMMANDS = {"greet": "says hello"}


@pytest.mark.usefixtures("greet")
def test_a_subcommand_gets_its_options_and_gives_the_status() -> None:
    assert main(["greet"], COMMANDS) == 0
    assert main(["greet", "--status", "1"], COMMANDS) == 1


@pytest.mark.usefixtures("greet")
def test_an_interrupted_subcommand_ends_with_130() -> None:
    assert main(["greet", "--interrupt"], COMMANDS) == 130


@pytest.mark.usefixtures("greet")
def test_a_subcommands_wrong_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["greet", "--nope"], COMMANDS)
    assert caught.value.code == 2
    assert "--nope" in capsys.readouterr().err


def test_help_lists_subcommands_without_importing_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"], {"absent": "has no module"})
    assert caught.value.code == 0
    assert "has no module" in capsys.readouterr().out
