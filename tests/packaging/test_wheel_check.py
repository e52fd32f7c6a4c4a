"""The look into the finished wheel, against wheels with every fault it is there to find."""

import sysconfig
import zipfile
from pathlib import Path

import pytest

import tquic_wheel
from tquic_wheel import WheelError, check_wheel

MODULES = ["tquic._engine", "tquic.h3._codec"]
SUFFIX = ".cpython-311-x86_64-linux-gnu.so"
TAG = ("cp311", "cp311")
NAME = "tquic-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
INSIDE = "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n"

GOOD = {
    "tquic/__init__.py": "",
    "tquic/py.typed": "",
    "tquic/_engine.pyi": "",
    f"tquic/_engine{SUFFIX}": "",
    f"tquic/h3/_codec{SUFFIX}": "",
    "tquic-1.0.dist-info/WHEEL": INSIDE,
    "tquic-1.0.dist-info/sboms/tquic-py.cyclonedx.json": "{}",
}


def make_wheel(folder: Path, files: dict[str, str], name: str = NAME) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in files.items():
            archive.writestr(entry, text)
    return path


def check(wheel: Path) -> None:
    check_wheel(wheel, MODULES, SUFFIX, TAG)


def test_a_sound_wheel_passes(tmp_path: Path) -> None:
    check(make_wheel(tmp_path, GOOD))


def test_libraries_that_are_no_modules_are_nobodys_business(tmp_path: Path) -> None:
    others = {"tquic/libtquic-preload.so": "", "tquic.libs/libgcc-1234.so": ""}
    check(make_wheel(tmp_path, GOOD | others))


def test_a_library_that_was_built_must_be_there(tmp_path: Path) -> None:
    library = "libtquic-preload.so"
    check_wheel(
        make_wheel(tmp_path, GOOD | {f"tquic/{library}": ""}), MODULES, SUFFIX, TAG, [library]
    )
    with pytest.raises(WheelError, match="lacks libtquic-preload"):
        check_wheel(make_wheel(tmp_path, GOOD), MODULES, SUFFIX, TAG, [library])


@pytest.mark.parametrize("module", ["tquic/_engine", "tquic/h3/_codec"])
def test_a_missing_module_is_named(tmp_path: Path, module: str) -> None:
    files = {name: text for name, text in GOOD.items() if name != module + SUFFIX}
    with pytest.raises(WheelError, match=f"lacks the compiled module {module}"):
        check(make_wheel(tmp_path, files))


@pytest.mark.parametrize("module", ["tquic/_engine", "tquic/h3/_codec"])
@pytest.mark.parametrize(
    "suffix",
    [".cpython-312-x86_64-linux-gnu.so", ".cpython-311-x86_64-linux-musl.so", ".abi3.so", ".so"],
)
def test_a_wrong_suffix_is_named(tmp_path: Path, module: str, suffix: str) -> None:
    files = {name: text for name, text in GOOD.items() if name != module + SUFFIX}
    files[module + suffix] = ""
    with pytest.raises(WheelError, match=f"holds {module}{suffix}.*needs {module}{SUFFIX}"):
        check(make_wheel(tmp_path, files))


def test_a_stale_object_beside_the_right_one_is_refused(tmp_path: Path) -> None:
    files = GOOD | {"tquic/h3/_codec.cpython-310-x86_64-linux-gnu.so": ""}
    with pytest.raises(WheelError, match="cpython-310"):
        check(make_wheel(tmp_path, files))


def test_a_module_without_source_is_refused(tmp_path: Path) -> None:
    files = GOOD | {f"tquic/h3/_renamed{SUFFIX}": ""}
    with pytest.raises(WheelError, match=r"no source: tquic\.h3\._renamed"):
        check(make_wheel(tmp_path, files))


@pytest.mark.parametrize("tag", ["cp311-abi3", "cp312-cp312", "py3-none", "cp311-cp311t"])
def test_a_tag_for_other_interpreters_is_refused(tmp_path: Path, tag: str) -> None:
    name = f"tquic-1.0-{tag}-linux_x86_64.whl"
    with pytest.raises(WheelError, match=f"tagged {tag}, but this interpreter needs cp311-cp311"):
        check(make_wheel(tmp_path, GOOD, name))


@pytest.mark.parametrize("inside", ["Wheel-Version: 1.0\n", "Tag: cp39-abi3-linux_x86_64\n"])
def test_the_tag_inside_must_agree(tmp_path: Path, inside: str) -> None:
    files = GOOD | {"tquic-1.0.dist-info/WHEEL": inside}
    with pytest.raises(WheelError, match="WHEEL file instead of cp311-cp311"):
        check(make_wheel(tmp_path, files))


def test_two_platforms_in_one_tag_pass(tmp_path: Path) -> None:
    name = "tquic-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    check(make_wheel(tmp_path, GOOD, name))


@pytest.mark.parametrize("name", ["tquic/py.typed", "tquic/_engine.pyi"])
def test_missing_types_are_named(tmp_path: Path, name: str) -> None:
    files = {entry: text for entry, text in GOOD.items() if entry != name}
    with pytest.raises(WheelError, match=f"lacks {name}"):
        check(make_wheel(tmp_path, files))


def test_a_missing_bill_of_materials_is_named(tmp_path: Path) -> None:
    files = {entry: text for entry, text in GOOD.items() if "sboms" not in entry}
    with pytest.raises(WheelError, match="bill of materials"):
        check(make_wheel(tmp_path, files))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_written_twice_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, GOOD)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"tquic/h3/_codec{SUFFIX}", "another")
    with pytest.raises(WheelError, match="twice: tquic/h3/_codec"):
        check(wheel)


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("not a zip file")
    with pytest.raises(WheelError, match="cannot be read as a wheel"):
        check(path)
    with pytest.raises(WheelError, match="cannot be read as a wheel"):
        check(tmp_path / "absent.whl")
    files = {name: text for name, text in GOOD.items() if "dist-info" not in name}
    with pytest.raises(WheelError, match="not a finished wheel"):
        check(make_wheel(tmp_path, files))


def test_expected_modules_follow_the_sources(tmp_path: Path) -> None:
    sources = tmp_path / "cython" / "tquic" / "h3"
    sources.mkdir(parents=True)
    for name in ("_codec.pyx", "_qpack.pyx", "_varint.pxd"):
        (sources / name).touch()
    assert tquic_wheel.expected_modules(tmp_path) == [
        "tquic._engine",
        "tquic.h3._codec",
        "tquic.h3._qpack",
    ]


def test_the_command_judges_for_the_running_interpreter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python, abi = tquic_wheel.interpreter_tag()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    files = {"tquic/py.typed": "", "tquic/_engine.pyi": ""}
    files["tquic-1.0.dist-info/WHEEL"] = f"Tag: {python}-{abi}-any\n"
    files["tquic-1.0.dist-info/sboms/x.json"] = "{}"
    root = Path(tquic_wheel.__file__).parent.parent
    for module in tquic_wheel.expected_modules(root):
        files[module.replace(".", "/") + suffix] = ""
    name = f"tquic-1.0-{python}-{abi}-any.whl"
    assert tquic_wheel.main([str(make_wheel(tmp_path, files, name))]) == 0
    del files[f"tquic/h3/_codec{suffix}"]
    assert tquic_wheel.main([str(make_wheel(tmp_path, files, name))]) == 1
    assert "lacks the compiled module tquic/h3/_codec" in capsys.readouterr().err
    assert tquic_wheel.main([]) == 2
