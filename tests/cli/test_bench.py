"""`tquic bench multipath`: a fast slice of `make multipath`, with bands for busy machines."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tquic.bench.network import INSIDE

from .support import ENVIRONMENT, command, document, tquic


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


def figures(*scenarios: str) -> dict[str, dict[str, Any]]:
    done = tquic("bench", "multipath", *scenarios, "--duration", "2s", "--json")
    assert done.stdout, done.stderr
    return {result["scenario"]: result["figures"] for result in document(done)["results"]}


@pytest.mark.usefixtures("namespaces")
def test_paths_add_up_and_stand_in_for_each_other() -> None:
    results = figures("equal-2", "cut", "come-and-go", "backup", "tunnel")
    assert results["equal-2"]["of the sum"] > 80
    for scenario in ("cut", "come-and-go", "backup"):
        assert results[scenario]["wrong bytes"] == 0
        assert results[scenario]["longest pause"] < 1000
    assert results["come-and-go"]["gain"] > 1.5
    assert results["tunnel"]["wrong bytes"] == 0
    assert results["tunnel"]["gain"] > 1.5
    assert results["backup"]["on the backup before"] < 5


def test_without_tools() -> None:
    done = subprocess.run(
        command("bench", "multipath"),
        env={**ENVIRONMENT, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert INSIDE not in ENVIRONMENT
    assert done.returncode == 1
    assert "unshare is needed" in done.stderr
