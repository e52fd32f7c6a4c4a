"""The closing line of `make test`."""

from pathlib import Path

import pytest

import summarize_tests

CARGO = """
running 2 tests
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
"""
PYTEST = '<testsuites><testsuite tests="9" failures="{}" errors="0" skipped="2"/></testsuites>'


def reports(folder: Path, rust: str, python: str) -> list[str]:
    (folder / "rust.txt").write_text(rust)
    (folder / "python.xml").write_text(python)
    return [str(folder / "rust.txt"), str(folder / "python.xml")]


def test_counts_are_added_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summarize_tests.main(reports(tmp_path, CARGO, PYTEST.format(0))) == 0
    assert capsys.readouterr().out == (
        f"test: rust 7 passed 1 skipped, python 7 passed 2 skipped; report in {tmp_path}/\n"
    )


@pytest.mark.parametrize(
    ("rust", "python"),
    [
        (CARGO, PYTEST.format(1)),
        (CARGO.replace("0 failed", "1 failed"), PYTEST.format(0)),
        ("", PYTEST.format(0)),
        (CARGO, "<testsuites/>"),
    ],
)
def test_a_failure_or_no_test_at_all_fails(tmp_path: Path, rust: str, python: str) -> None:
    assert summarize_tests.main(reports(tmp_path, rust, python)) == 1


def test_a_missing_report_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rust.txt").write_text(CARGO)
    absent = tmp_path / "python.xml"
    assert summarize_tests.main([str(tmp_path / "rust.txt"), str(absent)]) == 1
    assert f"there is no {absent}" in capsys.readouterr().out
