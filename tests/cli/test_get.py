"""`tquic get` against `tquic serve`: what arrives, and how failures read."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
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
    tquic,
    until,
)

# HTTP/3, and HTTP/0.9.
BOTH = pytest.mark.parametrize("hq", [[], ["--hq"]], ids=["h3", "hq"])


@BOTH
def test_one_file_lands_here(server: Server, get: Get, tmp_path: Path, hq: list[str]) -> None:
    done = get(server.url("big.bin"), "--sha256", sha256("big.bin"), *hq)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "SHA-256 verified" in done.stderr
    assert (tmp_path / "big.bin").read_bytes() == CONTENT["big.bin"]
    assert names_in(tmp_path) == ["big.bin"]


@BOTH
def test_many_files_over_one_connection(
    server: Server, get: Get, tmp_path: Path, hq: list[str]
) -> None:
    names = {"empty": "empty", "small.txt": "small.txt", "with%20space.txt": "with space.txt"}
    names |= {"sub/below.txt": "below.txt", "link-inside": "link-inside", "big.bin": "big.bin"}
    done = get(*map(server.url, names), "-o", "new/folder/", "--json", *hq)
    assert done.returncode == 0, done.stderr
    result = document(done)
    assert result["ok"] is True
    assert len(result["connections"]) == 1
    assert result["bytes"] == sum(file["bytes"] for file in result["files"])
    folder = tmp_path / "new" / "folder"
    assert names_in(folder) == sorted(names.values())
    assert (folder / "with space.txt").read_bytes() == CONTENT["with space.txt"]
    assert (folder / "link-inside").read_bytes() == CONTENT["sub/below.txt"]
    assert (folder / "empty").read_bytes() == b""


def test_the_json_document(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(server.url("small.txt"), "-o", "x", "--sha256", sha256("small.txt"), "--json")
    result = document(done)
    assert set(result) == {
        "ok", "bytes", "seconds", "gbps", "protocol", "files", "connections",
    }  # fmt: skip
    (file,) = result["files"]
    assert file == {
        "url": server.url("small.txt"),
        "path": "x",
        "bytes": 6,
        "seconds": file["seconds"],
        "sha256": sha256("small.txt"),
        "verified": True,
        "error": None,
        "status": 200,
    }
    assert result["protocol"] == "h3"
    (connection,) = result["connections"]
    assert connection["remote"] == server.place
    assert connection["error"] is None
    assert connection["version"] == 1
    assert connection["handshake_seconds"] > 0


@BOTH
def test_standard_output_in_the_order_of_the_urls(server: Server, get: Get, hq: list[str]) -> None:
    done = get(*map(server.url, ["small.txt", "sub/below.txt", "small.txt"]), "-o", "-", *hq)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello\nbelow\nhello\n"


@BOTH
def test_a_reader_of_standard_output_may_leave(server: Server, certs: Path, hq: list[str]) -> None:
    process = subprocess.Popen(
        command("get", "--cacert", certs / "ca.pem", server.url("big.bin"), "-o", "-", *hq),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10) == CONTENT["big.bin"][:10]
    process.stdout.close()
    assert process.wait(PATIENCE) == 1
    told = process.stderr.read().decode()
    process.stderr.close()
    assert "nobody reads the output" in told
    assert "Traceback" not in told


def test_nowhere(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(server.url("big.bin"), "-o", os.devnull, "--sha256", sha256("big.bin"))
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path) == []


def test_localhost_by_name_and_another_place(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(f"https://localhost:{server.port}/small.txt")
    assert done.returncode == 0, done.stderr
    (tmp_path / "small.txt").unlink()
    # The certificate must be for the name in the URL, not for where the connection goes.
    elsewhere = get("https://localhost:1/small.txt", "--connect-to", server.place)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert (tmp_path / "small.txt").read_bytes() == CONTENT["small.txt"]


def test_the_second_connection_sends_requests_early(server: Server, get: Get) -> None:
    done = get(*map(server.url, ["small.txt", "empty", "big.bin"]), "--0rtt", "--json")
    assert done.returncode == 0, done.stderr
    first, second = document(done)["connections"]
    assert (first["resumed"], first["early_data"]) == (False, False)
    assert (second["resumed"], second["early_data"]) == (True, True)


def test_a_later_run_sends_requests_early(server: Server, get: Get, tmp_path: Path) -> None:
    """Tickets in a file: the first run gets them, the second one uses one."""
    url, tickets = server.url("small.txt"), tmp_path / "tickets"
    (first,) = document(get(url, "--0rtt", "--tickets", str(tickets), "--json"))["connections"]
    assert (first["resumed"], first["early_data"]) == (False, False)
    assert tickets.stat().st_mode & 0o077 == 0
    for _ in range(2):
        done = get(url, "--0rtt", "--tickets", str(tickets), "--json")
        assert done.returncode == 0, done.stderr
        (again,) = document(done)["connections"]
        assert (again["resumed"], again["early_data"]) == (True, True)
    (plain,) = document(get(url, "--tickets", str(tickets), "--json"))["connections"]
    assert (plain["resumed"], plain["early_data"]) == (True, False)


def test_the_environment_has_a_say(
    server: Server, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "TQUIC_CIPHERS", "TLS_CHACHA20_POLY1305_SHA256")
    (tmp_path / "tquic.toml").write_text("[tquic]\nversions = ['v2']\nmtu = '1300'\n")
    monkeypatch.setitem(ENVIRONMENT, "TQUIC_CONFIG", str(tmp_path / "tquic.toml"))
    done = get(server.url("small.txt"), "--json")
    assert done.returncode == 0, done.stderr
    (connection,) = document(done)["connections"]
    assert connection["cipher"] == "TLS_CHACHA20_POLY1305_SHA256"
    monkeypatch.setitem(ENVIRONMENT, "TQUIC_MTU", "1")
    done = get(server.url("small.txt"))
    assert done.returncode == 2
    assert "TQUIC_MTU: mtu must be from 1200" in done.stderr


def test_a_damaged_ticket_file_is_reported(server: Server, get: Get, tmp_path: Path) -> None:
    tickets = tmp_path / "tickets"
    tickets.write_text("no tickets")
    done = get(server.url("small.txt"), "--tickets", str(tickets))
    assert done.returncode == 0
    assert "holds no session tickets" in done.stderr
    assert "no tickets" not in tickets.read_text()


def test_a_wrong_checksum_leaves_no_file(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(server.url("small.txt"), "--sha256", "00" * 32)
    assert done.returncode == 1
    assert f"its SHA-256 is {sha256('small.txt')}" in done.stderr
    assert names_in(tmp_path) == []


def test_missing_files_fail_and_the_others_arrive(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(server.url("nothing"), server.url("small.txt"))
    assert done.returncode == 1
    assert f"{server.url('nothing')}: the server refused: it has no such file" in done.stderr
    assert names_in(tmp_path) == ["small.txt"]


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "sub/../../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "sub%2f..%2f..%2fsecret",
        "link-outside",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "small.txt%00",
        "sub",
    ],
)
@BOTH
def test_nothing_outside_of_the_folder_is_served(
    server: Server, get: Get, tmp_path: Path, path: str, hq: list[str]
) -> None:
    done = get(server.url(path), "-o", "stolen", *hq)
    assert done.returncode == 1, done.stderr
    assert "the server refused" in done.stderr
    assert names_in(tmp_path) == []


def test_an_unknown_ca(server: Server, tmp_path: Path) -> None:
    done = tquic("get", server.url("small.txt"), cwd=tmp_path)
    assert done.returncode == 1
    assert f"the certificate of {server.place} is not signed by a CA that is trusted" in done.stderr
    assert "--cacert" in done.stderr
    insecure = tquic("get", "--insecure", server.url("small.txt"), cwd=tmp_path)
    assert insecure.returncode == 0, insecure.stderr


def test_a_certificate_for_another_name(server: Server, get: Get) -> None:
    done = get("https://other.example/x", "--connect-to", server.place)
    assert done.returncode == 1
    assert "not for other.example" in done.stderr


def test_another_protocol(get: Get, certs: Path) -> None:
    cert, key = certs / "cert.pem", certs / "key.pem"
    with serving("perf", "server", "--cert", cert, "--key", key) as perf:
        done = get(perf.url("x"))
        old = get(perf.url("x"), "--hq")
    assert done.returncode == old.returncode == 1
    assert f"{perf.place} speaks QUIC, but not HTTP/3" in done.stderr
    assert f"{perf.place} speaks QUIC, but not hq-interop (HTTP/0.9)" in old.stderr


def test_nobody_there(get: Get) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        done = get(f"https://{place}/x", "--connect-timeout", "300ms", "--json")
    assert done.returncode == 1
    result = document(done)
    assert result["ok"] is False
    (file,) = result["files"]
    assert file["error"].startswith(f"no answer from {place} over UDP")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who sent what")
def test_a_closed_port(get: Get) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = get(f"https://127.0.0.1:{port}/x", "--connect-timeout", "1m")
    assert done.returncode == 1
    assert f"nobody listens at 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["https://no-such-host.invalid/x"], "cannot find the host no-such-host.invalid"),
        (["https://localhost/x", "-o", "no/such/folder/x"], "there is no folder no/such/folder"),
        (["https://localhost/x", "--cacert", "none.pem"], "cannot read none.pem"),
    ],
)
def test_what_fails_before_anything_is_sent(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = tquic("get", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ca_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN NOTHING-----\n")
    done = tquic("get", "--cacert", "ca.pem", "--json", "https://localhost/x", cwd=tmp_path)
    assert done.returncode == 1
    assert document(done)["error"] == (
        "ca.pem: the CA's PEM cannot be read: a section has no END line"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "URL"),
        (["http://localhost/x"], "https:// URLs only"),
        (["https:///x"], "HOST"),
        (["https://user@localhost/x"], "HOST"),
        (["https://localhost:99999/x"], "the port is no number"),
        (["https://localhost/"], "names no file"),
        (["https://localhost/a%2fb"], "names no file"),
        (["https://localhost/%2e%2e"], "names no file"),
        (["https://localhost/x", "https://127.0.0.1/x"], "would both become x"),
        (["https://localhost/x", "https://localhost/y", "-o", "z"], "several URLs need a folder"),
        (["https://localhost/x", "--sha256", "12"], "64 hexadecimal digits"),
        (["https://localhost/x", "https://localhost/y", "--sha256", "00" * 32], "one for each URL"),
        (["https://localhost/x", "--cacert", "a", "--insecure"], "not allowed with"),
        (["https://localhost/x", "--connect-to", "nowhere"], "HOST:PORT"),
        (["https://localhost/x", "-o", "-", "--json"], "both want standard output"),
        (["https://localhost/x", "--hq", "-C"], "-C is for HTTP/3"),
        (["https://localhost/x", "--hq", "-I"], "-I is for HTTP/3"),
        (["https://localhost/x", "--hq", "-H", "a: b"], "-H is for HTTP/3"),
        (["https://localhost/x", "-H", "a"], "is no field"),
        (["https://localhost/x", "-H", "a b: c"], "is no field"),
        (["https://localhost/x", "-H", "a: b\nc: d"], "is no field"),
        (["https://localhost/x", "--path", "a/b"], "neither an address nor the name"),
        (["https://localhost/x", "--path", "eth0@192.0.2.1"], "not a numeric address"),
        (["https://localhost/x", "--scheduler", "x"], "scheduler must be of"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = tquic("get", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stdout == ""
    assert names_in(tmp_path) == []


def test_ctrl_c_keeps_the_partial_file(www: Path, certs: Path, tmp_path: Path) -> None:
    big = www / "huge.bin"
    with big.open("wb") as file:
        file.truncate(8 << 30)
    cert, key = certs / "cert.pem", certs / "key.pem"
    try:
        with serving("serve", www, "--cert", cert, "--key", key) as server:
            process = subprocess.Popen(
                command("get", "--cacert", certs / "ca.pem", server.url("huge.bin")),
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=ENVIRONMENT,
            )
            part = tmp_path / "huge.bin.part"
            until(lambda: part.exists() and part.stat().st_size)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE)
    finally:
        big.unlink()
    assert process.returncode == 130, told
    assert "huge.bin.part keeps the" in told
    assert "Traceback" not in told
    assert names_in(tmp_path) == ["huge.bin.part"]
    part.unlink()


def test_the_header_section(server: Server, get: Get, tmp_path: Path) -> None:
    done = get(server.url("small.txt"), "-I")
    assert done.returncode == 0, done.stderr
    status, *lines = done.stdout.splitlines()
    assert status == "HTTP/3 200"
    assert "content-length: 6" in lines
    assert lines[-1] == ""
    assert names_in(tmp_path) == []
    done = get(server.url("small.txt"), "-i", "-o", "-", "-H", "Range: bytes=1-3")
    assert done.stdout.startswith("HTTP/3 206\n")
    assert done.stdout.endswith("\n\nell")
    done = get(server.url("nothing"), "-I", "--json")
    (file,) = document(done)["files"]
    assert file["status"] == 404
    assert "content-type" in dict(file["headers"])


def partial(tmp_path: Path, server: Server, get: Get, size: int, content: bytes) -> Path:
    """A partial file that an earlier run left, which had so many bytes."""
    part = tmp_path / "big.bin.part"
    done = get(server.url("big.bin"), "-I", "--json")
    (file,) = document(done)["files"]
    part.write_bytes(content[:size])
    try:
        origin = hashlib.sha256(server.url("big.bin").encode()).hexdigest()
        os.setxattr(part, "user.tquic.origin", origin.encode())
        os.setxattr(part, "user.tquic.validator", dict(file["headers"])["etag"].encode())
    except (OSError, AttributeError):
        pytest.skip("no attributes on this file system")
    return part


def test_a_download_goes_on(server: Server, get: Get, tmp_path: Path) -> None:
    content = CONTENT["big.bin"]
    partial(tmp_path, server, get, 1_000_000, content)
    done = get(server.url("big.bin"), "-C", "--json", "--sha256", sha256("big.bin"))
    assert done.returncode == 0, done.stderr
    (file,) = document(done)["files"]
    assert (file["status"], file["resumed_at"], file["verified"]) == (206, 1_000_000, True)
    assert (tmp_path / "big.bin").read_bytes() == content
    assert names_in(tmp_path) == ["big.bin"]
    assert not [name for name in os.listxattr(tmp_path / "big.bin") if "tquic" in name]


@pytest.mark.parametrize("case", ["other", "whole", "unknown", "without -C"])
def test_a_download_that_cannot_go_on(server: Server, get: Get, tmp_path: Path, case: str) -> None:
    content = CONTENT["big.bin"]
    size = len(content) if case == "whole" else 1_000_000
    part = partial(tmp_path, server, get, size, content)
    if case == "other":
        os.setxattr(part, "user.tquic.validator", b'"of another file"')
        part.write_bytes(b"x" * size)
    elif case == "unknown":
        os.removexattr(part, "user.tquic.validator")
    options = [] if case == "without -C" else ["-C"]
    done = get(server.url("big.bin"), *options, "--json")
    assert done.returncode == 0, done.stderr
    (file,) = document(done)["files"]
    assert file["status"] == 200
    assert file.get("resumed_at", 0) == 0
    assert (tmp_path / "big.bin").read_bytes() == content


def test_redirects_are_told(server: Server, get: Get) -> None:
    done = get(server.url("sub"), "-o", "x")
    assert done.returncode == 1
    assert "the server refused: 30" in done.stderr
    assert "/sub/" in done.stderr
