"""`tquic serve`: how it begins, ends and fails."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from .support import (
    CONTENT,
    ENVIRONMENT,
    PATIENCE,
    Get,
    command,
    document,
    names_in,
    serving,
    tquic,
    until,
)


def test_a_development_certificate(www: Path, tmp_path: Path) -> None:
    with serving("serve", www) as server:
        assert server.certificate.startswith("development certificate for localhost, 127.0.0.1")
        assert server.ca.is_file()
        done = tquic("get", "--cacert", server.ca, server.url("small.txt"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        folder = server.ca.parent
        assert server.end() == 0
        assert not folder.exists()


@pytest.mark.parametrize(
    "options",
    [["--retry"], ["--workers", "2"], ["--congestion", "newreno"], ["--alpn", "hq-interop"]],
    ids=lambda options: options[0],
)
def test_options_that_change_how_it_serves(
    www: Path, certs: Path, get: Get, tmp_path: Path, options: list[str]
) -> None:
    pair = ["--cert", certs / "cert.pem", "--key", certs / "key.pem"]
    with serving("serve", www, *pair, *options) as server:
        protocol = ["--hq"] if "hq-interop" in options else []
        for number in range(3):
            done = get(server.url("big.bin"), "-o", f"{number}", *protocol)
            assert done.returncode == 0, done.stderr
            assert (tmp_path / str(number)).read_bytes() == CONTENT["big.bin"]
        assert server.end() == 0


def test_ipv6(www: Path, certs: Path, get: Get) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    pair = ["--cert", certs / "cert.pem", "--key", certs / "key.pem"]
    with serving("serve", www, *pair, "--host", "::1") as server:
        assert server.host == "::1"
        done = get(server.url("small.txt"), "--json")
    assert done.returncode == 0, done.stderr
    assert document(done)["connections"][0]["remote"] == server.place


def test_sigterm_lets_a_transfer_end(www: Path, certs: Path, tmp_path: Path) -> None:
    name = "drained.bin"
    with (www / name).open("wb") as file:
        file.truncate(300_000_000)
    try:
        with serving("serve", www, "--log-level", "info") as server:
            client = subprocess.Popen(
                command("get", "--cacert", server.ca, server.url(name)),
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=ENVIRONMENT,
            )
            part = tmp_path / f"{name}.part"

            def has_begun() -> bool:
                # The file is there before its server has heard of anything.
                with contextlib.suppress(FileNotFoundError):
                    return part.stat().st_size > 0
                return client.poll() is not None

            until(has_begun)
            server.process.send_signal(signal.SIGTERM)
            _, told = client.communicate(timeout=PATIENCE)
            assert server.process.wait(PATIENCE) == 0
        assert client.returncode == 0, told
        assert (tmp_path / name).stat().st_size == 300_000_000
    finally:
        (www / name).unlink()
        (tmp_path / name).unlink(missing_ok=True)


def test_ctrl_c(www: Path) -> None:
    with serving("serve", www) as server:
        assert server.end(signal.SIGINT) == 130


def test_the_port_is_taken(www: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        done = tquic("serve", www, "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert done.stdout == ""


def test_folders_and_certificates_that_cannot_be_read(
    www: Path, certs: Path, tmp_path: Path
) -> None:
    cert, key = certs / "cert.pem", certs / "key.pem"
    (tmp_path / "garbage").write_text("garbage")
    for arguments, sentence in [
        ([tmp_path / "nothing"], "there is no folder"),
        ([www / "small.txt"], "is no folder"),
        ([www, "--cert", tmp_path / "nothing", "--key", key], "cannot read"),
        ([www, "--cert", cert, "--key", tmp_path / "garbage"], "private key"),
        ([www, "--cert", cert, "--key", certs / "ca.pem"], "private key"),
    ]:
        done = tquic("serve", *arguments, "--port", 0)
        assert done.returncode == 1, done.stderr
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "DIR"),
        ([".", "--cert", "x"], "--cert and --key belong together"),
        (["app:main", "--alpn", "hq-interop"], "served over h3 only"),
        (["app:main", "--writable"], "needs a folder"),
        ([".", "--alpn", "hq-interop", "--writable"], "needs a folder and HTTP/3"),
        ([".", "--body-size", "much"], "much"),
        ([".", "--alpn", "ftp"], "not known"),
        ([".", "--workers", "0"], "no number above 0"),
        ([".", "--workers", "1000"], "at most 128"),
        ([".", "--port", "70000"], "no port"),
        ([".", "--congestion", "fast"], "invalid choice"),
        ([".", "--scheduler", "x"], "scheduler must be of"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = tquic("serve", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stdout == ""
    assert names_in(tmp_path) == []
