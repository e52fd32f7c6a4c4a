"""The harness of `make compare`: what is asked for, what counts as done, and what is made of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from compare import __main__ as command
from compare import machine, peers, process, runner, table, works
from compare.process import RunError
from compare.results import Session, Spread, document, joined
from compare.runner import Cell

SCHEMA = json.loads((peers.HERE / "schema.json").read_text())
WORK = {work.name: work for work in works.WORKS}
PEER = {peer.name: peer for peer in peers.PEERS}
FILES = peers.Files(Path("ca.pem"), Path("cert.pem"), Path("key.pem"))


def facts(value: float, number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "round": number,
        "value": value,
        "bytes": 1_000_000_000,
        "count": 1,
        "seconds": 8 / value,
        "mismatches": 0,
        "verified": True,
        "noisy": False,
        "cpu_seconds": 0.5,
        "server_cpu_seconds": 0.7,
        "peak_memory": 20 << 20,
        "server_peak_memory": 10 << 20,
        "foreign_cpus": 0.0,
        **more,
    }


def cell(peer: str, work: str, *values: float, failures: tuple[str, ...] = ()) -> Cell:
    runs = [facts(value, n) for n, value in enumerate(values, 1)]
    return Cell(PEER[peer], WORK[work], runs, list(failures))


def session(*cells: Cell, not_run: tuple[dict[str, str], ...] = ()) -> Session:
    names = dict.fromkeys([c.peer.name for c in cells] + [entry["peer"] for entry in not_run])
    about = {
        "started": "2026-11-23T04:00:00+00:00",
        "seconds": 12.5,
        "command": "make compare",
        "quick": False,
        "rounds": 3,
        "machine": machine.describe(),
        "peers": {
            name: {
                "family": PEER[name].family,
                "versions": {},
                "remark": PEER[name].remark,
                "failure": None,
            }
            for name in names
        },
    }
    data = document(list(cells), list(not_run), about)
    jsonschema.validate(data, SCHEMA)
    # What is written is what is read.
    return Session(json.loads(json.dumps(data)))


def test_the_schema_is_one_and_is_strict() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    data = session(cell("tquic", "download", 9.0)).document
    data["results"][0]["runs"][0]["verified"] = False
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


def test_medians_spreads_and_ratios() -> None:
    assert Spread.of([]) is None
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3, 3)
    got = session(
        cell("tquic", "download", 12.0, 10.0, 11.0),
        cell("quinn", "download", 5.5, 6.0, 5.0),
        cell("s2n-quic", "download", 4.0),
        # No QUIC stack: it leads nobody.
        cell("raw-udp", "download", 30.0),
    )
    assert got.best_other("download") == "quinn"
    assert got.ratio("download", "tquic", "quinn") == 2.0
    assert got.losses() == []
    assert got.cpu("download", "tquic", "client") == pytest.approx(0.5)
    assert got.cpu("download", "noq", "client") is None


def test_sessions_of_different_works_are_joined() -> None:
    first = session(cell("tquic", "download", 9.0), cell("quinn", "download", 6.0)).document
    second = session(cell("tquic", "idle", 20.0), cell("quiche", "idle", 30.0)).document
    whole = joined([first, second | {"rounds": 2}])
    jsonschema.validate(whole, SCHEMA)
    assert (whole["rounds"], list(whole["peers"])) == (2, ["tquic", "quinn", "quiche"])
    assert Session(whole).best_other("idle") == "quiche"
    with pytest.raises(ValueError, match="both sessions have download"):
        joined([first, first])
    with pytest.raises(ValueError, match="different machines"):
        joined([first, second | {"machine": {}}])


def test_less_is_better_where_it_is() -> None:
    got = session(
        cell("tquic", "idle", 20.0), cell("quinn", "idle", 10.0), cell("quiche", "idle", 40.0)
    )
    assert got.best_other("idle") == "quinn"
    assert got.losses() == [("idle", "quinn", 0.5)]


def test_tables_hide_no_failure() -> None:
    missing = {"work": "streams", "peer": "tcp-tls", "reason": "TCP has no streams"}
    text = table.markdown(
        session(
            cell("tquic", "download", 12.0, 10.0, 11.0),
            cell("noq", "download", 6.0, failures=("closed: too many gaps | and more",)),
            cell("quiche", "download", failures=("the server did not start",)),
            not_run=(missing,),
        )
    )
    assert "| tquic | 11.0 (10.0 to 12.0) |" in text
    assert "| noq | 6 (6 to 6), 1 failed |" in text
    assert "| quiche | failed |" in text
    assert "the server did not start" in text
    assert "too many gaps \\| and more" in text
    assert "tcp-tls: TCP has no streams (streams)" in text
    assert "1.83x (noq)" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1, block


def test_numbers_for_people() -> None:
    shown = [table.number(value) for value in (0.01234, 8.256, 47.31, 512.6, 142_000.4)]
    assert shown == ["0.0123", "8.26", "47.3", "513", "142,000"]


def test_works_are_known_by_name_and_by_group() -> None:
    assert [w.name for w in works.select(["bulk"], quick=False)] == [
        "download",
        "upload",
        "streams",
    ]
    assert works.select([], quick=False) == list(works.WORKS)
    with pytest.raises(ValueError, match="no work 'downlaod'"):
        works.select(["downlaod"], quick=False)


def test_a_quick_run_does_less_of_everything() -> None:
    for whole, quick in zip(works.WORKS, works.select([], quick=True), strict=True):
        assert quick.name == whole.name
        assert quick.options != whole.options
        assert quick.number("connections") <= works.QUICK_CONNECTIONS


def test_values() -> None:
    assert WORK["download"].value({"bytes": 10**9, "seconds": 2.0}) == 4.0
    assert WORK["100M"].value({"bytes": 10**7, "seconds": 1.0}) == 80.0
    assert WORK["full"].value({"count": 500, "seconds": 0.5}) == 1000.0
    assert WORK["first-byte"].value({"latency_us": {"p50": 700.0}}) == 700.0
    assert WORK["idle"].value({"idle_bytes": 10_000 * 25 * 1024}) == 25.0


@pytest.mark.parametrize(
    ("work", "facts", "seen", "right"),
    [
        ("download", {"bytes": 10**9}, {"received": 0}, True),
        ("download", {"bytes": 10**9 - 1}, {"received": 0}, False),
        ("download", {"bytes": 10**9, "mismatches": 1}, {"received": 0}, False),
        ("upload", {"bytes": 10**9}, {"received": 10**9}, True),
        ("upload", {"bytes": 10**9}, {"received": 10**9 - 1}, False),
        ("upload", {"bytes": 10**9}, {"received": 10**9, "mismatches": 1}, False),
        ("requests-32-1", {"count": 10_000}, {}, True),
        ("requests-32-1", {"count": 9_999}, {}, False),
        ("full", {"count": 500}, {"connections": 500}, True),
        ("full", {"count": 500}, {"connections": 499}, False),
        ("idle", {"count": 10_000}, {"connections": 9_999}, False),
        ("datagrams", {"count": 500_000}, {"datagrams": 0}, False),
    ],
)
def test_what_counts_as_done(
    work: str, facts: dict[str, Any], seen: dict[str, Any], right: bool
) -> None:
    facts = {"mismatches": 0, **facts}
    assert runner.verify(WORK[work], facts, {"mismatches": 0, **seen}) is right


def test_datagrams_count_when_they_have_come() -> None:
    facts = {"mismatches": 0, "count": 500_000}
    assert runner.verify(WORK["datagrams"], facts, {"mismatches": 0, "datagrams": 400_000})
    assert facts["count"] == 400_000


def test_packets_per_call() -> None:
    calls = process.parse_calls(
        "# started on today\n\n"
        "1000,,syscalls:sys_enter_sendmsg,650654,100.00,,\n"
        "7,,syscalls:sys_enter_recvmmsg,650654,100.00,,\n"
        "<not counted>,,syscalls:sys_enter_sendto,0,0.00,,\n"
    )
    assert calls == {"sendmsg": 1000, "recvmmsg": 7}
    packets = 10**9 / runner.PACKET
    down = runner.per_call(WORK["download"], {"recvmmsg": 10_000, "sendmsg": 5}, calls)
    assert down["packets_per_send_call"] == pytest.approx(packets / 1000)
    assert down["packets_per_receive_call"] == pytest.approx(packets / 10_000)
    up = runner.per_call(WORK["upload"], calls, {"recvmmsg": 10_000})
    assert up["packets_per_send_call"] == pytest.approx(packets / 1000)


def test_what_a_driver_said_of_errors_names_no_place_of_this_machine(tmp_path: Path) -> None:
    place = f"{peers.ROOT}/x.py"
    code = f"import sys; sys.exit('one\\n' * 9 + {place!r})"
    with process.started([sys.executable, "-c", code], None, {}, tmp_path) as driver:
        driver.child.wait(process.PATIENCE)
        assert driver.said() == "one / one / one / x.py"


def test_the_load_of_others() -> None:
    before = machine.Load.parse("cpu  100 0 100 800 0 0 0 0 0 0", 10.0)
    after = machine.Load.parse("cpu  250 50 150 900 0 0 0 50 0 0", 12.0)
    others = 300 / machine.TICKS
    assert after.foreign(before, 0.0) == pytest.approx(others / 2)
    assert after.foreign(before, others / 2) == pytest.approx(others / 4)
    assert after.foreign(before, 99.0) == 0.0


def test_commands() -> None:
    work = WORK["requests-32-16"]
    driver = PEER["quinn"].client_command(work, "127.0.0.1:7", FILES)
    options = "--to 127.0.0.1:7 --ca ca.pem --work requests --requests 80000 --response 32"
    assert " ".join(driver).endswith(f"compare-quinn client {options} --inflight 16")
    ours = PEER["tquic"].client_command(work, "127.0.0.1:7", FILES)
    options = "--requests 80000 --connections 1 --inflight 16 --response 32"
    assert " ".join(ours).endswith(f"127.0.0.1:7 --cacert ca.pem --json {options}")
    active = PEER["tquic"].client_command(WORK["active"], "127.0.0.1:7", FILES)
    assert "--requests 100 --connections 1000" in " ".join(active)


def test_pairs_of_stacks() -> None:
    (pair,) = peers.select(["quinn/tquic"])
    assert pair.client == PEER["quinn"].client
    assert pair.server == PEER["tquic"].server
    assert pair.environment == PEER["tquic"].environment
    assert pair.builds == ("quinn", "tquic")
    with pytest.raises(ValueError, match="no peer 'quin'"):
        peers.select(["quin"])


def test_every_peer_says_what_it_does_not_do() -> None:
    cells, not_run = command.plan(list(peers.PEERS), list(works.WORKS), {"quiche": "no CMake"})
    assert len(cells) + len(not_run) == len(peers.PEERS) * len(works.WORKS)
    assert all(entry["reason"] for entry in not_run)
    reason = {"could not be built: no CMake"}
    assert {entry["reason"] for entry in not_run if entry["peer"] == "quiche"} == reason
    _, not_run = command.plan([PEER["quinn"]], list(works.WORKS), {"relay": "no disk"})
    assert [e["work"] for e in not_run] == [work.name for work in works.WORKS if work.link]


def test_rounds_are_interleaved_and_failures_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def run(peer: peers.Peer, work: works.Work, _: object) -> dict[str, Any]:
        order.append(peer.name)
        if peer.name == "noq":
            raise RunError("closed")
        wrong = peer.name == "quinn" and order.count("quinn") == 2
        return facts(1.0) | {"verified": not wrong, "noisy": False}

    monkeypatch.setattr(runner, "run", run)
    cells = [cell(name, "download") for name in ("tquic", "quinn", "noq")]
    lines: list[str] = []
    runner.interleave(cells, 3, None, lines.append)  # type: ignore[arg-type]
    # Whoever failed at once is not tried again; nobody is always first.
    assert order[:3] == ["quinn", "noq", "tquic"]
    assert order[3:] == ["tquic", "quinn", "tquic", "quinn"]
    assert [len(c.runs) for c in cells] == [3, 2, 0]
    assert cells[1].failures == ["wrong or missing bytes"]
    assert cells[2].failures == ["closed"]
    assert sum("FAILED" in line for line in lines) == 2


def test_a_noisy_run_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([0.9, 0.01])

    def once(*_: object) -> dict[str, Any]:
        return {"foreign_cpus": next(loads)}

    monkeypatch.setattr(runner, "_run", once)
    monkeypatch.setattr(machine, "wait_until_quiet", lambda _: True)
    quiet = runner.Session(FILES, Path(), Path(), 1.0, pinned=True)
    assert runner.run(PEER["quinn"], WORK["download"], quiet)["noisy"] is False
    loads = iter([0.9, 0.9])
    hurried = replace(quiet, patience=0.0)
    assert runner.run(PEER["quinn"], WORK["download"], hurried)["noisy"] is True
    assert list(loads) == [0.9]


def test_a_page_gets_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    part = "<!-- compare: {} -->\n{}\n<!-- end of compare -->\n"
    page.write_text(f"before\n{part.format('bulk requests', 'old')}between\n")
    with page.open("a") as more:
        more.write(part.format("links", "kept"))
    drawn = []

    def draw(shown: Session, folder: Path) -> list[Path]:
        drawn.append(list(shown.works))
        return [folder / "bulk.svg"]

    monkeypatch.setattr(command.plots, "draw", draw)
    command.write(page, session(cell("tquic", "download", 9.0), cell("quinn", "full", 9.0)))
    text = page.read_text()
    assert drawn == [["download"]]
    assert "old" not in text
    assert "quinn" not in text
    assert text.startswith("before\n<!-- compare: bulk requests -->\n")
    assert text.endswith(f"between\n{part.format('links', 'kept')}")
    assert "![bulk](compare/bulk.svg)\n<!-- end of compare -->\n" in text


def test_the_command_repeats_the_session() -> None:
    words = ["--peers", "tquic quinn", "--work", "bulk", "--rounds", "3", "--quick"]
    options = command.arguments(words)
    assert command.command(options) == "make compare PEERS=tquic,quinn WORK=bulk ROUNDS=3 QUICK=1"
