"""The public names of the package, from its sources: what ``__all__`` of its public modules says.

A module is public unless it, or a package around it, begins with an underscore. The commands are
no interface for programs; docs/cli.md describes them.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "python" / "tquic"
COMMANDS = {"tquic.cli", "tquic.interop", "tquic.__main__"}


def modules() -> dict[str, Path]:
    """The public modules: their names, and where they lie."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        name = ".".join(parts)
        hidden = any(part.startswith("_") for part in parts)
        if not hidden and not any(f"{name}.".startswith(f"{c}.") for c in COMMANDS):
            found[name] = path
    return found


def names(path: Path) -> list[str]:
    """What ``__all__`` of a module says; nothing if there is none."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    return []


def places() -> dict[str, set[str]]:
    """For each public object, by where it is defined, the full names under which it can be had; one
    has to be documented.

    Some names are those of another module: ``tquic.connect`` is ``tquic.client.connect``.
    """
    found = modules()
    passed_on = {module: _imports(path) for module, path in found.items()}
    same: dict[str, set[str]] = {}
    for module, path in found.items():
        for name in names(path):
            origin = (module, name)
            while origin[1] in passed_on.get(origin[0], {}):
                origin = passed_on[origin[0]][origin[1]]
            same.setdefault(".".join(origin), set()).add(f"{module}.{name}")
    return same


def _imports(path: Path) -> dict[str, tuple[str, str]]:
    """What a module imports by name: where from, and how it is called there."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
