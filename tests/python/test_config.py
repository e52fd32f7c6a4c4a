"""Settings: limits, files, what is shown of them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import config as module


@pytest.mark.parametrize(("name", "limits"), module._LIMITS.items())
def test_numbers_have_limits(name: str, limits: tuple[float, float]) -> None:
    low, high = limits
    whole = isinstance(low, int) and isinstance(getattr(tquic.Config(), name), int | None)
    for good in (low, high):
        assert getattr(tquic.Config(**{name: good}), name) == good
    for bad in (low - 1, high + 1, True, "1"):
        with pytest.raises(tquic.ConfigError, match=name):
            tquic.Config(**{name: bad})
    if whole and name not in {"keep_alive"}:
        with pytest.raises(tquic.ConfigError, match="whole number"):
            tquic.Config(**{name: low + 0.5})


@pytest.mark.parametrize("name", module._CHOICES)
def test_names_are_known(name: str) -> None:
    default = getattr(tquic.Config(), name)
    wrong: Any = ("nonsense",) if isinstance(default, tuple) else "nonsense"
    with pytest.raises(tquic.ConfigError, match=f"{name} must be of .*, not 'nonsense'"):
        tquic.Config(**{name: wrong})
    if isinstance(default, tuple):
        with pytest.raises(tquic.ConfigError, match=name):
            tquic.Config(**{name: ()})
        with pytest.raises(tquic.ConfigError, match=name):
            tquic.Config(**{name: default[0]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpn": ()}, "at least one protocol"),
        ({"versions": "v1"}, "versions must be a tuple or a list"),
        ({"alpn": "h3"}, "tuple"),
        ({"alpn": ("",)}, "1 to 255 bytes"),
        ({"cert": b"x"}, "belong together"),
        ({"client_auth": "required"}, "client_ca"),
        ({"token_key": b"short"}, "32 bytes"),
        ({"preferred_address": (("localhost", 1),)}, "numeric"),
        ({"pins": ("sha256//short",)}, "pins: .* is no pin"),
        ({"pins": ("md5//" + "A" * 43 + "=",)}, "pins: .* is no pin"),
        ({"certificates": (("a", b"", b""), ("A", b"", b""))}, "stands there twice"),
        ({"preferred_address": (("127.0.0.1", 0),)}, "port"),
        ({"preferred_address": (("127.0.0.1", 1), ("127.0.0.2", 1))}, "one IPv4"),
    ],
)
def test_settings_that_do_not_fit_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tquic.ConfigError, match=message) as caught:
        tquic.Config(**settings)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "name",
    [
        *("a b", "a..b", ".a", "-a", "a-", "a-.b", "b\u00fccher.example", "127.1", "a.0x7f", "0x"),
        *("fe80::1%lo", "a:1", "1", ".", "a" * 64, ".".join(["a" * 63] * 4)),
    ],
)
async def test_names_that_no_server_has(name: str) -> None:
    with pytest.raises(tquic.ConfigError, match=r"server_name: .* is neither"):
        tquic.Config(server_name=name)
    # Nothing is refused here that could be connected to.
    config = tquic.Config(handshake_timeout=0.001)
    object.__setattr__(config, "server_name", name)
    with pytest.raises(tquic.ConnectionClosed, match="neither a host name nor"):
        await tquic.connect("127.0.0.1", 1, config=config)


@pytest.mark.parametrize(
    "name",
    ["localhost", "a.b.", "_a.b-c.d", "1.a", "0xg", "xn--bcher-kva.example", "::1", "127.0.0.1"],
)
async def test_names_that_servers_have(name: str) -> None:
    config = tquic.Config(server_name=name, handshake_timeout=0.001)
    with pytest.raises((tquic.HandshakeTimeout, tquic.ConnectionRefused)):
        await tquic.connect("127.0.0.1", 1, config=config)


def test_every_setting_reaches_the_engine() -> None:
    """Each field is read by the binding, or in Python: none is forgotten."""
    rust = (Path(__file__).parents[2] / "rust/py/src/settings.rs").read_text()
    structs = re.findall(
        r"#\[derive\(FromPyObject\)\]\n(?:pub )?struct \w+ \{(.*?)\n\}", rust, re.S
    )
    read = set(re.findall(r"^\s+(\w+):", "\n".join(structs), re.M))
    in_python = {
        *("ca", "cert", "key", "keylog", "client_ca", "ca_path", "system_ca", "key_password"),
        *("pins", "certificates", "sni_callback"),
        *("server_name", "session_store", "linger", "write_buffer", "overload_delay"),
        *("qlog_mode", "qlog_events", "qlog_severity", "qlog_format", "qlog_buffer"),
    }
    assert read | in_python == {field.name for field in dataclasses.fields(tquic.Config)}
    assert not read & in_python


def test_every_setting_is_documented() -> None:
    source = inspect.getsource(tquic.Config)
    for field in dataclasses.fields(tquic.Config):
        found = re.search(rf'^    {field.name}: .*?\n    """(.*?)"""', source, re.S | re.M)
        assert found, field.name
        assert "efault" in found[1], field.name


def test_nothing_changes_afterwards() -> None:
    config = tquic.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.mtu = 1300  # type: ignore[misc]
    other = config.replace(mtu=1300)
    assert (config.mtu, other.mtu) == (1472, 1300)
    assert config == tquic.Config()
    assert hash(config) == hash(tquic.Config())
    with pytest.raises(tquic.ConfigError):
        config.replace(mtu=0)


def test_secrets_are_not_shown(identity: Any) -> None:
    config = tquic.Config(cert=identity.cert, key=identity.key, token_key=bytes(32), mtu=1300)
    assert "PRIVATE" not in repr(config)
    assert "key=...," in repr(config)
    assert "hunter2" not in repr(tquic.Config(key_password="hunter2"))
    assert "mtu=1300" in repr(config)
    assert repr(tquic.Config()) == "Config()"


async def test_files(pair: Any, identity: Any, tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_bytes(getattr(identity, name))
    log = tmp_path / "keys"
    async with pair(
        client={"ca": str(tmp_path / "ca"), "keylog": log},
        server={"cert": tmp_path / "cert", "key": tmp_path / "key"},
    ) as (client, _):
        assert client.connected
    lines = log.read_text().splitlines()
    assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= {
        line.split()[0] for line in lines
    }
    assert log.stat().st_mode & 0o077 == 0


async def test_the_environment_names_a_key_log(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    async with pair():
        pass
    # Both ends write to it, line by line.
    lines = log.read_text().splitlines()
    assert all(len(line.split()) == 3 for line in lines)
    assert sum(line.startswith("CLIENT_TRAFFIC_SECRET_0 ") for line in lines) == 2


async def test_files_that_cannot_be_used(identity: Any, tmp_path: Path) -> None:
    async def connect(**settings: Any) -> None:
        await tquic.connect("127.0.0.1", 1, config=tquic.Config(**settings))

    async def handler(_: tquic.Connection) -> None:
        raise AssertionError

    with pytest.raises(tquic.ConfigError, match=r"ca: cannot read .*none: No such file"):
        await connect(ca=tmp_path / "none")
    with pytest.raises(tquic.ConfigError, match="no certificate in the CA's PEM"):
        await connect(ca=identity.key)
    with pytest.raises(tquic.ConfigError, match="keylog: cannot open"):
        await connect(ca=identity.ca, keylog=tmp_path / "none" / "log")
    with pytest.raises(tquic.ConfigError, match="a server needs a certificate"):
        await tquic.serve("127.0.0.1", 0, handler, config=tquic.Config())
    mixed = tquic.Config(cert=identity.cert, key=identity.client_key)
    with pytest.raises(tquic.ConfigError, match="private key does not belong"):
        await tquic.serve("127.0.0.1", 0, handler, config=mixed)


@pytest.mark.parametrize("shards", [0, -1, 129])
def test_an_engine_has_1_to_128_threads(shards: int) -> None:
    with pytest.raises(tquic.ConfigError, match="from 1 to 128"):
        tquic.Engine(shards)


def test_shards_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tquic.Engine, "_default", None)
    for wrong in ("many", "0"):
        monkeypatch.setenv("TQUIC_SHARDS", wrong)
        with pytest.raises(tquic.ConfigError):
            tquic.Engine.default()


def test_limits_are_told_exactly() -> None:
    with pytest.raises(tquic.ConfigError, match=r"must be from 1024 to 4294967296, not -1$"):
        tquic.Config(stream_window=-1)


@pytest.mark.parametrize("spin", [-0.1, 1.5, float("nan")])
def test_an_engine_spins_for_a_second_at_most(spin: float) -> None:
    with pytest.raises(tquic.ConfigError, match="spin must be from 0 to 1 s"):
        tquic.Engine(spin=spin)


def test_spin_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tquic.Engine, "_default", None)
    for wrong in ("long", "2s"):
        monkeypatch.setenv("TQUIC_SPIN", wrong)
        with pytest.raises(tquic.ConfigError, match=r"TQUIC_SPIN|spin must"):
            tquic.Engine.default()


def test_lists_are_kept_as_tuples() -> None:
    config = tquic.Config(alpn=["h3", "perf"], versions=["v2"])  # type: ignore[arg-type]
    assert config.alpn == ("h3", "perf")
    assert config == tquic.Config(alpn=("h3", "perf"), versions=("v2",))


def test_a_path_with_a_null_byte_is_no_file() -> None:
    with pytest.raises(tquic.ConfigError, match="cannot read"):
        tquic.Config.from_toml("a\0b")
    for name in ("ca", "ca_path"):
        with pytest.raises(tquic.ConfigError, match=f"{name}: cannot read"):
            _ = tquic.Config(**{name: "a\0b"})._client_tls
