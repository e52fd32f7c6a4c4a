"""Settings from variables, TOML files and everywhere."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import _load

ROOT = Path(__file__).parents[2]


def test_every_setting_can_be_read() -> None:
    """Each kind of field has its parser; a new kind needs one."""
    assert set(_load._kinds(tquic.Config).values()) == set(_load.PARSERS)


def test_variables_that_are_read_elsewhere_are_no_mistakes() -> None:
    """What the sources ask the environment for must not be refused as a setting without a name."""
    sources = [*(ROOT / "python").rglob("*.py"), *(ROOT / "rust").glob("*/src/**/*.rs")]
    asked = re.compile(r'(?:environ\.get|environ\[|getenv|env::var(?:_os)?)\(?"(TQUIC_[A-Z_]+)"')
    found = {name for path in sources for name in asked.findall(path.read_text())}
    assert {"TQUIC_CRYPTO", "TQUIC_DEBUG", "TQUIC_SHARDS"} <= found
    tquic.Config.from_env(environ=dict.fromkeys(found, "1"))


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("IDLE_TIMEOUT", "30", 30.0),
        ("IDLE_TIMEOUT", "500ms", 0.5),
        ("KEEP_ALIVE", "1m", 60.0),
        ("CONGESTION", "newreno", "newreno"),
        ("MTU", "1300", 1300),
        ("SEND_BUFFER", "10M", 10_000_000),
        ("INITIAL_WINDOW", "64Ki", 65_536),
        ("ECN", "off", False),
        ("EARLY_DATA", "yes", True),
        ("ALPN", "h3, hq-interop", ("h3", "hq-interop")),
        ("VERSIONS", "v2,v1", ("v2", "v1")),
        ("CIPHERS", "TLS_AES_256_GCM_SHA384", ("TLS_AES_256_GCM_SHA384",)),
        ("CA", "ca.pem", "ca.pem"),
        ("TOKEN_KEY", "00" * 32, bytes(32)),
        ("PREFERRED_ADDRESS", "127.0.0.1:1,[::1]:2", (("127.0.0.1", 1), ("::1", 2))),
        ("CLIENT_AUTH", "none", "none"),
    ],
)
def test_variables(variable: str, text: str, expected: Any) -> None:
    config = tquic.Config.from_env(environ={f"TQUIC_{variable}": text, "PATH": "/"})
    value = getattr(config, variable.lower())
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TQUIC_MTU": "10"}, "^TQUIC_MTU: mtu must be from 1200 to 65507, not 10$"),
        ({"TQUIC_MTU": "big"}, "^TQUIC_MTU: 'big' is no size"),
        ({"TQUIC_IDLE_TIMEOUT": "1h"}, "^TQUIC_IDLE_TIMEOUT: '1h' is no time"),
        ({"TQUIC_ECN": "maybe"}, "^TQUIC_ECN: 'maybe' is neither true nor false"),
        ({"TQUIC_CONGESTION": "cubics"}, "^TQUIC_CONGESTION: congestion must be of"),
        ({"TQUIC_IDLE_TIMOUT": "1"}, "no such setting; did you mean TQUIC_IDLE_TIMEOUT?"),
        ({"TQUIC_XYZZY": "1"}, "^TQUIC_XYZZY: there is no such setting$"),
        ({"TQUIC_mtu": "1300"}, "did you mean TQUIC_MTU"),
        ({"TQUIC_SNI_CALLBACK": "f"}, "only be set in a program"),
        ({"TQUIC_CERTIFICATES": "f"}, "in a program or a file"),
        ({"TQUIC_TOKEN_KEY": "xy"}, "^TQUIC_TOKEN_KEY: write the bytes as hexadecimal"),
        ({"TQUIC_CERT": "c"}, "^TQUIC_CERT: cert and key belong together"),
        ({"TQUIC_PREFERRED_ADDRESS": "host"}, "is not HOST:PORT"),
    ],
)
def test_wrong_variables(environ: dict[str, str], message: str) -> None:
    with pytest.raises(tquic.ConfigError, match=message):
        tquic.Config.from_env(environ=environ)


def test_variables_change_a_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQUIC_MTU", "1300")
    monkeypatch.setenv("TQUIC_ECN", "")
    monkeypatch.setenv("TQUIC_SHARDS", "2")
    config = tquic.Config.from_env(tquic.Config(mtu=1400, linger=1.0))
    assert (config.mtu, config.linger, config.ecn) == (1300, 1.0, True)


TOML = """
# A comment with mtu = 1 in it.
title = "not ours"

[tquic]
idle_timeout = "1m"
linger = 2
mtu = 1300
ecn = false
alpn = ["h3"]
cert = "server.pem"
key = "keys/server.key"
preferred_address = ["127.0.0.1:4433"]
session_store = "tickets"

[[tquic.certificates]]
name = "*.example.org"
cert = "a.pem"
key = "/a.key"

[tool.tquic]
mtu = 1400
"""


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "tquic.toml"
    path.write_text(TOML)
    config = tquic.Config.from_toml(path, base=tquic.Config(keep_alive=5.0))
    assert (config.idle_timeout, config.linger, config.mtu) == (60.0, 2.0, 1300)
    assert (config.ecn, config.alpn, config.keep_alive) == (False, ("h3",), 5.0)
    # Paths are seen from the file.
    assert (config.cert, config.key) == (
        str(tmp_path / "server.pem"),
        str(tmp_path / "keys/server.key"),
    )
    assert config.certificates == (("*.example.org", str(tmp_path / "a.pem"), "/a.key"),)
    assert config.preferred_address == (("127.0.0.1", 4433),)
    assert config.session_store is not None
    assert "tickets" in repr(config.session_store)
    assert tquic.Config.from_toml(path, section="tool.tquic").mtu == 1400
    assert tquic.Config.from_toml(TOML, section="tool.tquic").mtu == 1400
    assert tquic.Config.from_toml("mtu = 1350", section=None).mtu == 1350
    assert tquic.Config.from_toml(path, section="elsewhere") == tquic.Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tquic]\n\nmtu = 10", "line 3: mtu must be from 1200"),
        ("[tquic]\nmtu = 1300\nidle = 1", "line 3: idle: there is no such setting"),
        ("[tquic]\nidle_timeuot = 1", "did you mean idle_timeout?"),
        ("[tquic]\nmtu = true", "line 2: mtu must be a whole number"),
        ("[tquic]\nmtu = 1300.5", "line 2: mtu must be a whole number"),
        ("[tquic]\necn = 1", "line 2: ecn: must be true or false"),
        ("[tquic]\nlinger = '1 day'", "line 2: linger: '1 day' is no time"),
        ("[tquic]\nalpn = 'h3'\ncert = 5", "line 3: cert: must be a text"),
        ("[tquic]\nalpn = [5]", "line 2: alpn: must be a list of texts"),
        ("[tquic]\nalpn = []", "line 2: alpn must name at least one protocol"),
        ("[tquic]\ncert = 'c'", "line 2: cert and key belong together"),
        ("[tquic]\nversions = 5", "line 2: versions: must be a list"),
        ("[tquic]\ncertificates = [{name = 'a'}]", "each must have a name, a cert and a key"),
        ("[tquic]\nsni_callback = 'f'", "only be set in a program"),
        ("[tquic\nmtu = 1", r"TOML text: .*line 1"),
        ("tquic = 5", "tquic is no table"),
    ],
)
def test_wrong_files(text: str, message: str) -> None:
    with pytest.raises(tquic.ConfigError, match=message):
        tquic.Config.from_toml(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(tquic.ConfigError, match=r"cannot read .*none: No such file"):
        tquic.Config.from_toml(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(tquic.ConfigError, match=r"cannot read .*binary"):
        tquic.Config.from_toml(str(tmp_path / "binary"))


def test_keywords_come_first(tmp_path: Path) -> None:
    path = tmp_path / "tquic.toml"
    path.write_text("[tquic]\nmtu = 1300\nlinger = 1\nidle_timeout = 1\n")
    environ = {"TQUIC_LINGER": "2", "TQUIC_IDLE_TIMEOUT": "2", "TQUIC_CONFIG": str(path)}
    for config in (
        tquic.Config.load(path, environ=environ, idle_timeout=3.0),
        tquic.Config.load(environ=environ, idle_timeout="3s"),
    ):
        assert (config.mtu, config.linger, config.idle_timeout) == (1300, 2.0, 3.0)
        assert config.max_ack_delay == tquic.Config().max_ack_delay
    assert tquic.Config.load(environ={}, send_buffer="1Mi").send_buffer == 1 << 20
    with pytest.raises(tquic.ConfigError, match=r"^lingr: .* did you mean linger\?$"):
        tquic.Config.load(environ={}, lingr=1)
    with pytest.raises(tquic.ConfigError, match=r"^mtu must be from"):
        tquic.Config.load(environ={}, mtu=1)
    # What is wrong is blamed on its place, not on others.
    with pytest.raises(tquic.ConfigError, match=r"^TQUIC_MTU: mtu must"):
        tquic.Config.load(path, environ={"TQUIC_MTU": "1"}, linger=1.0)


def test_the_page_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/config_docs.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run scripts/config_docs.py"
    page = (ROOT / "docs/configuration.md").read_text()
    for field in dataclasses.fields(tquic.Config):
        assert f"### `{field.name}`\n" in page
        assert f"`TQUIC_{field.name.upper()}`" in page
