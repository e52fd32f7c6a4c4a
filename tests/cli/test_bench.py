"""`tquic bench`: what it prints, keeps and compares, and the files like those in /proc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .support import ENVIRONMENT, PATIENCE, command, document


@pytest.fixture
def results(tmp_path: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "TQUIC_BENCH_DIR": str(tmp_path / "results")}


def bench(
    environment: dict[str, str], *arguments: object, text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("bench", *arguments),
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )


def test_a_benchmark_and_its_history(results: dict[str, str], tmp_path: Path) -> None:
    done = bench(results, "handshake", 5, "--json")
    assert done.returncode == 0, done.stderr
    report = document(done)
    assert (report["benchmark"], report["number"]) == ("handshake", 1)
    done = bench(
        results,
        "-",
        text="handshake 5\n\n",
    )
    assert done.returncode == 0, done.stderr
    assert "handshakes per second" in done.stdout
    assert document(bench(results, "results"))["number"] == 2
    assert document(bench(results, "results", "1"))["number"] == 1
    done = bench(results, "compare", 1, 2, "--json")
    assert document(done)["changes"]["stats.p50"]["ratio"] > 0
    assert "stats.p99" in bench(results, "compare", 1, 2).stdout
    assert len(bench(results, "history").stdout.splitlines()) == 2
    page = tmp_path / "page.html"
    assert bench(results, "report", page).returncode == 0
    assert page.read_text().startswith("<!doctype html>")
    assert document(bench(results, "reset", "--json")) == {"forgotten": 2}
    done = bench(results, "results")
    assert done.returncode == 1
    assert "no results" in done.stderr


def test_several_lines(results: dict[str, str]) -> None:
    done = bench(results, "-", "--json", text="rtt 3\ncrypto 0.1\n")
    assert [one["benchmark"] for one in document(done)["results"]] == ["rtt", "crypto"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "say which benchmark"),
        (["troughput", "10"], "did you mean throughput"),
        (["throughput", "never"], "is a number"),
        (["compare", "1"], "not how it is used"),
    ],
)
def test_wrong_usage(results: dict[str, str], arguments: list[str], why: str) -> None:
    done = bench(results, *arguments)
    assert done.returncode == 2
    assert why in done.stderr


def test_what_is_not_there(results: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    for arguments in (["results", "7"], ["compare", tmp_path / "a", "1"]):
        assert bench(results, *arguments).returncode == 1
    done = bench(results, "compare", tmp_path / "other.json", "1")
    assert "no result of a benchmark" in done.stderr


def test_files_like_those_in_proc(results: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "proc"
    with subprocess.Popen(
        command("bench", "--watch", folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=results,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("watching")
        # As the guide does it, in a shell.
        subprocess.run(
            ["sh", "-c", 'echo "crypto 0.1" > tquic_bench'],
            cwd=folder,
            check=True,
            timeout=PATIENCE,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            result = json.loads((folder / "tquic_bench_results").read_text())
            if result["status"] == "complete":
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        process.wait(PATIENCE)
    assert result["crypto"]["encryptions"] > 0
    assert process.returncode == 130
