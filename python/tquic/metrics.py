"""Numbers of engines and connections in the text format of Prometheus.

There is no HTTP server here: whoever has one answers with `exposition`, for example in Starlette::

    PlainTextResponse(exposition(Engine.default().snapshot()), media_type=CONTENT_TYPE)

``tquic stats PID --prometheus`` prints the same for another process, which suits the textfile
collector of Prometheus' node exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of what `exposition` gives."""

# Field of the snapshot -> name and type of the metric, and what it says.
_SHARD = {
    "connections": ("connections", "gauge", "Connections, closing ones included."),
    "accepted": ("accepted_total", "counter", "Connections accepted."),
    "refused": ("refused_total", "counter", "Connections refused."),
    "retries": ("retries_total", "counter", "Retry packets sent."),
    "version_negotiations": (
        "version_negotiations_total", "counter", "Version Negotiation packets sent."
    ),
    "resets_sent": ("stateless_resets_total", "counter", "Stateless resets sent."),
    "dropped": ("stray_datagrams_total", "counter", "UDP datagrams that belonged to nobody."),
    "datagrams_sent": ("udp_datagrams_sent_total", "counter", "UDP datagrams sent."),
    "send_calls": ("send_calls_total", "counter", "System calls that sent them."),
    "datagrams_received": ("udp_datagrams_received_total", "counter", "UDP datagrams received."),
    "receive_calls": ("receive_calls_total", "counter", "System calls that received them."),
    "kernel_drops": ("kernel_drops_total", "counter", "UDP datagrams the system had no room for."),
    "zerocopy_sends": ("zerocopy_sends_total", "counter", "Trains lent to the kernel."),
    "zerocopy_copied": ("zerocopy_copied_total", "counter", "Of them, those copied all the same."),
    "zerocopy_fallbacks": (
        "zerocopy_fallbacks_total",
        "counter",
        "Times the kernel refused to borrow.",
    ),
    "panics": ("panics_total", "counter", "Defects that ended one connection each."),
    "refused_streams": (
        "refused_requests_total", "counter", "Requests refused because the program was behind."
    ),
    "unsent_trains": ("unsent_trains_total", "counter", "Trains that the socket did not take."),
    "cpu_seconds": ("cpu_seconds_total", "counter", "CPU time of the thread."),
}  # fmt: skip
_PROCESS = {
    "qlog_dropped": ("qlog_dropped_total", "counter", "qlog events that found no room."),
}
_CONNECTION = {
    "bytes_sent": ("connection_bytes_sent_total", "counter", "Bytes of UDP payload sent."),
    "bytes_received": (
        "connection_bytes_received_total", "counter", "Bytes of UDP payload received."
    ),
    "packets_sent": ("connection_packets_sent_total", "counter", "QUIC packets sent."),
    "packets_received": ("connection_packets_received_total", "counter", "QUIC packets received."),
    "dropped": ("connection_packets_dropped_total", "counter", "QUIC packets not used."),
    "qlog_dropped": ("connection_qlog_dropped_total", "counter", "qlog events that are gone."),
    "streams": ("connection_streams", "gauge", "Streams that are open."),
}  # fmt: skip
_PATH = {
    "srtt": ("path_rtt_seconds", "gauge", "Smoothed round-trip time."),
    "min_rtt": ("path_min_rtt_seconds", "gauge", "Smallest round-trip time."),
    "cwnd": ("path_congestion_window_bytes", "gauge", "Congestion window."),
    "bytes_in_flight": ("path_bytes_in_flight", "gauge", "Bytes neither acknowledged nor lost."),
    "pacing_rate": ("path_pacing_bytes_per_second", "gauge", "Rate at which sending is paced."),
    "lost_packets": ("path_lost_packets_total", "counter", "Packets declared lost."),
    "spurious_losses": ("path_spurious_losses_total", "counter", "Losses that were only late."),
    "probe_timeouts": ("path_probe_timeouts_total", "counter", "Probe timeouts."),
    "congestion_events": ("path_congestion_events_total", "counter", "Times the window was cut."),
    "mtu": ("path_datagram_bytes", "gauge", "Largest datagram that is sent."),
}  # fmt: skip


def exposition(snapshot: Mapping[str, Any], *, connections: bool = True) -> str:
    """The numbers of `Engine.snapshot` as Prometheus reads them.

    Args:
        snapshot: what `Engine.snapshot` gave, or ``tquic stats PID --json`` printed.
        connections: also those of each connection and path, labelled with the connection's ID.
            Servers with many short connections are better off without: each is a time series.
    """
    lines: list[str] = []
    shards = [({"shard": str(i)}, shard) for i, shard in enumerate(snapshot["shards"])]
    _add(lines, _SHARD, shards)
    _add(lines, _PROCESS, [({}, snapshot)])
    if connections:
        ours = [(_labels(c), c) for c in snapshot["connections"]]
        _add(lines, _CONNECTION, ours)
        paths = [
            (labels | {"path": str(path["id"])}, path) for labels, c in ours for path in c["paths"]
        ]
        _add(lines, _PATH, paths)
    return "".join(lines)


def _labels(connection: Mapping[str, Any]) -> dict[str, str]:
    return {"id": str(connection["id"]), "role": str(connection["role"])}


def _add(
    lines: list[str],
    metrics: Mapping[str, tuple[str, str, str]],
    rows: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]],
) -> None:
    rows = list(rows)
    for field, (name, kind, text) in metrics.items():
        values = [(labels, row[field]) for labels, row in rows if field in row]
        if not values:
            continue
        lines.append(f"# HELP tquic_{name} {text}\n# TYPE tquic_{name} {kind}\n")
        for labels, value in values:
            shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
            lines.append(f"tquic_{name}{f'{{{shown}}}' if shown else ''} {value}\n")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
