"""Path schedulers written in C: compiled to eBPF by clang, verified and run by the engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from tquic._engine import BpfProgram
from tquic.errors import ConfigError

__all__ = ["SchedulerProgram", "compile_scheduler", "get_include", "load_scheduler"]


@dataclass(frozen=True)
class SchedulerProgram:
    """A scheduler that was verified: it does no harm, whatever else it does. For `Config.scheduler`
    and `tquic.Connection.set_scheduler`.

    Attributes:
        name: what it calls itself.
        callbacks: the function in C for each callback that it has, such as
            ``{"select_path": "my_select_path"}``.
        instructions: how many it has, all functions together.
        memory: bytes that it takes for each connection.
        interpreted_because: why there is no machine code for it, so that it is interpreted; `None`
            if there is.
    """

    name: str
    callbacks: dict[str, str]
    instructions: int
    memory: int
    interpreted_because: str | None
    _native: BpfProgram = field(repr=False, compare=False)


def get_include() -> str:
    """The folder of ``tquic_bpf.h``, ``bpf/bpf_helpers.h`` and ``bpf/bpf_tracing.h``, for
    ``clang -I``.
    """
    return str(Path(__file__).parent / "include")


def compile_scheduler(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    clang: str = "clang",
) -> Path:
    """Compiles a scheduler in C to an eBPF object and returns where it lies.

    Args:
        source: the file in C. ``tquic_bpf.h`` is included before it.
        output: the object; beside the source by default, ending in ``.o``.
        clang: the compiler, 12 or newer.

    Raises:
        ConfigError: there is no such compiler, or it found a mistake; the message has what it
            printed.
    """
    path = Path(source)
    target = path.with_suffix(".o") if output is None else Path(output)
    if target == path:
        raise ConfigError(f"{path} would be overwritten by its own object")
    compiler = shutil.which(clang)
    if compiler is None:
        raise ConfigError(f"there is no {clang} here; Debian's comes with `apt-get install clang`")
    command = [compiler, *_flags(), "-c", str(path), "-o", str(target)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        printed = done.stderr.strip() or f"{clang} ended with status {done.returncode}"
        raise ConfigError(f"{path} does not compile:\n{printed}")
    return target


def _flags() -> list[str]:
    """The third version of the instruction set is what the engine knows; -g keeps line numbers."""
    flags = ["-O2", "-g", "-Wall", "-target", "bpf", "-mcpu=v3", f"-I{get_include()}"]
    # Debian keeps a part of the kernel's headers in a folder of the machine's architecture, where
    # clang does not look for another one's.
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        flags += ["-idirafter", f"/usr/include/{multiarch}"]
    return [*flags, "-include", "tquic_bpf.h"]


def load_scheduler(path: str | os.PathLike[str]) -> SchedulerProgram:
    """Loads an object and verifies it, as an engine does.

    Raises:
        ConfigError: it cannot be loaded, or is not safe: the message names the function, the
            instruction and what is wrong with it.
        OSError: it cannot be read.
    """
    program = BpfProgram(Path(path).read_bytes())
    return SchedulerProgram(
        name=program.name,
        callbacks=program.callbacks,
        instructions=program.instructions,
        memory=program.memory,
        interpreted_because=program.interpreted_because,
        _native=program,
    )
