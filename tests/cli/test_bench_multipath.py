"""A fast slice of `make multipath`, with bands for busy machines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tquic.bench.network import INSIDE

from .support import ENVIRONMENT, PATIENCE, document

PROGRAM = [sys.executable, "-m", "tquic.bench.multipath"]


@pytest.fixture(scope="module")
def namespaces() -> None:
    probe = "from tquic.bench import network; network.enter('platform', [])"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])


def figures(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        [*PROGRAM, scenario, "--duration", "2", "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout, done.stderr
    (result,) = document(done)["results"]
    measured: dict[str, Any] = result["figures"]
    return measured


# Other work on the machine takes from a rate and adds to a pause; nothing does the contrary. A run
# that shows what the engine can is enough, but in none may a byte be wrong.
RUNS = 3


def shown(scenario: str, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The figures of runs until one is as wanted; nothing, if one was."""
    seen: list[dict[str, Any]] = []
    for _ in range(RUNS):
        found = figures(scenario)
        assert found.get("wrong bytes", 0) == 0
        if wanted(found):
            return []
        seen.append(found)
    return seen


@pytest.mark.usefixtures("namespaces")
def test_paths_add_up() -> None:
    assert not shown("equal-2", lambda found: found["of the sum"] > 80)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("scenario", ["cut", "unplug", "come-and-go", "interfaces"])
def test_paths_stand_in_for_each_other(scenario: str) -> None:
    assert not shown(
        scenario, lambda found: found["longest pause"] < 1000 and found.get("gain", 2) > 1.5
    )


@pytest.mark.usefixtures("namespaces")
def test_a_tunnel_uses_both() -> None:
    assert not shown("tunnel", lambda found: found["gain"] > 1.5)


def test_without_tools() -> None:
    done = subprocess.run(
        PROGRAM,
        env={**ENVIRONMENT, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert INSIDE not in ENVIRONMENT
    assert done.returncode == 1
    assert "unshare is needed" in done.stderr
