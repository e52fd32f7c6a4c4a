"""A database that cannot be reached is no finding, and no clean bill of health either."""

from __future__ import annotations

from pathlib import Path

import pytest

audit = pytest.importorskip("audit")


@pytest.mark.parametrize(
    ("status", "printed", "result"),
    [
        (0, "", "passed"),
        (1, "error: 1 vulnerability found!", "failed"),
        (1, "error: couldn't fetch advisory database: git operation failed", "not checked"),
        # A part could be asked: what was found there counts, and the rest is no clean bill.
        (1, "Found 2 known vulnerabilities in 1 package\nx could not be audited", "failed"),
        (0, "No known vulnerabilities found\nx could not be audited: x (1.0)", "not checked"),
        (1, "ConnectionError: Max retries exceeded with url: /pypi/x/json", "not checked"),
    ],
)
def test_verdicts(status: int, printed: str, result: str) -> None:
    assert audit.verdict(status, printed) == result


def test_what_fails_is_shown_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (
        ("cargo-deny", "exit 0"),
        ("cargo-audit", "echo RUSTSEC-0000-0000; exit 1"),
        ("pip-audit", "echo 'NameResolutionError: pypi.org'; exit 1"),
    ):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    assert audit.main([str(tmp_path), str(tmp_path / "pip-audit")]) == 1
    out = capsys.readouterr().out
    assert "bans of Rust crates: passed" in out
    assert "RUSTSEC-0000-0000\nadvisories about Rust crates: failed" in out
    assert out.count("not checked") == 2
    last = out.splitlines()[-1]
    assert "NOT CHECKED" in last
    assert "requirements-dev.txt; advisories about requirements-docs.txt" in last


def test_nothing_is_said_of_databases_that_were_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cargo-deny", "cargo-audit", "pip-audit"):
        tool = tmp_path / name
        tool.write_text("#!/bin/sh\nexit 0\n")
        tool.chmod(0o755)
    assert audit.main([str(tmp_path), str(tmp_path / "pip-audit")]) == 0
    assert "NOT CHECKED" not in capsys.readouterr().out
