"""What the documentation site does beyond MkDocs and its plugins; see mkdocs.yml.

The pages are written to be read in the repository, too. So the site takes the pages at the root of
the repository in under ``project/``, turns links to them round, and links every name of the package
that stands in the text to its place in the reference. At the end, every public name must have one.
"""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import public_names

ROOT = Path(__file__).parents[1]
PROJECT = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

# A link's target as it stands in a page at the root, and in one in docs.
TO_DOCS = re.compile(r"(\]\()docs/")
TO_ROOT = re.compile(rf"(\]\((?:\.\./)*)\.\./({'|'.join(map(re.escape, PROJECT))})")
MARKED = re.compile(r"^```python .+$", re.MULTILINE)
# What is left as it is: headings, code blocks, links.
KEPT = re.compile(r"<(h\d|pre|a|autoref|title)\b.*?</\1>", re.DOTALL)
NAME = re.compile(r"<code>((?:tquic\.)?[A-Z]\w+(?:\.\w+)*|tquic\.\w+(?:\.\w+)*)(\(\))?</code>")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages at the root of the repository."""
    for name in PROJECT:
        files.append(File.generated(config, f"project/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links round, and drops the marks that only the tests of the examples know."""
    markdown = MARKED.sub("```python", markdown)
    if page.file.src_uri.startswith("project/"):
        return TO_DOCS.sub(r"\1../", markdown)
    return TO_ROOT.sub(r"\1project/\2", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Links names to the reference, where they have a place there."""
    parts, end = [], 0
    for kept in KEPT.finditer(html):
        parts += [NAME.sub(_linked, html[end : kept.start()]), kept[0]]
        end = kept.end()
    return "".join([*parts, NAME.sub(_linked, html[end:])])


def _linked(code: re.Match[str]) -> str:
    name = code[1] if code[1].startswith("tquic.") else f"tquic.{code[1]}"
    return f'<autoref identifier="{name}" optional>{code[0]}</autoref>'


def on_post_build(config: Any) -> None:
    """Every public name is in the inventory of the reference."""
    inventory = (Path(config["site_dir"]) / "objects.inv").read_bytes()
    listing = zlib.decompress(inventory.split(b"\n", 4)[4]).decode()
    known = {line.split()[0] for line in listing.splitlines()}
    missing = [min(same) for same in public_names.places().values() if not same & known]
    if missing:
        raise PluginError(f"the reference has no place for {', '.join(sorted(set(missing)))}")
