"""`tquic.sysctl` and `tquic sysctl`: what holds for all connections of a user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tquic
from tquic import sysctl
from tquic.cli import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file."""
    path = tmp_path / "config" / "sysctl.conf"
    monkeypatch.setenv("TQUIC_SYSCTL", str(path))
    return path


def test_defaults(place: Path) -> None:
    values = sysctl.read()
    assert values["max_connections"] == 100_000
    assert values["default_congestion"] == tquic.Config().congestion
    assert (values["multipath_default"], values["qlog_enable"]) == (0, 0)
    assert (values["ecn_enable"], values["gso_enable"], values["gro_enable"]) == (1, 1, 1)
    # A configuration made of nothing but defaults has those of the table.
    assert tquic.Config.load(environ={"TQUIC_SYSCTL": str(place)}) == tquic.Config()
    for name, parameter in sysctl.PARAMETERS.items():
        assert (parameter.name, parameter.parse(str(parameter.default))) == (name, values[name])


def test_settings_reach_configurations(place: Path) -> None:
    sysctl.write(
        {
            "net.tquic.max_connections": "7",
            "net.tquic.default_congestion": "bbr",
            "multipath_default": "1",
            "net.tquic.ecn_enable": "0",
            "idle_timeout_ms": "1500",
            "retry_required": "1",
            "preferred_version": "v2",
        }
    )
    config = tquic.Config.load()
    assert (config.max_connections, config.congestion, config.ecn) == (7, "bbr", False)
    assert (config.max_paths, config.idle_timeout, config.retry) == (8, 1.5, "always")
    assert config.versions == ("v2", "v1")
    # Variables and keywords come before them; a plain configuration is left alone.
    environ = {"TQUIC_SYSCTL": str(place), "TQUIC_CONGESTION": "copa"}
    assert tquic.Config.load(environ=environ).congestion == "copa"
    assert tquic.Config.load(congestion="newreno").congestion == "newreno"
    assert tquic.Config().congestion == "cubic"


def test_qlog(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLOGDIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    sysctl.write({"qlog_enable": "1", "qlog_mask": "0x3"})
    config = tquic.Config.load()
    assert config.qlog == str(tmp_path / "state" / "tquic" / "qlog")
    assert config.qlog_events == ("server_listening", "connection_started")
    assert config.qlog_mode == "file"
    sysctl.write({"qlog_mode": "netlink"})
    config = tquic.Config.load()
    assert (config.qlog_mode, config.qlog) == ("netlink", None)
    sysctl.write({"qlog_enable": "0"})
    assert tquic.Config.load().qlog_mode == "file"


def test_what_is_written_stays(place: Path) -> None:
    place.parent.mkdir()
    place.write_text("# mine\nnet.tquic.ecn_enable = 0\n")
    sysctl.write({"ecn_enable": "1", "max_paths": "0x3"})
    assert place.read_text() == "# mine\nnet.tquic.ecn_enable = 1\nnet.tquic.max_paths = 3\n"
    assert sysctl.get("net.tquic.max_paths") == sysctl.get("max_paths") == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("net.tquic.default_congestion = fast", "must be one of newreno, cubic"),
        ("net.tquic.ecn_enable = 2", "must be from 0 to 1, not 2"),
        ("net.tquic.max_connection = 2", r"did you mean net\.tquic\.max_connections\?"),
        ("net.tquic.ecn_enable = on", "must be a whole number"),
        ("ecn_enable 1", "write name = value"),
    ],
)
def test_mistakes_in_files_are_told_with_their_line(place: Path, line: str, reason: str) -> None:
    place.parent.mkdir()
    place.write_text(f"# first\n{line}\n")
    with pytest.raises(tquic.ConfigError, match=rf"sysctl\.conf, line 2: .*{reason}"):
        sysctl.read()
    with pytest.raises(tquic.ConfigError, match="line 2"):
        tquic.Config.load()


def test_a_wrong_value_changes_nothing(place: Path) -> None:
    with pytest.raises(tquic.ConfigError, match=r"net\.tquic\.max_paths: must be from 1 to 16"):
        sysctl.write({"ecn_enable": "0", "max_paths": "17"})
    assert not place.exists()


def test_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sysctl", "-w", "net.tquic.default_congestion=bbr", "ecn_enable=0"]) == 0
    said = "net.tquic.default_congestion = bbr\nnet.tquic.ecn_enable = 0\n"
    assert capsys.readouterr().out == said
    assert place.exists()
    assert main(["sysctl", "net.tquic.default_congestion"]) == 0
    assert capsys.readouterr().out == "net.tquic.default_congestion = bbr\n"
    assert main(["sysctl", "-a", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["net.tquic.ecn_enable"] == 0
    assert set(values) == {f"net.tquic.{name}" for name in sysctl.PARAMETERS}


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["-w", "ecn_enable=9"], 1, "must be from 0 to 1"),
        (["-w", "ecn_enabled=1"], 1, "did you mean net.tquic.ecn_enable?"),
        (["no_such"], 1, "there is no parameter no_such"),
        (["-w", "ecn_enable"], 2, "-w needs NAME=VALUE"),
        ([], 2, "give a NAME"),
        (["-a", "ecn_enable"], 2, "give no names"),
    ],
)
def test_wrong_commands(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    reason: str,
) -> None:
    try:
        ended = main(["sysctl", *arguments])
    except SystemExit as error:
        assert isinstance(error.code, int)
        ended = error.code
    assert ended == status
    assert reason in capsys.readouterr().err


def test_the_default_engine(place: Path) -> None:
    """It has no trains where they are switched off: nothing else shows that from outside."""
    sysctl.write({"gso_enable": "0", "gro_enable": "0", "zerocopy_enable": "1"})
    program = (
        "import tquic.engine as e\n"
        "class Told(Exception): pass\n"
        "def engine(shards, **settings): raise Told(sorted(settings.items()))\n"
        "e._engine = type('', (), {'Engine': staticmethod(engine)})\n"
        "try: e.Engine.default()\n"
        "except Told as told: print(*(v for n, v in told.args[0] if n[0] in 'gz'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout == "False False True\n"


def test_a_running_process_sees_changes(place: Path) -> None:
    """New sockets do, and need no restart."""
    from tquic.socket import SOL_TQUIC, TQUIC_SOCKOPT_CONGESTION, socket

    for name in (b"bbr", b"copa"):
        sysctl.write({"default_congestion": name.decode()})
        with socket() as fresh:
            assert fresh.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_CONGESTION, 16) == name
