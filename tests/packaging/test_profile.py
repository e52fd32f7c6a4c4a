"""A build takes the profile that it is told of, or fails: it never goes on without."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

tquic_profile = pytest.importorskip("tquic_profile")

pytestmark = pytest.mark.skipif(shutil.which("rustc") is None, reason="needs a compiler")


def test_without_a_profile_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSTFLAGS", "-C opt-level=1")
    # What make sets when there is none.
    for name in (None, ""):
        monkeypatch.delenv("PGO_PROFILE", raising=False)
        if name is not None:
            monkeypatch.setenv("PGO_PROFILE", name)
        with tquic_profile.used():
            assert os.environ["RUSTFLAGS"] == "-C opt-level=1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "does not exist"), ("garbage", "bad magic"), ("with space", "with a space")],
)
def test_a_profile_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    """The compiler itself only warns, and goes on."""
    (tmp_path / "garbage").write_bytes(b"no profile")
    monkeypatch.setenv("PGO_PROFILE", str(tmp_path / name))
    monkeypatch.setenv("RUSTFLAGS", "-C opt-level=1")
    with pytest.raises(SystemExit, match=f"{name}: .*{reason}"), tquic_profile.used():
        pytest.fail("the build began")
    assert os.environ["RUSTFLAGS"] == "-C opt-level=1"


def test_a_profile_of_another_build_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The compiler says nothing of it."""
    ours, others = (
        b"\0".join(b"_ZN10tquic_core4%d17h%016xE" % (n, n * factor) for n in range(100, 200))
        for factor in (1, 3)
    )
    (tmp_path / "profile").write_bytes(b"lprofi" + others + b"\0" + ours[: len(ours) // 4])
    # Without a profile everything is well.
    monkeypatch.delenv("PGO_PROFILE", raising=False)
    tquic_profile.check(ours)
    monkeypatch.setenv("PGO_PROFILE", str(tmp_path / "profile"))
    with pytest.raises(tquic_profile.ProfileError, match="another build: it knows 25 of 100"):
        tquic_profile.check(ours)
    tquic_profile.check(others)
    tquic_profile.check(b"a library without names")
    assert "knows 100 of 100 functions" in capsys.readouterr().out


def test_compilers_are_told_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    llvm_tools = pytest.importorskip("llvm_tools")
    try:
        profdata = llvm_tools.find("llvm-profdata")
    except llvm_tools.ToolError as error:
        pytest.skip(str(error))
    # One without functions is a profile, too.
    (tmp_path / "counts.proftext").write_text(":ir\n")
    merge = [profdata, "merge", "--output=some.profdata", "counts.proftext"]
    subprocess.run(merge, cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGO_PROFILE", "some.profdata")
    monkeypatch.delenv("RUSTFLAGS", raising=False)
    with tquic_profile.used():
        assert os.environ["RUSTFLAGS"] == f"-Cprofile-use={tmp_path / 'some.profdata'}"
    assert "RUSTFLAGS" not in os.environ


def test_programs_run_where_there_is_a_profile() -> None:
    """`make test PROFILE=...` runs them: a setting of the package would be an unknown one."""
    assert not tquic_profile.VARIABLE.startswith("TQUIC_")
