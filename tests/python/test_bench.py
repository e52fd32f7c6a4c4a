"""Benchmarks: what their results have, and what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tquic import bench
from tquic.bench._result import of_samples
from tquic.bench._watch import COMMANDS, RESULTS, Watch

STATS = {"min", "max", "mean", "stddev", "p50", "p90", "p95", "p99", "p999", "p9999"}
# The names that the kernel module has, at their places.
FACTS = {
    "throughput 0.4": {
        *("bytes_sent", "bytes_received", "packets_sent", "packets_received"),
        *("goodput_mbps", "pps"),
    },
    "latency 50": {
        *("connections_established", "connections_failed", "avg_handshake_us"),
        *("min_handshake_us", "max_handshake_us"),
    },
    "crypto 0.2": {
        *("encryptions", "decryptions", "encrypt_gbps", "decrypt_gbps"),
        *("avg_encrypt_ns", "avg_decrypt_ns"),
    },
    "rtt 20": {"pings", "srtt_us"},
    "handshake 10": {"handshakes_per_second", "connections_established"},
    "stream_open 200": {"streams", "streams_per_second"},
    "packet_proc 0.3": {"send_ns", "receive_ns"},
    "scalability 10 0.2": {"steps"},
}


@pytest.mark.parametrize("line", FACTS)
def test_every_benchmark_measures(line: str) -> None:
    result = bench.run(line)
    name = line.split()[0]
    assert (result["schema"], result["benchmark"], result["status"]) == (
        "tquic-bench-1",
        name,
        "complete",
    )
    assert result["command"] == line
    assert set(result["stats"]) == STATS
    assert result["samples"] > 0
    assert result["duration_ms"] > 0
    assert result["stats"]["min"] <= result["stats"]["p50"] <= result["stats"]["max"]
    assert set(result[name]) >= FACTS[line]
    assert all(value for key, value in result[name].items() if key in FACTS[line] - NOTHING)
    json.dumps(result)


# None of these is fine.
NOTHING = {"connections_failed"}


def test_memory_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tquic.bench._benchmarks._REST", 0.0)
    facts = bench.run("memory 200")["memory"]
    assert facts["connections"] == 200
    # More than a kilobyte each, and less than what the kernel module promises.
    assert 1024 < facts["bytes_per_connection"] < 128 * 1024


def test_paths_are_used_together() -> None:
    facts = bench.run("multipath 2 3")["multipath"]
    assert set(facts) >= {"total_goodput_mbps", "aggregation_efficiency_pct", "reorder_events"}
    assert len(facts["path_goodputs_mbps"]) == 2
    # How much they carry is for the benchmark to say; that both do is not.
    assert all(goodput > 0 for goodput in facts["path_goodputs_mbps"])


def test_samples() -> None:
    stats = of_samples([4, 1, 3, 2])
    assert (stats["min"], stats["max"], stats["mean"], stats["p50"]) == (1, 4, 2.5, 2)
    assert stats["stddev"] == pytest.approx(1.118)
    assert set(of_samples([])) == STATS


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no benchmark ''"),
        ("thoughput 10", "did you mean throughput"),
        ("throughput ten", "is a number"),
        ("throughput 10 20", "takes SECONDS and no more"),
        ("latency 1.5", "is a number"),
        ("multipath 9 10", "from 1 to 8"),
    ],
)
def test_lines_that_name_none(line: str, why: str) -> None:
    with pytest.raises(bench.BenchmarkError, match=why):
        bench.parse(line)


def test_lines_as_the_guide_writes_them() -> None:
    for line in ("throughput 10", "latency 1000", "crypto 10", "multipath 4 10"):
        assert str(bench.parse(line)) == line
    assert str(bench.parse("multipath")) == "multipath 4 10"


def made(median: float, **others: Any) -> dict[str, Any]:
    stats = dict.fromkeys(STATS, median)
    return {
        "benchmark": "latency",
        "command": "latency 10",
        "unit": "us",
        "samples": 10,
        "stats": stats,
        "latency": {"requests": 10},
        "environment": {"cpus": 2},
        **others,
    }


def test_results_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQUIC_BENCH_DIR", str(tmp_path / "results"))
    store = bench.Store()
    assert (store.all(), store.last(), store.get(1), store.reset()) == ([], None, None, 0)
    numbers = [store.add(made(n))["number"] for n in (5, 6)]
    assert numbers == [1, 2]
    other = store.add(made(1, benchmark="rtt", rtt={}))
    last = store.last("latency")
    assert last is not None
    assert last["stats"]["p50"] == 6
    assert store.last() == other == store.get(3)
    (store.folder / "000009-broken.json").write_text("{")
    assert len(store.all()) == 3
    assert store.reset() == 4
    assert store.last() is None


def test_two_results_compare() -> None:
    found = bench.compare(made(5), made(10, environment={"cpus": 4}))
    assert found["changes"]["stats.p99"] == {"a": 5, "b": 10, "ratio": 2.0}
    assert found["environments_differ"] == ["cpus"]
    with pytest.raises(ValueError, match="nothing to compare"):
        bench.compare(made(5), made(5, benchmark="rtt"))


def test_the_page_needs_nothing_else() -> None:
    page = bench.html([made(5, command="<b>"), made(6)])
    assert page.count("<svg") == 2
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "No results" in bench.html([])


def test_files_like_those_in_proc(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "proc", bench.Store(tmp_path / "results"))
    commands, results = tmp_path / "proc" / COMMANDS, tmp_path / "proc" / RESULTS
    assert watch.take() == []
    commands.write_text("rtt 5")
    assert watch.take() == [], "the line has not been written whole"
    commands.write_text("rtt 5\nnonsense\n")
    lines = watch.take()
    assert (lines, commands.read_text()) == (["rtt 5", "nonsense"], "")
    watch.execute(lines[0])
    result = json.loads(results.read_text())
    assert (result["benchmark"], result["status"], result["number"]) == ("rtt", "complete", 1)
    watch.execute(lines[1])
    failed = json.loads(results.read_text())
    assert (failed["status"], "no benchmark" in failed["error"]) == ("failed", True)
    watch.execute("reset")
    assert json.loads(results.read_text())["status"] == "idle"
    commands.unlink()
    assert watch.take() == []
    assert commands.exists()
