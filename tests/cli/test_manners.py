"""What is the same for every command: terminals, signals, closed pipes, mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tquic.cli import COMMANDS
from tquic.cli import main as run_main
from tquic.cli.completion import commands

from .support import ENVIRONMENT, PATIENCE, Server, command, serving, tquic, until

pty = pytest.importorskip("pty")

posix = pytest.mark.skipif(os.name != "posix", reason="shells and signals of POSIX")

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def at_terminal(
    *arguments: object, cwd: Path, interrupt_after: bytes = b"", **variables: str
) -> tuple[int, bytes]:
    """The status, and what a terminal got on stdout and stderr; Ctrl-C comes when what it got
    matches a pattern."""
    near, far = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "80", **variables}
    process = subprocess.Popen(
        command(*arguments), stdout=far, stderr=far, cwd=cwd, env=environment
    )
    os.close(far)
    got = b""
    while True:
        try:
            data = os.read(near, 65536)
        except OSError:
            break
        if not data:
            break
        got += data
        if interrupt_after and re.search(interrupt_after, got):
            process.send_signal(signal.SIGINT)
            interrupt_after = b""
    os.close(near)
    return process.wait(PATIENCE), got


@pytest.fixture
def huge(www: Path, certs: Path) -> Iterator[Server]:
    """A server with more than can be fetched in a moment."""
    path = www / "huge-for-manners.bin"
    with path.open("wb") as file:
        file.truncate(16 << 30)
    try:
        with serving(
            "serve", www, "--cert", certs / "cert.pem", "--key", certs / "key.pem"
        ) as server:
            yield server
    finally:
        path.unlink()


def test_progress_at_a_terminal_only(huge: Server, certs: Path, tmp_path: Path) -> None:
    arguments = ("get", "--cacert", certs / "ca.pem", huge.url("huge-for-manners.bin"))
    arguments += ("-o", os.devnull)
    progress = rb"[0-9.]+/?[^\n]* ?[KMG]i?B"
    status, got = at_terminal(*arguments, cwd=tmp_path, interrupt_after=progress, NO_COLOR="1")
    assert status == 130
    assert re.search(progress, got)
    assert not COLOUR.search(got)
    assert b"Traceback" not in got
    # The server may still drain the connection of the first.
    until(lambda: not huge.connections())
    process = subprocess.Popen(
        command(*arguments, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until(huge.connections)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == ""
    assert json.loads(out)["ok"] is False


def test_connections_of_a_load_are_counted_at_a_terminal(
    server: Server, certs: Path, tmp_path: Path
) -> None:
    url, trust = server.url("small.txt"), ("--cacert", certs / "ca.pem")
    # Half a second at least until all are there.
    few = ("-c", 10, "--connect-rate", 20, "-n", 10)
    status, got = at_terminal("load", url, *trust, *few, cwd=tmp_path)
    assert status == 0
    assert re.search(rb"\rconnecting [0-9]/10\b", got)
    assert b"10 responses" in got


def test_colours_at_a_terminal_unless_told_otherwise(tmp_path: Path) -> None:
    _, coloured = at_terminal("doctor", "--no-measure", cwd=tmp_path, NO_COLOR="")
    assert COLOUR.search(coloured)
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, plain = at_terminal("doctor", "--no-measure", cwd=tmp_path, **variables)
        assert b"\x1b" not in plain


def test_ctrl_c_of_a_measurement_is_one_document(certs: Path) -> None:
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("perf", "server", "--cert", cert, "--key", key) as server:
        process = subprocess.Popen(
            command("perf", "client", server.place, "--cacert", certs / "ca.pem", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        until(server.connections)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (130, "")
        assert json.loads(out) == {"ok": False, "error": "interrupted"}
        assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize(
    "arguments", [("--help",), ("get", "--help"), ("doctor", "--no-measure"), ("completion", "zsh")]
)
def test_a_reader_that_leaves_at_once(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command(*arguments),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tquic("get", "--qlog", tmp_path / "file", "https://localhost/x", cwd=tmp_path)
    assert done.returncode == 1
    assert f"--qlog {tmp_path / 'file'}: " in done.stderr


@posix
@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left")]
)
@pytest.mark.parametrize(
    "arguments", ["completion bash", "doctor --no-measure --json", "serve . --port 0"]
)
def test_an_output_that_takes_nothing(
    arguments: str, redirection: str, why: str, tmp_path: Path
) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m tquic {arguments} {redirection}', sys.executable],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Sends Ctrl-C in the middle of an import.
INTERRUPTING = """
import os, signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, *_):
        if name == os.environ["INTERRUPTED"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
"""
SCRIPT = "import sys; from tquic.cli import main; sys.exit(main())"


@posix
@pytest.mark.parametrize("way", ["-m", "script"])
@pytest.mark.parametrize("module", ["tquic._engine", "tquic.cli", "tquic.cli.doctor"])
def test_ctrl_c_while_the_command_is_imported(module: str, way: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    (tmp_path / "tquic").write_text(SCRIPT)
    begin = ["-m", "tquic"] if way == "-m" else [str(tmp_path / "tquic")]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *begin, "doctor", "--no-measure"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": path, "INTERRUPTED": module},
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_is_left_alone_in_other_programs(tmp_path: Path) -> None:
    check = "import signal, tquic; print(signal.getsignal(2) is signal.default_int_handler)"
    (tmp_path / "mine.py").write_text(check)
    for arguments in (["-c", check], ["-m", "mine"]):
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
            timeout=PATIENCE,
            check=True,
        )
        assert done.stdout == "True\n"


@pytest.mark.parametrize("path", [c.path for c in commands()], ids=" ".join)
def test_help_fits_a_terminal_and_says_something_of_every_option(path: tuple[str, ...]) -> None:
    done = subprocess.run(
        command(*path, "--help"),
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "COLUMNS": "80"},
        check=False,
    )
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    (found,) = [each for each in commands() if each.path == path]
    for option in found.named:
        assert option.help, (path, option.names)
        assert option.names[-1] in done.stdout
    if not path:
        assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["gett", "x"], "did you mean get?"),
        (["get", "--sha", "x", "https://x/y"], "did you mean --sha256?"),
        (["get", "--conect-to=x:1", "https://x/y"], "did you mean --connect-to?"),
        (["perf", "client", "x:1", "--handshake", "5"], "did you mean --handshakes?"),
        (["get", "localhost:4433/x"], "did you mean https://localhost:4433/x?"),
        (["get", "http://localhost/x"], "did you mean https://localhost/x?"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert hint in captured.err
    assert "--help` lists" in captured.err
    assert len(captured.err.splitlines()) == 2


def test_tracebacks_for_developers_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(options: object) -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr("tquic.cli.doctor.run", broken)
    monkeypatch.delenv("TQUIC_DEBUG", raising=False)
    assert run_main(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"ok": False, "error": "RuntimeError: broken"}
    assert "TQUIC_DEBUG=1 shows where" in captured.err
    assert "Traceback" not in captured.err
    monkeypatch.setenv("TQUIC_DEBUG", "1")
    assert run_main(["doctor"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_names_in_certificates_are_checked(tmp_path: Path) -> None:
    for name in ("bad name", "", "a..b", "-x", "1.2.3.4/8"):
        done = tquic("cert", f"--name={name}", cwd=tmp_path)
        assert done.returncode == 1, name
        assert "a host name or an IP address" in done.stderr
    assert list(tmp_path.iterdir()) == []
    for name in ("*.example.com", "a-b.c_d", "::1", "10.0.0.1", "localhost"):
        assert tquic("cert", "--name", name, cwd=tmp_path).returncode == 0, name


def test_which_file_of_certificates_is_wrong(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing\n")
    for arguments in (
        ("get", server.url("small.txt")),
        ("perf", "client", server.place),
    ):
        done = tquic(*arguments, "--cacert", "x.pem", cwd=tmp_path)
        assert done.returncode == 1
        assert f"tquic {arguments[0]}: x.pem: " in done.stderr
