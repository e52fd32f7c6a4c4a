"""LLVM's own tools of the compiler's version: what they read and write is for that one only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path


class ToolError(Exception):
    """A tool that is not here, and where it can be had."""


def find(name: str) -> str:
    """`name`, such as ``llvm-cov``, of the LLVM that rustc uses.

    Looked for in the variable named like it (``LLVM_COV``), in the toolchain (rustup's component
    ``llvm-tools``) and among the programs of the system.

    Raises:
        ToolError: There is none of that version.
    """
    version = _compiler_version()
    variable = name.upper().replace("-", "_")
    chosen = os.environ.get(variable)
    candidates = [chosen] if chosen else [_of_toolchain(name), f"{name}-{version}", name]
    others = []
    for candidate in candidates:
        if path := shutil.which(candidate):
            found = _major(_output(path, "--version"))
            if found == version:
                return path
            others.append(f"{path} is of {f'LLVM {found}' if found else 'another version'}")
    reason = "; ".join(others) or f"there is no {chosen or name} here"
    raise ToolError(
        f"{name} of LLVM {version} is needed, as rustc's LLVM is: {reason}. Debian has it in "
        f"llvm-{version}, rustup in the component llvm-tools; {variable} may name one"
    )


def _compiler_version() -> str:
    version = _major(_output("rustc", "-vV"))
    if version is None:
        raise ToolError("rustc -vV does not tell the version of its LLVM")
    return version


def _of_toolchain(name: str) -> str:
    libraries = _output("rustc", "--print", "target-libdir").strip()
    return str(Path(libraries).parent / "bin" / name)


def _major(text: str) -> str | None:
    # "LLVM version: 22.1.2" says rustc, "LLVM version 22.1.8" the tools.
    found = re.search(r"LLVM version:? (\d+)", text)
    return found[1] if found else None


def _output(*command: str) -> str:
    # Old tools have no --version, and say so with a status.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout
