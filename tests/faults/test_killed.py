"""A process is killed in the middle of a transfer: the other end is told in bounded time, nothing
partial is taken for a whole, and the transfer goes on where it ended."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import ENVIRONMENT, PATIENCE, Server, command, serving, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and looks into /proc")

# Seconds of silence after which either end gives up; and those within which that is told, however
# slow the machine is: less than the default idle timeout.
IDLE, TOLD = 3, 25
SIZE = 96 << 20
# One stream in small steps: a transfer that takes long enough to be met in its middle.
SLOW = {"TQUIC_STREAM_WINDOW": "16Ki", "TQUIC_MAX_STREAM_WINDOW": "16Ki"}
IMPATIENT = ENVIRONMENT | {"TQUIC_IDLE_TIMEOUT": f"{IDLE}s"}


@pytest.fixture(scope="module")
def content() -> bytes:
    """No two parts of it are the same."""
    return b"".join(hashlib.sha256(n.to_bytes(8)).digest() for n in range(SIZE // 32))


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> Path:
    folder = tmp_path_factory.mktemp("www")
    (folder / "big.bin").write_bytes(content)
    return folder


@contextmanager
def server_of(www: Path, certs: Path, *options: object) -> Iterator[Server]:
    with serving(
        "serve", www, "--cert", certs / "cert.pem", "--key", certs / "key.pem", *options
    ) as server:
        yield server


def begin(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=IMPATIENT | environment,
    )


def downloading(
    server: Server, certs: Path, folder: Path, **environment: str
) -> tuple[subprocess.Popen[str], Path]:
    """A client in the middle of `big.bin`, and what it has of it."""
    arguments = ("get", "--cacert", certs / "ca.pem", server.url("big.bin"))
    client = begin(*arguments, cwd=folder, **SLOW, **environment)
    part = folder / "big.bin.part"
    until(lambda: size(part) > 1 << 20)
    return client, part


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def resumed(url: str, certs: Path, folder: Path, server: Server, content: bytes) -> dict[str, Any]:
    """Goes on with `big.bin`, which a run before began; what is told of it."""
    arguments = ("get", "-C", "--json", "--cacert", certs / "ca.pem", url)
    other_place = ("--connect-to", server.place)
    process = begin(*arguments, *other_place, cwd=folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert (folder / "big.bin").read_bytes() == content
    assert [path.name for path in folder.iterdir()] == ["big.bin"]
    (file,) = json.loads(out)["files"]
    return dict(file)


def test_the_server_of_a_download(www: Path, certs: Path, tmp_path: Path, content: bytes) -> None:
    with server_of(www, certs) as server:
        url = server.url("big.bin")
        client, part = downloading(server, certs, tmp_path)
        server.process.kill()
        begun = time.monotonic()
        _, told = client.communicate(timeout=PATIENCE)
    assert client.returncode == 1, told
    assert time.monotonic() - begun < TOLD
    assert "timed out" in told
    assert "Traceback" not in told
    assert not (tmp_path / "big.bin").exists()
    kept = part.read_bytes()
    assert 1 << 20 < len(kept) < SIZE
    assert kept == content[: len(kept)]
    with server_of(www, certs) as server:
        file = resumed(url, certs, tmp_path, server, content)
    assert (file["status"], file["resumed_at"]) == (206, len(kept))


def test_the_client_of_a_download(www: Path, certs: Path, tmp_path: Path, content: bytes) -> None:
    """The server notices and forgets it; what it wrote is the beginning of the file."""
    with server_of(www, certs) as server:
        url = server.url("big.bin")
        client, part = downloading(server, certs, tmp_path)
        client.kill()
        client.communicate(timeout=PATIENCE)
        begun = time.monotonic()
        assert not (tmp_path / "big.bin").exists()
        kept = part.read_bytes()
        assert kept == content[: len(kept)]
        # The smaller of both ends' timeouts is that of the connection.
        until(lambda: not server.connections())
        assert time.monotonic() - begun < TOLD
        file = resumed(url, certs, tmp_path, server, content)
        assert (file["status"], file["resumed_at"]) == (206, len(kept))


def test_what_a_killed_download_replaces(www: Path, certs: Path, tmp_path: Path) -> None:
    """A file of that name stays what it was until the new one is whole."""
    (tmp_path / "big.bin").write_bytes(b"the old one")
    with server_of(www, certs) as server:
        client, _ = downloading(server, certs, tmp_path)
        client.kill()
        client.communicate(timeout=PATIENCE)
    assert (tmp_path / "big.bin").read_bytes() == b"the old one"


@pytest.mark.parametrize("killed", ["client", "server"])
def test_an_upload(certs: Path, tmp_path: Path, content: bytes, killed: str) -> None:
    """The server never has half a file under the name of a whole one."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (tmp_path / "big.bin").write_bytes(content)
    with server_of(inbox, certs, "--writable") as server:
        # The window is the server's, whose settings are its own: the file is large instead.
        client = begin(
            "put", "big.bin", server.url("big.bin"), "--cacert", certs / "ca.pem", cwd=tmp_path
        )
        until(lambda: any(size(path) > 1 << 18 for path in inbox.iterdir()))
        victim = client if killed == "client" else server.process
        victim.kill()
        begun = time.monotonic()
        _, told = client.communicate(timeout=PATIENCE)
        if killed == "server":
            assert client.returncode == 1, told
            assert time.monotonic() - begun < TOLD
            assert "Traceback" not in told
            assert not (inbox / "big.bin").exists()
            return
        # The server cleans up as soon as it knows.
        until(lambda: not list(inbox.iterdir()))


def test_a_worker(www: Path, certs: Path, tmp_path: Path, content: bytes) -> None:
    """Another takes its place, and its clients find that one."""
    with server_of(www, certs, "--workers", 2) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        workers = {int(pid) for pid in children.read_text().split()}
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(set(children.read_text().split()) - set(map(str, workers))) == 2)
        for n in range(4):
            folder = tmp_path / str(n)
            folder.mkdir()
            arguments = ("get", "--cacert", certs / "ca.pem", server.url("big.bin"))
            client = begin(*arguments, cwd=folder)
            _, told = client.communicate(timeout=PATIENCE)
            assert client.returncode == 0, told
            assert (folder / "big.bin").read_bytes() == content
        assert server.end() == 0


def test_a_process_that_stands_still(
    www: Path, certs: Path, tmp_path: Path, content: bytes
) -> None:
    """Its clock has jumped when it goes on."""
    with server_of(www, certs) as server:
        client, _ = downloading(server, certs, tmp_path, TQUIC_IDLE_TIMEOUT="20s")
        for process in (server.process, client):
            process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            process.send_signal(signal.SIGCONT)
        _, told = client.communicate(timeout=PATIENCE)
        assert client.returncode == 0, told
        assert (tmp_path / "big.bin").read_bytes() == content


def test_a_file_that_cannot_grow(www: Path, certs: Path, tmp_path: Path, content: bytes) -> None:
    """A full disk, in short: what is there stays, and is gone on with."""
    most = 8 << 20
    with server_of(www, certs) as server:
        url = server.url("big.bin")
        client = subprocess.Popen(
            command("get", "--cacert", certs / "ca.pem", url),
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=IMPATIENT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        )
        _, told = client.communicate(timeout=PATIENCE)
        assert client.returncode == 1, told
        assert "File too large" in told
        assert "Traceback" not in told
        kept = (tmp_path / "big.bin.part").read_bytes()
        assert kept == content[: len(kept)]
        assert 0 < len(kept) <= most
        file = resumed(url, certs, tmp_path, server, content)
        assert file["resumed_at"] == len(kept)
