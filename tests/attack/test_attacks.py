"""A small slice of every attack; `make attack` does them in full size."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from .field import MIB, Honest, Result
from .judge import judge, table
from .report import MARKS, write
from .row import Row
from .rows import ROWS
from .server import make_site
from .session import Site, site

# Addresses of 127.0.0.0/8 and /proc.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Row], Site]]:
    """The server for a row: the same for all that want no options."""
    folder = tmp_path_factory.mktemp("attack")
    make_site(folder)
    with contextlib.ExitStack() as stack:
        usual = stack.enter_context(site(folder))

        def find(row: Row) -> Site:
            return stack.enter_context(site(folder, row)) if row.own_server else usual

        yield find


@pytest.mark.parametrize("name", ROWS)
def test_bounds_hold(name: str, place: Callable[[Row], Site]) -> None:
    row = ROWS[name]
    try:
        result = place(row).run(row, row.fast, seed=1)
    except PermissionError as error:
        pytest.skip(f"only root may do this: {error}")
    broken = [str(finding) for finding in judge(result, times=False) if not finding.holds]
    assert not broken, (result.sent, broken)


def test_each_attack_has_bounds_and_each_class_an_attack_or_a_reason() -> None:
    rows = {name: one for name, one in table().items() if name not in ("every", "classes")}
    assert set(rows) == set(ROWS)
    attacked = {name for one in rows.values() for name in one["class"].split("; ")}
    classes = table()["classes"]
    assert attacked <= set(classes)
    assert {name for name, instead in classes.items() if not instead} == attacked


def test_the_page_has_what_was_measured(tmp_path: Path) -> None:
    phase = Honest(begun=20, served=19, median=0.02, worst=0.5)
    fact = Result(
        "initial-garbage", 7, 1, "7 of them", 7, 8400, 0, 0.0, 0.0, 30 * MIB, 50 * MIB, 31 * MIB,
        0.5, 1.0, phase, phase, phase, {"connections": 3, "answers": 0, "panics": 0},
    )  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write(page, {"initial-garbage": asdict(fact)})
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    # 20 MiB are more than it may take.
    assert "| 7 of them | 20.0, then 1.0 MiB |" in text
    assert "| memory | **20** | at most 8 |" in text
    assert "**broken** |" in text
    assert "initial-flood (not run)" in text
