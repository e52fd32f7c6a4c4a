"""Training the compiler: what is needed for it, and the network that loses datagrams."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

train_profile = pytest.importorskip("train_profile")


def program(path: Path, says: str = "") -> Path:
    """A program that prints this."""
    path.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="programs are shell scripts")
def test_the_tool_is_that_of_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "rustc", r"LLVM version: 22.1.2\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.delenv("LLVM_PROFDATA", raising=False)
    program(tmp_path / "llvm-profdata-21")
    fits = program(tmp_path / "llvm-profdata-22")
    assert train_profile.find_profdata() == str(fits)
    chosen = program(tmp_path / "chosen")
    monkeypatch.setenv("LLVM_PROFDATA", str(chosen))
    assert train_profile.find_profdata() == str(chosen)


def test_without_the_tool_nothing_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_profile, "find_profdata", lambda: None)
    monkeypatch.setattr(sys, "argv", ["train_profile.py", str(tmp_path / "profile")])
    assert train_profile.main() == 2
    assert "llvm-tools" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_way_carries_datagrams_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_profile, "LOSS", 0)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        with train_profile.losing(server.getsockname()) as relay:
            for n in range(10):
                client.sendto(b"request %d" % n, relay)
                datagram, sender = server.recvfrom(100)
                assert datagram == b"request %d" % n
                server.sendto(b"answer %d" % n, sender)
                assert client.recv(100) == b"answer %d" % n
