"""Training the compiler: what is needed for it, and the network that loses datagrams."""

from __future__ import annotations

import random
import shutil
import socket
import sys
from pathlib import Path

import pytest

train_profile = pytest.importorskip("train_profile")


def test_without_the_tool_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(name: str) -> str:
        raise train_profile.llvm_tools.ToolError(f"{name} of LLVM 99 is needed")

    monkeypatch.setattr(train_profile.llvm_tools, "find", find)
    monkeypatch.setattr(train_profile, "train", lambda *_: pytest.fail("the build began"))
    monkeypatch.setattr(sys, "argv", ["train_profile.py", str(tmp_path / "profile")])
    assert train_profile.main() == 2
    assert "llvm-profdata of LLVM 99 is needed" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a command that fails")
def test_work_that_fails_leaves_no_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_profile.llvm_tools, "find", lambda name: name)
    # A package without a tquic.
    monkeypatch.setattr(train_profile, "build", lambda folder, *_: folder)
    monkeypatch.setattr(sys, "argv", ["train_profile.py", str(tmp_path / "profile")])
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert train_profile.main() == 1
    assert "tquic cert" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_way_carries_datagrams_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_profile, "LOSS", 0)
    with udp() as server, udp() as client, train_profile.losing(server.getsockname()) as relay:
        for n in range(10):
            client.sendto(b"request %d" % n, relay)
            datagram, sender = server.recvfrom(100)
            assert datagram == b"request %d" % n
            server.sendto(b"answer %d" % n, sender)
            assert client.recv(100) == b"answer %d" % n


def test_the_same_datagrams_are_lost_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_profile, "LOSS", 0.5)
    dice = random.Random(1)
    kept = [n for n in range(30) if dice.random() >= 0.5]
    with udp() as server, udp() as client, train_profile.losing(server.getsockname()) as relay:
        for n in range(30):
            client.sendto(b"%d" % n, relay)
        assert [int(server.recv(100)) for _ in kept] == kept
    assert len(kept) < 30


def udp() -> socket.socket:
    """A socket of this machine."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made
