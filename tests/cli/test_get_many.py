"""`tquic get` from several servers, to slow readers, and among files that are there already."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .support import (
    CONTENT,
    ENVIRONMENT,
    PATIENCE,
    Get,
    Server,
    command,
    document,
    names_in,
    serving,
    sha256,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="attributes of files are Linux's here")


def test_several_servers_at_once(
    server: Server, get: Get, www: Path, certs: Path, tmp_path: Path
) -> None:
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("serve", www, "--cert", cert, "--key", key) as other:
        urls = [server.url("small.txt"), other.url("big.bin"), server.url("sub/below.txt")]
        digests = [
            argument
            for name in ("small.txt", "big.bin", "sub/below.txt")
            for argument in ("--sha256", sha256(name))
        ]
        done = get(*urls, *digests, "-o", "new/", "--json")
        assert done.returncode == 0, done.stderr
        result = document(done)
        assert [file["url"] for file in result["files"]] == urls
        assert all(file["verified"] for file in result["files"])
        assert {c["server"] for c in result["connections"]} == {server.place, other.place}
        assert names_in(tmp_path / "new") == ["below.txt", "big.bin", "small.txt"]
        # In the order of the URLs, whoever serves them.
        printed = get(*urls[:1], other.url("sub/below.txt"), *urls[2:], "-o", "-")
        assert printed.stdout == "hello\nbelow\nbelow\n"
        early = get(*urls, other.url("empty"), "-o", os.devnull, "--0rtt", "--json")
        assert early.returncode == 0, early.stderr
        connections = document(early)["connections"]
        assert len(connections) == 4
        assert sum(connection["early_data"] for connection in connections) == 2


def test_one_server_that_is_not_there_does_not_stop_the_other(
    server: Server, get: Get, tmp_path: Path
) -> None:
    for output, files in ((("-o", "x/"), ["small.txt"]), (("-o", "-"), None)):
        done = get("https://no-such-host.invalid/a", server.url("small.txt"), *output)
        assert done.returncode == 1
        assert "cannot find the host no-such-host.invalid" in done.stderr
        if files is None:
            assert done.stdout == "hello\n"
        else:
            assert names_in(tmp_path / "x") == files


def test_one_wrong_checksum_among_several(server: Server, get: Get, tmp_path: Path) -> None:
    digests = ["--sha256", sha256("small.txt"), "--sha256", "11" * 32]
    done = get(server.url("small.txt"), server.url("big.bin"), *digests, "--json")
    assert done.returncode == 1
    good, bad = document(done)["files"]
    assert (good["verified"], good["error"]) == (True, None)
    assert bad["verified"] is False
    assert f"its SHA-256 is {sha256('big.bin')}, not {'11' * 32}" in bad["error"]
    assert names_in(tmp_path) == ["small.txt"]


@linux
def test_a_slow_reader_holds_the_server_back(www: Path, certs: Path) -> None:
    size = 200 << 20
    big = www / "slow.bin"
    with big.open("wb") as file:
        file.truncate(size)
    cert, key = certs / "cert.pem", certs / "key.pem"
    arguments = ("--cacert", certs / "ca.pem", "-o", "-", "--sha256", _of_zeros(size))
    try:
        with serving("serve", www, "--cert", cert, "--key", key) as server:
            process = subprocess.Popen(
                command("get", server.url("slow.bin"), *arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
            )
            assert process.stdout is not None
            taken = len(process.stdout.read(1 << 20))
            # What was not held back would fill the memory now.
            time.sleep(2.0)
            peak = _peak(process.pid)
            while data := process.stdout.read(1 << 20):
                taken += len(data)
            peak = max(peak, _peak(process.pid) if process.poll() is None else 0)
            assert process.wait(PATIENCE) == 0, process.stderr
            process.stdout.close()
            assert process.stderr is not None
            process.stderr.close()
    finally:
        big.unlink()
    assert taken == size
    assert peak < 120 << 20


def _of_zeros(size: int) -> str:
    digest, block = hashlib.sha256(), bytes(1 << 20)
    for _ in range(size >> 20):
        digest.update(block)
    return digest.hexdigest()


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def test_a_file_that_is_there_is_replaced_when_the_new_one_is_whole(
    server: Server, get: Get, tmp_path: Path
) -> None:
    (tmp_path / "small.txt").write_text("old")
    assert get(server.url("small.txt"), "--sha256", "00" * 32).returncode == 1
    assert (tmp_path / "small.txt").read_text() == "old"
    assert get(server.url("small.txt")).returncode == 0
    assert (tmp_path / "small.txt").read_text() == "hello\n"


@linux
def test_a_partial_file_of_something_else_is_left_alone(
    server: Server, get: Get, tmp_path: Path
) -> None:
    part = tmp_path / "small.txt.part"
    part.write_text("mine")
    done = get(server.url("small.txt"), "--json")
    assert done.returncode == 1
    assert "small.txt.part is in the way" in json.loads(done.stdout)["error"]
    assert part.read_text() == "mine"
    try:
        os.setxattr(part, "user.tquic.origin", hashlib.sha256(b"https://other/").digest())
    except OSError:
        pytest.skip("no attributes on this file system")
    assert get(server.url("small.txt")).returncode == 1
    url = server.url("small.txt").encode()
    os.setxattr(part, "user.tquic.origin", hashlib.sha256(url).hexdigest().encode())
    done = get(server.url("small.txt"))
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path) == ["small.txt"]
    # The address belongs to the partial file only.
    assert "user.tquic.origin" not in os.listxattr(tmp_path / "small.txt")
    assert (tmp_path / "small.txt").read_bytes() == CONTENT["small.txt"]


def test_a_file_named_like_the_partial_one_of_another(get: Get, tmp_path: Path) -> None:
    done = get("https://localhost/x", "https://localhost/x.part")
    assert done.returncode == 2
    assert "would both become x.part" in done.stderr
    assert names_in(tmp_path) == []
