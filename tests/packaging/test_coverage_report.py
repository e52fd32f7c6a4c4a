"""What LLVM tells of a file becomes lines and regions; code of tests does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

coverage_report = pytest.importorskip("coverage_report")

# Line, column, executions, known, a region begins, a gap: a function of which one branch ran.
SEGMENTS = [
    [3, 1, 5, True, True, False],
    [5, 9, 0, True, True, False],
    [7, 6, 5, True, False, False],
    [9, 2, 0, False, False, False],
    [20, 1, 7, True, True, False],
    [22, 2, 0, False, False, False],
]


def test_lines_and_regions() -> None:
    one = coverage_report.count(SEGMENTS, 19)
    # Line 5 begins in what ran five times, line 7 in what never did.
    assert (one.lines, one.lines_run, one.unrun) == (7, 5, [6, 7])
    assert (one.regions, one.regions_run) == (2, 1)
    with_tests = coverage_report.count(SEGMENTS, 99)
    assert (with_tests.lines, with_tests.regions) == (10, 3)


def test_nothing_is_rounded_up_to_all() -> None:
    assert coverage_report.share(9999, 10_000) == "99.9 %"
    assert coverage_report.share(3, 3) == "100.0 %"


def test_spans() -> None:
    assert coverage_report.spans([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert coverage_report.spans([]) == ""


def test_where_tests_begin(tmp_path: Path) -> None:
    source = tmp_path / "x.rs"
    source.write_text("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n")
    assert coverage_report.end_of_code(source.read_text()) == 2
    assert coverage_report.end_of_code("#[cfg(test)]\nmod tests;\n") > 1000


def test_rows_of_what_was_not_measured_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage_report, "commit", lambda: "0123abc")
    one = coverage_report.count(SEGMENTS, 19)
    first = coverage_report.table({"rust/core/src/rx/mod.rs": one}, None)
    assert "| `rust/core/src/rx` | 7 | 71.4 % | 50.0 % | 0123abc, " in first
    page = f"{coverage_report.MARK}\n\n{first}\n<!-- end -->\n| `rust/net` | 1 | 1 | 1 | x |\n"
    both = coverage_report.table({"rust/wire/src/pn.rs": one}, page).splitlines()
    assert [line.split("|")[1].strip() for line in both[2:]] == [
        "`rust/wire`",
        "`rust/core`",
        "`rust/core/src/rx`",
    ]
    assert both[3:] == first.splitlines()[2:]
