"""docs/guide-coverage.md is what its script writes, and what stands there is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import guide_coverage
import tquic
import tquic.codes
import tquic.socket
from tquic.cli import COMMANDS
from tquic.sysctl import PARAMETERS, PREFIX

from .test_pages import resolves

ROOT = Path(__file__).parents[2]
SECTIONS = guide_coverage.sections()
ROWS = [row for section in SECTIONS for row in section.rows]


def test_the_page_is_up_to_date() -> None:
    assert guide_coverage.PAGE.read_text() == guide_coverage.page(), (
        "run python scripts/guide_coverage.py"
    )


def test_every_row_has_something() -> None:
    for row in ROWS:
        assert row.here, row
        assert row.test or row.state == "not done", row


@pytest.mark.parametrize("test", sorted({row.test for row in ROWS if row.test}))
def test_the_tests_are_there(test: str) -> None:
    path, _, name = test.partition("::")
    keyword = "fn" if path.endswith(".rs") else "def"
    assert re.search(rf"\b{keyword} {name}\b", (ROOT / path).read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_stands_for_it_is_there(row: guide_coverage.Row) -> None:
    for code in re.findall(r"`([^`]+)`", row.here):
        if code.startswith("tquic "):
            assert code.split()[1] in COMMANDS
        elif "/" in code:
            name = row.name.removeprefix("struct ").removeprefix("enum ")
            assert re.search(rf"\b{name}\b", (ROOT / code).read_text())
        else:
            assert resolves(["tquic", *code.removeprefix("tquic.").split(".")]), code


def test_names_have_their_values() -> None:
    """In Python, and in the header for C."""
    header = (Path(tquic.get_include()) / "tquic.h").read_text()
    for row in ROWS:
        if row.name.startswith(PREFIX):
            assert row.name.removeprefix(PREFIX) in PARAMETERS
        elif row.name.startswith("TQUIC_"):
            home = tquic.codes if row.name.startswith("TQUIC_ERR_") else tquic.socket
            (value,) = re.findall(rf"^#define {row.name} (\w+)", header, re.MULTILINE)
            assert getattr(home, row.name) == int(value, 0)


@pytest.mark.skipif("TQUIC_TEST_GUIDE" not in os.environ, reason="TQUIC_TEST_GUIDE names no guide")
def test_the_guide_has_nothing_more() -> None:
    """The guide itself is no part of this repository."""
    text = Path(os.environ["TQUIC_TEST_GUIDE"]).read_text()
    headings = re.findall(r"^(?!::|[=~-]+$)(\S.*)\n([=~-])\2{3,}$", text, re.MULTILINE)
    known = {section.heading for section in SECTIONS} | set(guide_coverage.GROUPS)
    assert {heading for heading, _ in headings} <= known | {"Observability"}
    names = re.findall(
        r"\b(?:TQUIC_\w+|SOL_TQUIC|IPPROTO_QUIC|QLOG_MASK_\w+|MSG_\w+|bpf_tquic_\w+|"
        r"(?:struct|enum) tquic_\w+|tquic:\w+|net\.tquic\.\w+|for_each_path)|/proc/tquic_\w+",
        text,
    )
    assert set(names) <= {row.name for row in ROWS}
