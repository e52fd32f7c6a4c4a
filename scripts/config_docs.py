"""Writes docs/configuration.md from `tquic.Config`, where every setting is documented.

`python scripts/config_docs.py` writes it, with `--check` it only says whether it is current.
"""

from __future__ import annotations

import ast
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "python/tquic/config.py"
PAGE = ROOT / "docs/configuration.md"

HEAD = """\
# Configuration

<!-- Written by scripts/config_docs.py from python/tquic/config.py: change it there. -->

`tquic.Config` holds every setting of a connection or a server. It is made once and never changes;
`config.replace(...)` makes another one. Times are in seconds, sizes in bytes.

## Where settings come from

`Config.load(path, **keywords)` takes, in this order: keywords, environment variables, the file,
defaults. `Config.from_env` and `Config.from_toml` take one of these sources alone.

- **Keywords**: the names below. Numbers may be texts with units.
- **Variables**: `TQUIC_` and the name in capitals, such as `TQUIC_IDLE_TIMEOUT=30s`. Several
  values stand with commas between. An empty variable does not count. `TQUIC_CONFIG` names the
  file where the program does not.
- **File**: TOML, in the table `[tquic]` or another that the program names. Paths are seen from
  the folder of the file.

Sizes take `K M G` (powers of 1000) and `Ki Mi Gi` (powers of 1024); times take `us ms s m`,
without a unit they are seconds. True and false may be written `1 0 yes no on off`. An unknown
name, or a value that cannot be used, is a `ConfigError` that names the variable, or the file and
the line.

```toml
[tquic]
idle_timeout = "1m"
congestion = "cubic"
cert = "server.pem"
key = "server.key"
certificates = [{ name = "*.example.com", cert = "example.pem", key = "example.key" }]
```

`tquic.TlsContext` collects the settings of TLS under the names of `ssl.SSLContext` and makes a
`Config` of them; see [TLS](tls.md).
"""

# In the order of the page: how a value of this kind is written.
WRITTEN = {
    "bool": "true or false",
    "int": "number or size",
    "float": "time",
    "bytes": "hexadecimal digits",
    "SessionStore": "path",
    "Credential": "path",
    "str | os.PathLike[str]": "path",
    "SniCallback": "only in a program",
    "tuple[tuple[str, int], ...]": "`HOST:PORT`, several with commas",
    "tuple[tuple[str, Credential, Credential], ...]": "only in a program or a file",
}


class Setting(NamedTuple):
    """One field, as it stands in the source."""

    section: str
    name: str
    kind: str
    text: str


def settings(source: str) -> list[Setting]:
    """The fields of `Config` with their sections and documentation."""
    lines = source.splitlines()
    body = next(
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
    )
    found = []
    for node, after in itertools.pairwise(body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        text = after.value if isinstance(after, ast.Expr) else None
        doc = text.value if isinstance(text, ast.Constant) else None
        if not isinstance(doc, str):
            raise ValueError(f"{node.target.id} has no documentation")
        section = next(
            line.strip().strip("# -")
            for line in reversed(lines[: node.lineno])
            if line.strip().startswith("# ----")
        )
        kind = ast.unparse(node.annotation).removesuffix(" | None")
        found.append(Setting(section, node.target.id, kind, " ".join(doc.split())))
    return found


def markdown(text: str) -> str:
    """Documentation as it stands in the source, for Markdown."""
    return text.replace("``", "`")


def page(source: str) -> str:
    """The whole page."""
    parts = [HEAD]
    section = ""
    for setting in settings(source):
        if setting.section != section:
            section = setting.section
            parts.append(f"\n## {section}\n")
        several = setting.kind.startswith("tuple[") and setting.kind not in WRITTEN
        written = WRITTEN.get(setting.kind, "text, several with commas" if several else "text")
        parts.append(
            f"\n### `{setting.name}`\n\n{markdown(setting.text)}\n\n"
            f"Variable `TQUIC_{setting.name.upper()}`; {written}.\n"
        )
    return "".join(parts)


def main() -> int:
    """The exit status."""
    wanted = page(SOURCE.read_text(encoding="utf-8"))
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        print(f"{PAGE.relative_to(ROOT)}: {'current' if current else 'not current'}")
        return 0 if current else 1
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
