"""Certificates, a folder and a server for it, and `tquic get` in a folder of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import CONTENT, Get, Server, serving, tquic


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background job ignores SIGINT, and so would the commands that the tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, cert.pem and key.pem for this machine."""
    folder = tmp_path_factory.mktemp("certs")
    assert tquic("cert", "--out", folder).returncode == 0
    return folder


@pytest.fixture(scope="session")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to serve, beside a file that must never be."""
    outside = tmp_path_factory.mktemp("site")
    (outside / "secret").write_text("secret")
    root = outside / "www"
    for name, content in CONTENT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "link-outside").symlink_to("../secret")
    (root / "link-inside").symlink_to("sub/below.txt")
    return root


@pytest.fixture(scope="session")
def server(www: Path, certs: Path) -> Iterator[Server]:
    """A server of `www` with the certificate of `certs`."""
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("serve", www, "--cert", cert, "--key", key) as running:
        yield running


@pytest.fixture
def get(certs: Path, tmp_path: Path) -> Get:
    """`tquic get` in a folder of its own, trusting `certs`."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return tquic("get", "--cacert", certs / "ca.pem", *arguments, cwd=tmp_path)

    return run
