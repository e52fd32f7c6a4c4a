"""The pages hold together: links lead somewhere, names exist, everything public is documented.

`make docs` finds more, but needs tools of its own; this is what can be had in a moment.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import public_names
import tquic

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?)\s*$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(autouse=True)
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust, when imported, replaces parts of the standard library unless it is told not to."""
    monkeypatch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    plain = (re.sub(r"[^\w\- ]", "", heading) for heading in HEADING.findall(text_of(page)))
    return {heading.strip().lower().replace(" ", "-") for heading in plain}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@each_page
def test_lists_are_lists_everywhere(page: Path) -> None:
    """GitHub takes a list or table right behind a paragraph, MkDocs takes it for text."""
    before = ""
    for line in text_of(page).splitlines():
        for start in ("- ", "|", "1. "):
            # Lines that begin with a blank belong to the item above them.
            if line.startswith(start) and before and not before.startswith((start, " ")):
                raise AssertionError(line)
        before = line


@each_page
def test_names_exist(page: Path) -> None:
    """`Config.idle_timeout`, `tquic.connect`: names of the package that stand in the text."""
    if page.name == "CHANGELOG.md":
        return
    for code in CODE.findall(text_of(page)):
        if match := re.fullmatch(r"(?:tquic\.)?([A-Za-z_][\w.]*)(\(.*\))?", code):
            parts = match[1].split(".")
            known = inspect.isclass(getattr(tquic, parts[0], None))
            if known or code.startswith("tquic."):
                # The blocking twins have a few methods more.
                assert resolves(["tquic", *parts]) or resolves(["tquic", "sync", *parts]), code


@each_page
def test_paths_exist(page: Path) -> None:
    """Paths of the repository that stand in the text."""
    for code in CODE.findall(text_of(page)):
        if re.fullmatch(
            r"(rust|python|cython|docs|scripts|tests|fuzz|build_backend)/[\w/.-]*", code
        ):
            assert (ROOT / code).exists() or page.name == "CHANGELOG.md", code


def resolves(parts: list[str]) -> bool:
    """Whether there is such a module, or such a thing in one."""
    thing: object = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if hasattr(thing, part):
            thing = getattr(thing, part)
        elif inspect.ismodule(thing):
            try:
                thing = importlib.import_module(".".join(parts[:number]))
            except ImportError as error:
                # Some modules only say why they are not there.
                return not isinstance(error, ModuleNotFoundError)
        else:
            # Fields without a default are no attributes of the class.
            return part in getattr(thing, "__annotations__", {})
    return True


def documented() -> set[str]:
    """What the pages of the reference name."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {name for page in pages for name in DIRECTIVE.findall(page.read_text())}


def missing() -> Iterator[str]:
    """Public names without a place: neither they nor their module stand in the reference."""
    given = documented()
    for same in public_names.places().values():
        if not any(name in given or name.rpartition(".")[0] in given for name in same):
            yield min(same)


def test_the_reference_has_every_public_name() -> None:
    where = "put a line `::: NAME` for each into a page of docs/reference"
    assert not sorted(missing()), where


def test_the_reference_can_show_every_public_name() -> None:
    """It reads the sources of this package only: names of others' modules would be left out."""
    foreign = [name for name in public_names.places() if not name.startswith("tquic.")]
    assert not foreign, "define it in a module of the package, with a docstring"


def test_public_names_are_those_of_the_package() -> None:
    """The sources are read, not imported; so this checks the reader."""
    found = set().union(*public_names.places().values())
    assert {f"tquic.{name}" for name in tquic.__all__} <= found
    for name in sorted(found):
        assert resolves(name.split(".")), name


def test_the_reference_names_nothing_else() -> None:
    for name in sorted(documented()):
        assert resolves(name.split(".")), name


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"- (?:\w+: )?([\w/.-]+\.md)$", menu, re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    where = "the menu is `nav` in mkdocs.yml"
    assert {name for name in listed if not name.startswith("project/")} == pages, where


def test_the_oldest_rust_is_told() -> None:
    (oldest,) = re.findall(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)
    told = {version for page in PAGES for version in re.findall(r"Rust (1\.\d+)", page.read_text())}
    assert told == {oldest}
