"""`python -m tquic.interop`: the contract of the interop runner's environment."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .support import CONTENT, ENVIRONMENT, PATIENCE, names_in

COMMAND = [sys.executable, "-m", "tquic.interop"]


@pytest.fixture
def environment(certs: Path, www: Path, tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "certs"
    folder.mkdir()
    for name, source in {"ca.pem": "ca.pem", "cert.pem": "cert.pem", "priv.key": "key.pem"}.items():
        shutil.copy(certs / source, folder / name)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    return ENVIRONMENT | {"CERTS": str(folder), "WWW": str(www), "DOWNLOADS": str(downloads)}


@contextmanager
def server(environment: dict[str, str], case: str) -> Iterator[int]:
    process = subprocess.Popen(
        COMMAND,
        env=environment | {"ROLE": "server", "TESTCASE": case, "HOST": "127.0.0.1", "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def client(environment: dict[str, str], case: str, urls: list[str]) -> int:
    done = subprocess.run(
        COMMAND,
        env=environment | {"ROLE": "client", "TESTCASE": case, "REQUESTS": " ".join(urls)},
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize(
    ("case", "served"),
    [
        ("handshake", "handshake"),
        ("transfer", "transfer"),
        ("chacha20", "chacha20"),
        ("retry", "retry"),
        ("resumption", "resumption"),
        ("zerortt", "zerortt"),
        ("keyupdate", "transfer"),
        ("v2", "v2"),
        ("ecn", "ecn"),
        ("multiconnect", "multiconnect"),
        ("http3", "http3"),
    ],
)
def test_files_arrive(environment: dict[str, str], case: str, served: str) -> None:
    names = ["small.txt", "big.bin", "empty"]
    with server(environment, served) as port:
        assert client(environment, case, [f"https://127.0.0.1:{port}/{n}" for n in names]) == 0
    downloads = Path(environment["DOWNLOADS"])
    assert {path.name: path.read_bytes() for path in downloads.iterdir()} == {
        name: CONTENT[name] for name in names
    }


def test_secrets_are_logged(environment: dict[str, str], tmp_path: Path) -> None:
    environment = environment | {"SSLKEYLOGFILE": str(tmp_path / "keys")}
    with server(environment, "handshake") as port:
        assert client(environment, "handshake", [f"https://127.0.0.1:{port}/small.txt"]) == 0
    assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


@pytest.mark.parametrize("role", ["client", "server", "spectator"])
def test_unknown_cases_and_roles_are_refused(environment: dict[str, str], role: str) -> None:
    case = "transfer" if role == "spectator" else "no-such-case"
    done = subprocess.run(
        COMMAND,
        env=environment | {"ROLE": role, "TESTCASE": case, "REQUESTS": "https://localhost/x"},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 127


def test_a_missing_file_fails_the_client(environment: dict[str, str]) -> None:
    with server(environment, "transfer") as port:
        assert client(environment, "transfer", [f"https://127.0.0.1:{port}/nothing"]) == 1
    assert names_in(Path(environment["DOWNLOADS"])) == []
