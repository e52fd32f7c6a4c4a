"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from compare.peers import SUBJECT
from compare.results import Session, Spread

NONE = "-"
FAILED = "failed"


def markdown(session: Session) -> str:
    """All tables of a session, and what was not run and what failed."""
    parts = []
    groups = dict.fromkeys(work["group"] for work in session.works.values())
    for group in groups:
        works = [name for name, work in session.works.items() if work["group"] == group]
        parts.append(_values(session, works))
        if group in {"bulk", "links"}:
            parts.append(_costs(session, works, "CPU seconds per GB"))
        if group == "requests":
            parts.append(_latencies(session, works))
        if group in {"requests", "handshakes", "datagrams", "connections"}:
            events = [name for name in works if session.works[name]["unit"] != "KiB"]
            parts.append(_costs(session, events, "CPU milliseconds each"))
        if group == "bulk":
            parts.append(_calls(session, works))
    parts.append(_about(session))
    parts.extend(_remarks(session))
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(map(_row, [head, rule, *rows]))


def _peers(session: Session, works: Sequence[str]) -> list[str]:
    """Those that have to do with the works."""
    return [p for p in session.peers if any(session.cell(work, p) for work in works)]


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 10_000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _spread(spread: Spread | None, failures: Sequence[str]) -> str:
    if spread is None:
        return FAILED if failures else NONE
    text = f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"
    return f"{text}, {len(failures)} failed" if failures else text


def _values(session: Session, works: Sequence[str]) -> str:
    head = [
        "",
        *(f"{session.works[work]['title']}, {session.works[work]['unit']}" for work in works),
    ]
    rows = [
        [peer, *(_spread(session.spread(w, peer), session.failures(w, peer)) for w in works)]
        for peer in _peers(session, works)
    ]
    rows.append([f"{SUBJECT} to the best other QUIC stack", *(_lead(session, w) for w in works)])
    return _table(head, rows)


def _lead(session: Session, work: str) -> str:
    other = session.best_other(work)
    ratio = None if other is None else session.ratio(work, SUBJECT, other)
    return NONE if ratio is None else f"{ratio:.2f}x ({other})"


def _latencies(session: Session, works: Sequence[str]) -> str:
    def cell(work: str, peer: str) -> str:
        spreads = [session.latency(work, peer, name) for name in ("p50", "p99", "p99_9")]
        return " / ".join(NONE if s is None else number(s.median) for s in spreads)

    head = ["p50 / p99 / p99.9, us", *(session.works[work]["title"] for work in works)]
    return _table(head, [[p, *(cell(w, p) for w in works)] for p in _peers(session, works)])


def _costs(session: Session, works: Sequence[str], what: str) -> str:
    def cell(work: str, peer: str) -> str:
        ends = [session.cpu(work, peer, end) for end in ("client", "server")]
        return " + ".join(NONE if cost is None else number(cost) for cost in ends)

    rows = [[p, *(cell(w, p) for w in works)] for p in _peers(session, works)]
    head = [f"{what}, client + server", *(session.works[work]["title"] for work in works)]
    return _table(head, rows) if rows else ""


def _calls(session: Session, works: Sequence[str]) -> str:
    """Packets per call and memory, of the first work with counts."""
    rows = []
    for peer in _peers(session, works):
        row = [peer]
        for work in works:
            cell = session.cell(work, peer)
            calls = cell["calls"] if cell else None
            keys = ("packets_per_send_call", "packets_per_receive_call")
            row.append(" / ".join(number(calls[k]) for k in keys) if calls else NONE)
        peaks = [
            session.spread(works[0], peer, key) for key in ("peak_memory", "server_peak_memory")
        ]
        row.append(" + ".join(NONE if p is None else number(p.median / 2**20) for p in peaks))
        rows.append(row)
    titles = (session.works[work]["title"] for work in works)
    first = session.works[works[0]]["title"]
    head = [
        "full packets of data per system call, sent / received",
        *titles,
        f"peak memory in MiB, client + server, {first}",
    ]
    return _table(head, rows)


def _about(session: Session) -> str:
    document = session.document
    machine = document["machine"]
    memory = machine["memory_bytes"] / 2**30
    features = ", ".join(machine["features"])
    noisy = sum(run["noisy"] for cell in document["results"] for run in cell["runs"])
    runs = sum(len(cell["runs"]) for cell in document["results"])
    lines = [
        f"{document['started'][:10]}, {machine['cpus']} CPUs ({machine['cpu']}; {features}), "
        f"{memory:.0f} GiB, {machine['kernel']}, socket buffers up to "
        f"{machine['socket_buffer_max'] or 0:,} bytes. `{document['command']}`: "
        f"{document['rounds']} interleaved rounds; medians (lowest to highest).",
    ]
    if noisy:
        lines.append(f"Others used the machine during {noisy} of {runs} runs.")
    return " ".join(lines)


def _remarks(session: Session) -> list[str]:
    said = []
    for name, facts in session.peers.items():
        versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
        text = "; ".join(part for part in (versions, facts["remark"]) if part)
        said.append(f"- **{name}**: {text or 'ours'}")
        if facts["failure"]:
            said[-1] += f"; could not be built: {_one_line(facts['failure'])}"
    failed = [
        f"- {cell['peer']}, {session.works[cell['work']]['title']}: "
        + "; ".join(dict.fromkeys(map(_one_line, cell["failures"])))
        for cell in session.document["results"]
        if cell["failures"]
    ]
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in session.document["not_run"]:
        key = (entry["peer"], _one_line(entry["reason"]))
        reasons.setdefault(key, []).append(entry["work"])
    alike: dict[tuple[str, str], list[str]] = {}
    for (peer, reason), works in reasons.items():
        alike.setdefault((reason, ", ".join(works)), []).append(peer)
    missing = [
        f"- {', '.join(peers)}: {reason} ({works})" for (reason, works), peers in alike.items()
    ]
    parts = ["Versions and what is not as it is for the others:", "\n".join(said)]
    if failed:
        parts += ["Runs that failed:", "\n".join(failed)]
    if missing:
        parts += ["Not run:", "\n".join(missing)]
    return parts


def _one_line(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 200 else f"{line[:200]}..."
