"""`tquic cert`."""

import ssl
import stat
from pathlib import Path

import pytest

from .support import tquic


def test_three_files_that_belong_together(tmp_path: Path) -> None:
    done = tquic("cert", "--out", tmp_path / "new" / "folder")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert all(str(folder / name) in done.stdout for name in ("ca.pem", "cert.pem", "key.pem"))


def test_names(tmp_path: Path) -> None:
    done = tquic("cert", "--out", tmp_path, "--name", "a.example", "--name", "192.0.2.1")
    assert done.returncode == 0, done.stderr
    decoded = ssl._ssl._test_decode_cert(str(tmp_path / "cert.pem"))  # type: ignore[attr-defined]
    assert decoded["subjectAltName"] == (("DNS", "a.example"), ("IP Address", "192.0.2.1"))
    default = tquic("cert", "--out", tmp_path)
    assert default.returncode == 0
    decoded = ssl._ssl._test_decode_cert(str(tmp_path / "cert.pem"))  # type: ignore[attr-defined]
    assert [value for _, value in decoded["subjectAltName"]] == [
        "localhost",
        "127.0.0.1",
        "0:0:0:0:0:0:0:1",
    ]


@pytest.mark.parametrize("name", ["näme.example", "a\u0000b"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    if "\0" in name:
        pytest.skip("no argument can hold it")
    done = tquic("cert", "--out", tmp_path, "--name", name)
    assert done.returncode == 1
    assert "no certificate can be made for" in done.stderr


@pytest.mark.parametrize("days", ["0", "-5", "99999999999", "soon"])
def test_days_that_cannot_be(tmp_path: Path, days: str) -> None:
    done = tquic("cert", "--out", tmp_path, f"--days={days}")
    assert done.returncode == 2
    assert "argument --days: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tquic("cert", "--out", tmp_path / "file")
    assert done.returncode == 1
    assert "cannot write to" in done.stderr
    assert "Traceback" not in done.stderr
