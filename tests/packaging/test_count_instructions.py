"""The verdict of `make instructions`."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

import count_instructions
from count_instructions import Baseline, CountError, collected, compiler, count, report


def baseline(**operations: int) -> Baseline:
    return Baseline(compiler(), platform.machine(), operations)


def test_a_few_per_cent_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert report({"seal": 1049, "open": 10}, baseline(seal=1000, open=1000))
    shown = capsys.readouterr().out
    assert "+4.9%" in shown
    assert "record it" in shown


@pytest.mark.parametrize(
    "counts", [{"seal": 1051, "open": 7}, {"seal": 1000}, {"seal": 1, "open": 7, "new": 1}]
)
def test_more_than_recorded_fails(
    counts: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not report(counts, baseline(seal=1000, open=7))
    assert "UPDATE=1" in capsys.readouterr().out


def test_counts_of_another_compiler_are_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    recorded = Baseline("rustc 1.2.3", platform.machine(), {"seal": 1})
    assert report({"seal": 1000}, recorded)
    assert "not judged" in capsys.readouterr().out


def test_the_sum_of_a_dump() -> None:
    assert collected("desc: x\nsummary: 1200\n\nfn=(1) a\n1 7\ntotals: 1200\n") == 1200
    with pytest.raises(CountError, match="nothing"):
        collected("summary: 0\n")


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")
def test_operations_are_run_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a valgrind and a program that only look like these."""
    valgrind, program = tmp_path / "valgrind", tmp_path / "operations"
    valgrind.write_text(
        "#!/bin/sh\n"
        "for last; do case $last in --callgrind-out-file=*) file=${last#*=};; esac; done\n"
        'echo "summary: 8$(printf %s "$last" | wc -c | tr -d " ")" > "$file"\n'
    )
    program.write_text("#!/bin/sh\necho 8\necho ab\necho abcd\n")
    for file in (valgrind, program):
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert count(program) == {"ab": round(82 / 8), "abcd": round(84 / 8)}


def test_a_baseline_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "instructions.json"
    baseline(seal=5, open=6).write(path)
    assert Baseline.load(path) == baseline(seal=5, open=6)


def test_without_valgrind_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["count_instructions.py", "nothing"])
    monkeypatch.setattr(count_instructions.shutil, "which", lambda _: None)
    assert count_instructions.main() == 2
    assert "valgrind is not installed" in capsys.readouterr().out
