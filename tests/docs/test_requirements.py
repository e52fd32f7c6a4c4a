"""Every requirement of the RFCs is met somewhere, and the page that says where is current."""

from __future__ import annotations

import pytest

import requirements


def cited(text: str) -> list[tuple[str, str]]:
    return [key for key, _, _ in requirements.cited_in(text.splitlines())]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("// RFC 9000 section 4.1: why", [("9000", "4.1")]),
        ("/// What (RFC 9001\n/// section 6.6).", [("9001", "6.6")]),
        (
            "# RFC 9000 sections 8.1 and 9.3, section 10",
            [("9000", s) for s in ("8.1", "9.3", "10")],
        ),
        ("# RFC 9204 sections 4.3.1 to 4.3.3", [("9204", s) for s in ("4.3.1", "4.3.2", "4.3.3")]),
        ("// RFC 9000 section 2; RFC 9114 section 3", [("9000", "2"), ("9114", "3")]),
        ("// RFC 9000 section 2; draft-ietf-quic-multipath-21 section 3", [("9000", "2")]),
        ("// RFC 9369 section 4", []),
        ("// RFC 9002 appendix A.8", [("9002", "A.8")]),
        ('    """A reset (RFC 9000 section\n    10.3)."""', [("9000", "10.3")]),
        ("#[cfg(test)]", []),
        (
            '"""What (section numbers: draft-ietf-webtrans-http3-16)."""\n\n# Section 5.1, '
            "RFC 9000 section 2\n\n# Version 7, section 3",
            [("draft-ietf-webtrans-http3-16", "5.1"), ("9000", "2")],
        ),
    ],
)
def test_citations_are_found(text: str, found: list[tuple[str, str]]) -> None:
    assert cited(text) == found


def test_whose_citation_it_is() -> None:
    lines = [
        "/// RFC 9000 section 1.",
        "#[test]",
        "fn above() {",
        "    // RFC 9000 section 2",
        "    x();",
        "}",
        "    /// RFC 9000 section 3.",
        "    row [Server, Client] Established |a| {",
    ]
    cites = requirements.Cited()
    for _, first, last in requirements.cited_in(lines):
        requirements.file(cites, "rust/core/tests/x.rs", lines, first, last)
    assert cites.tests == {"rust/core/tests/x.rs": {"above", "row"}}
    assert not cites.code


def test_each_requirement_is_met_somewhere() -> None:
    assert requirements.missing(requirements.citations()) == []


def test_the_page_is_current() -> None:
    page = requirements.page(requirements.citations())
    assert requirements.PAGE.read_text() == page, "make requirements"
