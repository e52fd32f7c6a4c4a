"""The result as a page."""

from __future__ import annotations

from typing import Any

from fairness.flows import OTHERS, OURS


def markdown(document: dict[str, Any]) -> str:
    """Two tables: everybody alone, and the shares of those that met."""
    link, times = document["bottleneck"], document["times"]
    results = {tuple(result["flows"]): result for result in document["results"]}
    names = [sender.name for sender in (*OURS, *OTHERS)]
    rivals = [sender.name for sender in OTHERS]
    lines = [
        f"{link['rate'] / 1e6:g} Mbit/s, {link['rtt']:g} ms, a drop-tail queue of "
        f"{link['buffer']:g} BDP; {times['measured']:g} s after {times['warm_up']:g} s. "
        f"{document['cpus']} CPUs, load {document['load']:.1f}.",
        "",
        "| alone | of the link | queue, ms | dropped |",
        "|---|---|---|---|",
    ]
    for name in names:
        if result := results.get((name,)):
            used, queue, loss = (result[key] for key in ("utilization", "queue_ms", "loss"))
            lines.append(f"| {name} | {used:.3f} | {queue:.1f} | {loss:.2%} |")
    lines += ["", f"| share against | {' | '.join(rivals)} |", "|---" * (len(rivals) + 1) + "|"]
    for name in names:
        shares = [share(results.get((name, rival))) for rival in rivals]
        if any(shares):
            lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def share(result: dict[str, Any] | None) -> str:
    """The first flow's part of what both carried, and how much of the link that was if not all."""
    if result is None:
        return ""
    part = result["rates"][0] / max(sum(result["rates"]), 1e-9)
    used = result["utilization"]
    return f"{part:.2f}" if used >= 0.95 else f"{part:.2f} (of {used:.2f})"
