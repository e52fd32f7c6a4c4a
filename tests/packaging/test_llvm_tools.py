"""Tools of LLVM are those of the compiler's version, or it is said where they can be had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

llvm_tools = pytest.importorskip("llvm_tools")

SHELL = shutil.which("sh")

pytestmark = pytest.mark.skipif(SHELL is None, reason="programs are shell scripts")


def program(path: Path, says: str) -> str:
    """A program that prints this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{SHELL}\nprintf '{says}\\n'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs; a compiler is in it."""
    folder = tmp_path / "bin"
    # What it is asked for, it says all of: its version, and where its libraries lie.
    rustc = program(folder / "rustc", "")
    libraries = tmp_path / "toolchain" / "lib"
    Path(rustc).write_text(
        f"#!{SHELL}\n"
        f'if [ "$1" = -vV ]; then echo "LLVM version: 22.1.2"; else echo {libraries}; fi\n'
    )
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("LLVM_COV", raising=False)
    return folder


def test_the_version_decides(system: Path) -> None:
    program(system / "llvm-cov", "Debian LLVM version 14.0.6")
    fits = program(system / "llvm-cov-22", "Debian LLVM version 22.1.8")
    assert llvm_tools.find("llvm-cov") == fits
    own = program(system.parent / "toolchain/bin/llvm-cov", "LLVM version 22.1.2-rust-1.95.0")
    assert llvm_tools.find("llvm-cov") == own


def test_a_program_without_a_version_in_its_name(system: Path) -> None:
    fits = program(system / "llvm-cov", "LLVM version 22.0.0")
    assert llvm_tools.find("llvm-cov") == fits


def test_the_environment_chooses(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(system / "llvm-cov-22", "LLVM version 22.1.8")
    chosen = program(system.parent / "chosen", "LLVM version 22.0.1")
    monkeypatch.setenv("LLVM_COV", chosen)
    assert llvm_tools.find("llvm-cov") == chosen
    # It is not set aside for another.
    program(system.parent / "chosen", "LLVM version 21.1.0")
    with pytest.raises(llvm_tools.ToolError, match="chosen is of LLVM 21"):
        llvm_tools.find("llvm-cov")


def test_what_is_missing_can_be_had(system: Path) -> None:
    with pytest.raises(llvm_tools.ToolError, match=r"no llvm-cov here.*Debian has it in llvm-22"):
        llvm_tools.find("llvm-cov")
    # So old that it does not know the option.
    program(system / "llvm-cov", "Unknown command!")
    with pytest.raises(llvm_tools.ToolError, match=r"llvm-cov of LLVM 22 .*of another version"):
        llvm_tools.find("llvm-cov")
