"""`tquic put` against `tquic serve --writable`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import CONTENT, Server, document, serving, tquic


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def writable(inbox: Path, certs: Path) -> Iterator[Server]:
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("serve", inbox, "--writable", "--cert", cert, "--key", key) as running:
        yield running


def test_a_file_goes_there(
    writable: Server, inbox: Path, www: Path, certs: Path, tmp_path: Path
) -> None:
    trust = ("--cacert", certs / "ca.pem")
    done = tquic("put", www / "big.bin", writable.url("new.bin"), *trust)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (inbox / "new.bin").read_bytes() == CONTENT["big.bin"]
    # Named by the file, and replaced.
    (inbox / "small.txt").write_text("old")
    done = tquic("put", www / "small.txt", writable.url(""), *trust, "--json")
    assert done.returncode == 0, done.stderr
    result = document(done)
    assert (result["ok"], result["bytes"], result["error"]) == (True, 6, None)
    assert (result["protocol"], result["url"]) == ("h3", writable.url("small.txt"))
    assert (inbox / "small.txt").read_bytes() == CONTENT["small.txt"]
    done = tquic("put", www / "empty", writable.url("empty"), *trust)
    assert done.returncode == 0, done.stderr
    assert (inbox / "empty").read_bytes() == b""


def test_a_folder_that_is_not_there_is_told(writable: Server, www: Path, certs: Path) -> None:
    done = tquic(
        "put", www / "small.txt", writable.url("new/small.txt"), "--cacert", certs / "ca.pem"
    )
    assert done.returncode == 1
    assert "status 409: Conflict: there is no such folder" in done.stderr


def test_a_server_that_takes_none(server: Server, www: Path, certs: Path) -> None:
    trust = ("--cacert", certs / "ca.pem")
    done = tquic("put", www / "big.bin", server.url("new.bin"), *trust)
    assert done.returncode == 1
    assert "the server refused: status 405" in done.stderr
    assert not (www / "new.bin").exists()
    done = tquic("put", www / "small.txt", server.url("new.bin"), *trust, "--json")
    assert document(done)["ok"] is False


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["nothing", "https://localhost/x"], 1, "there is no file nothing"),
        ([".", "https://localhost/x"], 1, ". is no ordinary file"),
        (["ca.pem", "http://localhost/x"], 2, "https:// URLs only"),
        (["ca.pem"], 2, "URL"),
        (["ca.pem", "https://no-such-host.invalid/x"], 1, "cannot find the host"),
    ],
)
def test_what_fails(certs: Path, arguments: list[str], status: int, sentence: str) -> None:
    done = tquic("put", *arguments, cwd=certs)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
