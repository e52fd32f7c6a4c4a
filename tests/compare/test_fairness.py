"""The harness of real flows in namespaces: what needs no root."""

from __future__ import annotations

import collections
import os
import subprocess
from typing import Any

import pytest

from fairness import link, network
from fairness.__main__ import plans
from fairness.network import Bottleneck, Network, NetworkError
from fairness.runs import session
from fairness.table import markdown


def packet(protocol: int, port: int, length: int, *, words: int = 5) -> bytes:
    """The beginning of an IPv4 packet with a header of so many words."""
    header = bytearray(words * 4)
    header[0] = 0x40 | words
    header[2:4] = length.to_bytes(2, "big")
    header[9] = protocol
    return bytes(header) + port.to_bytes(2, "big") + bytes(20)


def test_arrivals_are_told_apart_by_protocol_and_port() -> None:
    seen: collections.Counter[str] = collections.Counter()
    for one in (packet(17, 4433, 1500), packet(6, 4433, 60), packet(17, 4433, 100, words=6)):
        link.count(one[: link.HEADERS], seen)
    assert seen == {"17:4433": 1600, "6:4433": 60}


@pytest.mark.parametrize(("written", "backlog"), [("0b", 0), ("1514b", 1514), ("98Kb", 98_000)])
def test_what_tc_says_of_a_queue(
    monkeypatch: pytest.MonkeyPatch, written: str, backlog: int
) -> None:
    said = f"""qdisc tbf 8001: root refcnt 3 rate 20Mbit burst 5000b lat 37ms
 Sent 123456 bytes 789 pkt (dropped 12, overlimits 3 requeues 0)
 backlog {written} 1p requeues 0
"""
    monkeypatch.setattr(network, "run", lambda _: said)
    with subprocess.Popen(["true"], text=True) as process:
        assert Network("s", "m", "r", process).queue() == (backlog, 789, 12)


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(NetworkError, match="no-such-program"):
        network.run(["no-such-program"])
    with pytest.raises(NetworkError, match="false"):
        network.run(["false"])


def test_the_queue_is_as_large_as_was_asked_for() -> None:
    assert Bottleneck(20_000_000, 40, 1).queue == 100_000


def test_everybody_runs_alone_and_ours_against_all_others() -> None:
    everything = plans("")
    alone = [plan[0].name for plan in everything if len(plan) == 1]
    assert alone[:2] == ["tquic newreno", "tquic cubic"]
    assert len(set(alone)) == len(alone)
    met = {(plan[0].name, plan[1].name) for plan in everything if len(plan) == 2}
    assert ("tquic copa", "TCP bbr") in met
    assert ("TCP cubic", "quinn cubic") in met


def test_the_tables_show_shares_and_what_was_left_unused() -> None:
    def result(flows: list[str], rates: list[float]) -> dict[str, Any]:
        total = {"utilization": sum(rates) / 20e6, "queue_ms": 12.34, "loss": 0.001}
        return {"flows": flows, "rates": rates, **total}

    document = {
        "bottleneck": {"rate": 20_000_000, "rtt": 40, "buffer": 1},
        "times": {"warm_up": 15, "measured": 30},
        "load": 0.5,
        "cpus": 2,
        "results": [
            result(["tquic cubic"], [19e6]),
            result(["tquic cubic", "quinn cubic"], [9.5e6, 10e6]),
            result(["tquic cubic", "TCP bbr"], [4e6, 12e6]),
        ],
    }
    text = markdown(document)
    assert "| tquic cubic | 0.950 | 12.3 | 0.10% |" in text
    assert "| tquic cubic | 0.49 |  |  | 0.25 (of 0.80) |" in text


def test_a_run_that_fails_does_not_end_the_others() -> None:
    told: list[str] = []

    def one(name: str, plan: list[Any]) -> Any:
        assert str(os.getpid()) in name
        raise NetworkError(f"not {plan[0].name}")

    results, failures = session(plans("prague"), 2, one, told.append)
    assert results == []
    assert len(failures) == len(told) == len(plans("prague"))
