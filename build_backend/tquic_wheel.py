"""Opens a finished wheel and says whether every compiled module in it can be imported.

maturin does not know about the Cython modules and ships what it finds, and a wheel that lacks
one, or holds one for another interpreter, installs without complaint and fails at import. So the
build looks, and so may anyone: ``python build_backend/tquic_wheel.py wheels/*.whl``.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path, PurePosixPath

# Modules compiled from Rust; those from Cython are found by their sources.
ENGINE = "tquic._engine"

# What a module carries between its name and the platform, for the one interpreter it is for.
_OBJECT = re.compile(r"(?!lib)(?P<module>\w+)(?P<suffix>(\.[\w-]+)?\.(so|pyd))")

# Files without which the package is there but type checkers do not see it.
_TYPING = ("tquic/py.typed", "tquic/_engine.pyi")


class WheelError(Exception):
    """The wheel must not be shipped; the message says why."""


def interpreter_tag() -> tuple[str, str]:
    """The Python and ABI tags of wheels for the running interpreter, as ``("cp311", "cp311")``."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return python, python + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")


def cython_modules(root: Path) -> list[str]:
    """The modules compiled from Cython, as dotted names: one for each ``.pyx`` file."""
    sources = root / "cython"
    return sorted(
        ".".join(path.relative_to(sources).with_suffix("").parts) for path in sources.rglob("*.pyx")
    )


def expected_modules(root: Path) -> list[str]:
    """Every compiled module of the package."""
    return [ENGINE, *cython_modules(root)]


def check_wheel(
    wheel: Path,
    modules: Iterable[str],
    suffix: str,
    tag: tuple[str, str],
    libraries: Iterable[str] = (),
) -> None:
    """Raises `WheelError` unless ``wheel`` carries ``modules`` for exactly one interpreter.

    ``suffix`` is what that interpreter's extension modules end in (``EXT_SUFFIX``), ``tag`` its
    Python and ABI tags. ``libraries`` are files of the package for other programs.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            metadata = _wheel_metadata(wheel, archive, names)
    except (OSError, zipfile.BadZipFile) as error:
        raise WheelError(f"{wheel.name} cannot be read as a wheel: {error}") from error
    _check_tags(wheel, metadata, tag)
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise WheelError(f"{wheel.name} holds the same file twice: {', '.join(twice)}")
    _check_objects(wheel, names, list(modules), suffix)
    for library in libraries:
        if f"tquic/{library}" not in names:
            raise WheelError(f"{wheel.name} lacks {library}, which was built for it")
    if not any(".dist-info/sboms/" in name for name in names):
        raise WheelError(f"{wheel.name} lacks its bill of materials (PEP 770)")
    for name in _TYPING:
        if name not in names:
            raise WheelError(f"{wheel.name} lacks {name}: type checkers would not see the package")


def _wheel_metadata(wheel: Path, archive: zipfile.ZipFile, names: list[str]) -> str:
    for name in names:
        if name.endswith(".dist-info/WHEEL"):
            return archive.read(name).decode()
    raise WheelError(f"{wheel.name} has no .dist-info/WHEEL file: it is not a finished wheel")


def _check_tags(wheel: Path, metadata: str, tag: tuple[str, str]) -> None:
    """The tag in the file name is what installers match; the one inside must not differ."""
    expected = "-".join(tag)
    parts = wheel.stem.split("-")
    named = "-".join(parts[-3:-1])
    if named != expected:
        raise WheelError(
            f"{wheel.name} is tagged {named}, but this interpreter needs {expected}: "
            "the modules are built for one Python version, not for the stable ABI"
        )
    inside = Parser().parsestr(metadata).get_all("Tag", [])
    if not inside or any(not entry.startswith(f"{expected}-") for entry in inside):
        listed = ", ".join(inside) or "nothing"
        raise WheelError(f"{wheel.name} says {listed} in its WHEEL file instead of {expected}")


def _check_objects(wheel: Path, names: list[str], modules: list[str], suffix: str) -> None:
    found: dict[str, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        match = _OBJECT.fullmatch(path.name)
        if match and path.parts[0] == "tquic":
            module = ".".join([*path.parts[:-1], match["module"]])
            found.setdefault(module, []).append(match["suffix"])
    for module in modules:
        suffixes = found.pop(module, [])
        stem = module.replace(".", "/")
        if not suffixes:
            raise WheelError(f"{wheel.name} lacks the compiled module {stem}{suffix}")
        wrong = [entry for entry in suffixes if entry != suffix]
        if wrong:
            raise WheelError(
                f"{wheel.name} holds {stem}{wrong[0]}, which this interpreter does not import: "
                f"it needs {stem}{suffix}"
            )
    if found:
        extra = ", ".join(sorted(found))
        raise WheelError(f"{wheel.name} holds compiled modules that have no source: {extra}")


def main(arguments: list[str]) -> int:
    """Checks the wheels named, as built for the running interpreter, or lists the modules."""
    modules = expected_modules(Path(__file__).resolve().parent.parent)
    if arguments == ["--modules"]:
        print(*modules)
        return 0
    if not arguments:
        print("usage: tquic_wheel.py --modules | WHEEL...", file=sys.stderr)
        return 2
    for argument in arguments:
        wheel = Path(argument)
        try:
            check_wheel(wheel, modules, sysconfig.get_config_var("EXT_SUFFIX"), interpreter_tag())
        except WheelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        print(f"{wheel.name}: {', '.join(modules)} as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
