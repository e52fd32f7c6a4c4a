"""Several paths on the command line. Loopback has more than one address on Linux."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tquic.cli import client
from tquic.multipath import Interface

from .support import Server, document, serving, tquic

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is there on Linux")

FIRST, SECOND = ("--path", "127.0.0.1"), ("--path", "127.0.0.2@lo")
SIZE = 8_000_000


@pytest.fixture(scope="module")
def perf() -> Iterator[Server]:
    # With minrtt a machine that is busy may have nothing for the second path.
    with serving("perf", "server", "--multipath", "--scheduler", "roundrobin") as server:
        yield server


@pytest.mark.parametrize("api", ["native", "asyncio"])
def test_perf_uses_all_paths(perf: Server, api: str) -> None:
    done = tquic(
        *("perf", "client", perf.place, "--cacert", perf.ca, "--json", "--api", api),
        *("--download", "100M", *FIRST, *SECOND, "--scheduler", "roundrobin"),
    )
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert report["verified"]
    assert [path["local"].rpartition(":")[0] for path in report["paths"]] == [
        "127.0.0.1",
        "127.0.0.2",
    ]
    assert all(path["bytes"] > 1_000_000 for path in report["paths"]), report["paths"]
    # In round-robin order both ends' bytes are those of the connection.
    assert sum(path["bytes"] for path in report["paths"]) > 100_000_000


def test_auto_leaves_loopback_to_the_routes(perf: Server) -> None:
    done = tquic(
        *("perf", "client", perf.place, "--cacert", perf.ca, "--json"),
        *("--download", "1M", "--path", "auto"),
    )
    assert done.returncode == 0, done.stderr
    assert len(document(done)["paths"]) == 1
    done = tquic("get", "https://localhost/x", "--path", "auto", "--path", "127.0.0.1")
    assert done.returncode == 2
    assert "--path auto stands alone" in done.stderr


def test_auto_takes_what_the_policy_would(monkeypatch: pytest.MonkeyPatch) -> None:
    def interface(name: str, *addresses: str) -> Interface:
        return Interface(name=name, running=True, loopback=False, addresses=addresses)

    def chosen(route: str | None, *usable: Interface) -> list[str] | None:
        monkeypatch.setattr(client, "usable_interfaces", lambda v6: list(usable))
        monkeypatch.setattr(client, "interface_to", lambda *_: route)
        options = argparse.Namespace(paths=["auto"])
        client.choose_paths(options, ("192.0.2.1", 443))
        paths: list[str] | None = options.paths
        return paths

    wired, mobile = interface("eth0", "10.0.0.1"), interface("wwan0", "10.1.0.1")
    wireless, inner = interface("wlan0", "10.2.0.1"), interface("docker0", "10.3.0.1")
    assert chosen("wlan0", wired, mobile, wireless, inner) == ["wlan0", "eth0"]
    # Mobile networks only among themselves; one network is for the routes.
    assert chosen("wwan0", mobile, interface("wwan1", "10.4.0.1")) == ["wwan0", "wwan1"]
    assert chosen("eth0", wired, mobile) is None
    assert chosen(None, wired, wireless) is None


def test_one_path_only_binds_it(perf: Server) -> None:
    done = tquic(
        *("perf", "client", perf.place, "--cacert", perf.ca, "--json"),
        *("--download", "1M", "--path", "127.0.0.3"),
    )
    assert done.returncode == 0, done.stderr
    assert [path["local"].rpartition(":")[0] for path in document(done)["paths"]] == ["127.0.0.3"]


@pytest.mark.parametrize("protocol", [[], ["--hq"]])
def test_get_and_put(tmp_path: Path, protocol: list[str]) -> None:
    content = bytes(range(250)) * (SIZE // 250)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(content)
    with serving("serve", tmp_path / "www", "--multipath", "--writable") as server:
        paths = (*FIRST, *SECOND, "--cacert", server.ca, "--json")
        done = tquic("get", server.url("file"), "-o", tmp_path / "got", *paths, *protocol)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "got").read_bytes() == content
        (connection,) = document(done)["connections"]
        assert [path["id"] for path in connection["paths"]] == [0, 1]
        if not protocol:
            done = tquic("put", tmp_path / "got", server.url("put"), *paths)
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "www" / "put").read_bytes() == content


def test_a_server_with_one_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with serving("serve", tmp_path) as server:
        to = ("-o", tmp_path / "got", "--cacert", server.ca)
        done = tquic("get", server.url("file"), *to, *FIRST, *SECOND)
        assert done.returncode == 0, done.stderr
        assert "no path from lo (127.0.0.2): multipath was not negotiated" in done.stderr


def test_networks_that_are_not_there(perf: Server) -> None:
    client = ("perf", "client", perf.place, "--cacert", perf.ca, "--download", "1K")
    done = tquic(*client, "--path", "192.0.2.77")
    assert done.returncode == 1
    assert "assign" in done.stderr
    # The others do.
    done = tquic(*client, *FIRST, "--path", "nosuchif", "--path", "::1")
    assert done.returncode == 0, done.stderr
    assert "no path from nosuchif: " in done.stderr
    assert "no path from ::1: ::1 cannot reach 127.0.0.1" in done.stderr
    done = tquic(*client, "--path", "::1")
    assert done.returncode == 1
    assert "127.0.0.1 has no address of the family of ::1" in done.stderr
