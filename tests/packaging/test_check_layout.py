"""The layout check finds what it is there to find, and nothing else."""

from pathlib import Path

import pytest

import check_layout
from check_layout import findings


def found(name: str, text: str) -> list[str]:
    return list(findings(Path(name), text))


def test_the_repository_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_layout.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.rs", "a.py", "a.pyx", "a.c"])
def test_file_length(name: str) -> None:
    comment = "// x\n" if name in ("a.rs", "a.c") else "# x\n"
    assert found(name, comment * 800) == []
    assert found(name, comment * 801) == [f"{name}: 801 lines, at most 800 are allowed"]
    assert found("a.txt", comment * 801) == []


def function(name: str, lines: int) -> str:
    """A function of so many lines of code, with what must not be counted in between."""
    if name.endswith(".rs"):
        body = "        let x = 1;\n" * (lines - 4)
        head = "    pub(crate) fn long(\n        &self,\n    ) -> u8 {\n"
        return f"impl A {{\n{head}        // why\n\n{body}    }}\n    fn next() {{}}\n}}\n"
    head = (
        "    cdef int long(self) except -1:\n" if name.endswith(".pyx") else "    def long(self):\n"
    )
    body = "        x = 1\n" * (lines - 1)
    return f"class A:\n{head}        # why\n\n{body}\n    x = 2\n" + "y = 1\n" * 100


@pytest.mark.parametrize("name", ["a.rs", "a.py", "a.pyx"])
def test_function_length(name: str) -> None:
    assert found(name, function(name, 100)) == []
    assert found(name, function(name, 101)) == [
        f"{name}:2: function long has 101 lines of code, at most 100 are allowed"
    ]


def test_rust_declarations_without_body_end_at_once() -> None:
    lines = (
        "trait A {\n    fn a(&self) -> u8;\n    fn b() {} // empty\n}\n"
        + "const X: u8 = 1;\n" * 150
    )
    assert found("a.rs", lines) == []


def connection(fields: int) -> str:
    listed = "".join(f"    /// {i}\n    pub(crate) part_{i}: Part,\n" for i in range(fields))
    return f"pub struct Connection<'a> {{\n{listed}}}\nstruct Other {{\n{listed}}}\n"


def test_connection_fields() -> None:
    assert found("a.rs", connection(16)) == []
    assert found("a.rs", connection(17)) == [
        "a.rs:1: struct Connection has 17 fields, at most 16 are allowed"
    ]


def test_machine_paths_are_found_in_any_text_file() -> None:
    path = "/" + "work/main/x"
    for text in (f"cd {path}", f'"{path}"', f"file://{path}"):
        assert found("notes.md", f"one\n{text}\n") == [
            "notes.md:2: names a path of somebody's machine"
        ]
    for text in ("net/work/x", "../work/x", "workspace/", "a frame/work"):
        assert found("notes.md", text) == []
