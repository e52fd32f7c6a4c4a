"""Certificates, a folder and a server for it, and `tquic get` in a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import CONTENT, ENVIRONMENT, PATIENCE, Get, Server, serving, tquic
from .veth import INTERFACE, End, Pair, connect, ip


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


@pytest.fixture(scope="module")
def namespaces() -> Iterator[tuple[str, str, str]]:
    """Those of a client, of what is in the middle, and of a server; nothing connects them."""
    if sys.platform != "linux":
        pytest.skip("AF_XDP is Linux's")
    names = tuple(f"tqx-py-{os.getpid()}-{end}" for end in "amb")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
        yield names[0], names[1], names[2]
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


@pytest.fixture(scope="module")
def pair(namespaces: tuple[str, str, str]) -> Pair:
    """The client's and the server's namespace on a veth pair, where AF_XDP works."""
    near, _, far = namespaces
    connect(near, far, (INTERFACE, INTERFACE), 78)
    both = Pair(End(near), End(far))
    needs_xdp(both.client)
    return both


def needs_xdp(end: End) -> None:
    """Skips where the kernel does not allow it; anything else that goes wrong is our failure."""
    begin = f"from tquic import Engine; Engine(interface={end.interface!r}).shutdown()"
    begun = subprocess.run(
        end.command(sys.executable, "-c", begin),
        capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE, check=False,
    )  # fmt: skip
    reasons = "CAP_BPF|not supported|not implemented|AF_XDP is Linux's"
    if begun.returncode and (why := re.search(f".*({reasons}).*", begun.stderr)):
        pytest.skip(f"no AF_XDP here: {why[0]}")
