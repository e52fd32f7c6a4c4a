"""`tquic bpf`, and the headers that schedulers are compiled with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tquic
from tquic.bpf import compile_scheduler, load_scheduler

from .support import document
from .support import tquic as run

FIXTURES = Path(__file__).parents[2] / "rust" / "sched" / "fixtures"
EXAMPLES = sorted(path.stem for path in FIXTURES.glob("*.c"))
MISTAKES = sorted(path.stem for path in (FIXTURES / "bad").glob("*.c"))

clang = pytest.mark.skipif(
    shutil.which("clang") is None, reason="no clang here: apt-get install clang"
)


@clang
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_compile_and_are_safe(name: str, tmp_path: Path) -> None:
    target = tmp_path / "made.o"
    done = run("bpf", "compile", FIXTURES / f"{name}.c", "-o", target)
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    made, committed = load_scheduler(target), load_scheduler(FIXTURES / f"{name}.o")
    assert (made.name, made.callbacks) == (committed.name, committed.callbacks)


@clang
def test_the_guides_example_compiles_unchanged(tmp_path: Path) -> None:
    """As it is printed, with nothing but the command's own flags."""
    source = tmp_path / "guide.c"
    source.write_bytes((FIXTURES / "guide.c").read_bytes())
    assert compile_scheduler(source) == tmp_path / "guide.o"
    program = load_scheduler(tmp_path / "guide.o")
    assert program.name == "my_minrtt"
    assert program.callbacks == {"select_path": "my_select_path"}


@clang
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_compile_and_only_endless_ones_load(name: str, tmp_path: Path) -> None:
    target = compile_scheduler(FIXTURES / "bad" / f"{name}.c", tmp_path / "bad.o")
    done = run("bpf", "check", target)
    assert done.returncode == (0 if name == "endless" else 1), done.stderr
    assert (FIXTURES / "bad" / f"{name}.o").exists()


@clang
def test_a_mistake_in_c_is_shown_as_clang_shows_it(tmp_path: Path) -> None:
    (tmp_path / "wrong.c").write_text("int x = ;\n")
    done = run("bpf", "compile", tmp_path / "wrong.c")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not compile:" in done.stderr
    assert "wrong.c:1:9: error: expected expression" in done.stderr


def test_a_compiler_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("")
    done = run("bpf", "compile", tmp_path / "a.c", "--clang", "clang-of-tomorrow")
    assert done.returncode == 1
    assert "there is no clang-of-tomorrow here" in done.stderr
    with pytest.raises(tquic.ConfigError, match="overwritten by its own object"):
        compile_scheduler(tmp_path / "a.c", tmp_path / "a.c")


def test_check_says_what_there_is() -> None:
    done = run("bpf", "check", FIXTURES / "stateful.o")
    assert done.returncode == 0, done.stderr
    first, second, *callbacks = done.stdout.splitlines()
    assert first == "wdrr: safe"
    assert "for each connection" in second
    assert [line.split() for line in callbacks] == [
        ["init", "wd_init"],
        ["on_packet_acked", "wd_acked"],
        ["on_packet_lost", "wd_lost"],
        ["on_packet_sent", "wd_sent"],
        ["on_path_change", "wd_change"],
        ["release", "wd_release"],
        ["select_path", "wd_select"],
    ]


def test_check_as_json() -> None:
    found = document(run("bpf", "check", FIXTURES / "guide.o", "--json"))
    assert found["ok"] is True
    assert found["name"] == "my_minrtt"
    assert found["callbacks"] == {"select_path": "my_select_path"}
    assert set(found) >= {"instructions", "memory", "interpreted_because"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unchecked", "bad_select (select_path), instruction 3, `*(u32 *)(r0 + 4) = r1`"),
        ("unknown", "there is no function bpf_tquic_path_get_price"),
    ],
)
def test_check_says_what_is_wrong(name: str, said: str) -> None:
    done = run("bpf", "check", FIXTURES / "bad" / f"{name}.o")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    found = document(run("bpf", "check", FIXTURES / "bad" / f"{name}.o", "--json"))
    assert found["ok"] is False
    assert said in found["error"]


def test_what_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "text.o").write_text("hello")
    done = run("bpf", "check", tmp_path / "text.o")
    assert "text.o: this is not an ELF file" in done.stderr
    done = run("bpf", "check", tmp_path / "missing.o")
    assert done.returncode == 1
    assert "missing.o: No such file or directory" in done.stderr


def test_headers_are_where_they_are_said_to_be() -> None:
    include = Path(tquic.get_include())
    for name in ("tquic_bpf.h", "bpf/bpf_helpers.h", "bpf/bpf_tracing.h"):
        assert (include / name).is_file()
