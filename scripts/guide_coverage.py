"""Writes docs/guide-coverage.md: every heading and identifier of the TQUIC kernel API guide, what
stands for it here, and the test that proves it. A test says when the page is not what this writes.

    python scripts/guide_coverage.py        writes the page
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide-coverage.md"

State = Literal["done", "partly", "not done"]


class Row(NamedTuple):
    """One heading, or one identifier."""

    name: str
    state: State
    here: str
    """What stands for it: for a name in code quotes the page's test looks whether it is there."""
    test: str
    """``file::test``, both of which must be there; empty only for what is not done."""


class Section(NamedTuple):
    """A heading of the guide."""

    heading: str
    rows: list[Row]


_NETLINK = "tests/sockets/test_c.py::test_the_guides_netlink_fragment"
_GUIDE = "tests/sockets/test_guide.py::test_the_walk_through"
_C = "tests/sockets/test_c.py::test_the_guides_client_and_server"
_DEFAULTS = "tests/sockets/test_guide.py::test_defaults"
_MULTIPATH = "tests/python/test_multipath.py::test_paths_come_carry_and_go"
_BPF = "tests/cli/test_bpf.py::test_the_guides_example_compiles_unchanged"
_CALLBACKS = "rust/sched/tests/examples.rs::weights_globals_and_every_callback"
_LEAST = "rust/sched/tests/examples.rs::the_guides_example_takes_the_path_with_the_least_rtt"
_PROBES = "tests/python/test_probes.py::test_the_compiled_module_has_every_probe"
_SCRIPT = "tests/python/test_probes.py::test_the_guides_script_runs_unchanged"
_SYSCTL = "tests/python/test_sysctl.py::test_settings_reach_configurations"


def _option(name: str, note: str, test: str = _GUIDE, state: State = "done") -> Row:
    return Row(name, state, f"`tquic.socket.{name}`{': ' if note else ''}{note}", test)


def _socket() -> Iterator[Section]:
    yield Section(
        "Creating QUIC Sockets",
        [
            Row(
                "IPPROTO_QUIC",
                "done",
                "`tquic.socket.socket`; C: `tquic run`",
                "tests/sockets/test_socket.py::test_options_are_told_from_wrong_ones",
            ),
        ],
    )
    yield Section("Socket Options", [_option("SOL_TQUIC", "the level")])
    yield Section(
        "Connection Configuration",
        [
            _option("TQUIC_SOCKOPT_ALPN", "several names with commas; read, the one agreed on"),
            _option("TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT", "default 30000", _DEFAULTS),
            _option("TQUIC_SOCKOPT_INITIAL_MAX_DATA", "default 1 MB", _DEFAULTS),
            _option("TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI", ""),
            _option("TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI", ""),
        ],
    )
    yield Section(
        "Multipath Configuration",
        [
            _option("TQUIC_SOCKOPT_MULTIPATH_ENABLE", "default off", _DEFAULTS),
            _option(
                "TQUIC_SOCKOPT_SCHEDULER",
                "the schedulers of `Config.scheduler`; a name that the engine does not have is "
                "refused",
                "tests/sockets/test_guide.py::test_schedulers",
            ),
            _option("TQUIC_SOCKOPT_ADD_PATH", "waits until the path works"),
        ],
    )
    yield Section(
        "Congestion Control",
        [_option("TQUIC_SOCKOPT_CONGESTION", "all names of the guide, and newreno")],
    )
    yield Section(
        "Enabling Qlog",
        [
            _option("TQUIC_QLOG_ENABLE", "also into files and to listeners, modes of ours"),
            Row("struct tquic_qlog_args", "done", "`tquic.socket.QlogArgs`", _GUIDE),
            _option("TQUIC_QLOG_MODE_NETLINK", "", _NETLINK),
            _option("TQUIC_QLOG_SEV_BASE", ""),
            Row("QLOG_MASK_ALL", "done", "`tquic.socket.QLOG_MASK_ALL`", _GUIDE),
            Row(
                "net.tquic.qlog_enable",
                "done",
                "`tquic sysctl`; where to says net.tquic.qlog_mode, by default files in the folder "
                "QLOGDIR, or in ~/.local/state/tquic/qlog",
                "tests/python/test_sysctl.py::test_qlog",
            ),
            Row(
                "net.tquic.qlog_mask",
                "done",
                "`tquic sysctl`",
                "tests/python/test_sysctl.py::test_qlog",
            ),
        ],
    )
    yield Section(
        "Opening Streams",
        [
            _option("TQUIC_SOCKOPT_STREAM_OPEN", "`socket.socket.open_stream`"),
            Row("struct tquic_stream_info", "done", "`tquic.socket.StreamInfo`", _GUIDE),
        ],
    )
    yield Section(
        "Sending Data",
        [
            _option(
                "TQUIC_STREAM_ID",
                "`tquic.socket.socket.sendmsg`, `tquic.socket.socket.send_stream`",
            )
        ],
    )
    yield Section(
        "Receiving Data",
        [
            _option(
                "TQUIC_STREAM_INFO",
                "`tquic.socket.socket.recvmsg`, `tquic.socket.socket.recv_stream`",
            )
        ],
    )


def _schedulers() -> Iterator[Section]:
    header = "`python/tquic/include/tquic_bpf.h`"
    events = ("packet_sent", "packet_acked", "packet_lost", "path_change")
    yield Section(
        "Scheduler Structure",
        [
            Row("struct tquic_scheduler_ops", "done", header, _CALLBACKS),
            Row("struct tquic_scheduler", "done", header, _CALLBACKS),
            Row("struct tquic_path", "done", header, _CALLBACKS),
            Row("struct tquic_sched_ctx", "done", header, _CALLBACKS),
            Row("enum tquic_path_event", "done", header, _CALLBACKS),
            Row("select_path", "done", header, _LEAST),
            *(Row(f"on_{name}", "done", header, _CALLBACKS) for name in events),
        ],
    )
    yield Section(
        "Example BPF Scheduler",
        [
            Row("the example, as it is printed", "done", "`tquic bpf compile`", _BPF),
            Row("for_each_path", "done", header, _LEAST),
        ],
    )
    of_all = ("primary_path", "backup_path", "path_count", "active_path_count")
    metrics = ("srtt_us", "min_rtt_us", "bandwidth", "cwnd", "bytes_in_flight", "loss_rate")
    yield Section(
        "Path Information",
        [
            *(Row(f"bpf_tquic_get_{name}", "done", header, _CALLBACKS) for name in of_all),
            Row("bpf_tquic_path_next", "done", header, _LEAST),
        ],
    )
    yield Section(
        "Path Metrics",
        [
            Row("bpf_tquic_path_is_usable", "done", header, _CALLBACKS),
            Row("bpf_tquic_path_is_active", "done", header, _CALLBACKS),
            *(Row(f"bpf_tquic_path_get_{name}", "done", header, _CALLBACKS) for name in metrics),
            Row("bpf_tquic_path_can_send", "done", header, _LEAST),
        ],
    )


_TRACEPOINTS = {
    "Connection Tracepoints": ("connection_new", "connection_established", "connection_closed"),
    "Packet Tracepoints": ("packet_sent", "packet_received", "packet_dropped", "packet_lost"),
    "Stream Tracepoints": ("stream_opened", "stream_closed", "stream_data"),
    "Congestion Control Tracepoints": ("cc_state_changed", "cc_metrics_updated"),
    "Multipath Tracepoints": (
        "path_created",
        "path_validated",
        "path_closed",
        "scheduler_decision",
        "migration",
    ),
}


def _observing() -> Iterator[Section]:
    for heading, names in _TRACEPOINTS.items():
        probe = "a USDT probe of this name: `tquic.probes`"
        yield Section(heading, [Row(f"tquic:{name}", "done", probe, _PROBES) for name in names])
    yield Section(
        "Example bpftrace",
        [Row("the script, as it is printed", "done", "`tquic trace`", _SCRIPT)],
    )
    yield Section(
        "Receiving Qlog Events",
        [
            Row(
                "the multicast group qlog",
                "done",
                "`tquic qlog`; for libnl the library of `tquic run` answers, see "
                "[Observability](observability.md#netlink)",
                _NETLINK,
            )
        ],
    )


def _tuning() -> Iterator[Section]:
    general = ("max_connections", "default_congestion", "multipath_default", "ecn_enable")
    reach = "`Config.load`, every command, `tquic.socket` and C programs"
    yield Section(
        "Sysctl Parameters",
        [
            *(
                Row(f"net.tquic.{name}", "done", f"`tquic sysctl`; counts for {reach}", _SYSCTL)
                for name in general
            ),
            *(
                Row(
                    f"net.tquic.{name}",
                    "done",
                    "`tquic sysctl`; counts when a process begins its engine",
                    "tests/python/test_sysctl.py::test_the_default_engine",
                )
                for name in ("gso_enable", "gro_enable")
            ),
        ],
    )
    loan = "tests/sockets/test_guide.py::test_the_walk_through"
    yield Section(
        "Zero-Copy I/O",
        [
            _option(
                "TQUIC_SOCKOPT_ZEROCOPY",
                "the engine reads the program's buffer, no copy is made of it before packets are "
                "sealed. The kernel reads the packets where they were sealed only with "
                "net.tquic.zerocopy_enable, for it seldom pays: see [Zero copy](zero-copy.md)",
                loan,
            ),
            _option("MSG_ZEROCOPY", "", loan),
            _option(
                "MSG_ERRQUEUE", "asked for without waiting: POLLERR does not tell", loan, "partly"
            ),
        ],
    )
    yield Section(
        "AF_XDP Integration",
        [
            _option(
                "TQUIC_SOCKOPT_AF_XDP",
                "1 (copies), 2 (none) where the environment names an interface (TQUIC_XDP), which "
                "the option does not; else EOPNOTSUPP. `tquic.Engine` and "
                "`tquic perf --backend xdp` have it, too: see [AF_XDP](af-xdp.md)",
                "tests/cli/test_xdp.py::test_sockets_of_the_guide",
            )
        ],
    )
    offload = "tests/sockets/test_guide.py::test_hardware_offload"
    yield Section(
        "Hardware Offload",
        [
            _option("TQUIC_SOCKOPT_OFFLOAD_INFO", "UDP GSO and GRO, AES of the CPU", offload),
            Row("struct tquic_offload_info", "done", "`tquic.socket.OffloadInfo`", offload),
            _option("TQUIC_OFFLOAD_CAP_CRYPTO", "never there", offload),
            _option("TQUIC_OFFLOAD_CRYPTO", "enabling it fails", offload),
            _option("TQUIC_SOCKOPT_OFFLOAD_ENABLE", "", offload),
        ],
    )
    yield Section(
        "Running Benchmarks",
        [
            Row("/proc/tquic_bench", "not done", "`tquic perf` measures throughput and rates", ""),
        ],
    )
    yield Section(
        "Viewing Results",
        [Row("/proc/tquic_bench_results", "not done", "`tquic perf` prints JSON", "")],
    )


def _rest() -> Iterator[Section]:
    codes = "tests/sockets/test_guide.py::test_error_codes"
    names = (
        *("NO_ERROR", "INTERNAL_ERROR", "CONNECTION_REFUSED", "FLOW_CONTROL_ERROR"),
        *("STREAM_LIMIT_ERROR", "STREAM_STATE_ERROR", "FINAL_SIZE_ERROR", "FRAME_ENCODING_ERROR"),
        *("TRANSPORT_PARAMETER_ERROR", "PROTOCOL_VIOLATION", "CRYPTO_ERROR"),
    )
    yield Section(
        "Transport Errors (RFC 9000)",
        [
            Row(f"TQUIC_ERR_{name}", "done", f"`tquic.codes.TQUIC_ERR_{name}`", codes)
            for name in names
        ],
    )
    own = "tests/sockets/test_guide.py::test_versions"
    negotiated = "rust/core/tests/basics.rs::versions_are_negotiated_compatibly"
    yield Section(
        "Version History",
        [
            Row("QUIC v1", "done", "`Config.versions`", own),
            Row("QUIC v2", "done", "`Config.versions`", negotiated),
            Row("Compatible version negotiation", "done", "`Config.initial_version`", negotiated),
        ],
    )
    yield Section(
        "See Also",
        [
            Row(
                "tquic-sysctl",
                "done",
                "[Sockets](sockets.md#sysctl)",
                "tests/python/test_sysctl.py::test_the_command",
            ),
            Row("tquic-multipath", "done", "[Several paths](multipath.md)", _MULTIPATH),
            Row(
                "tquic-security",
                "done",
                "[Security](security.md)",
                "tests/python/test_tls.py::test_what_is_verified",
            ),
        ],
    )


# What only holds other headings, or names no thing of its own.
GROUPS = (
    "TQUIC Kernel API Guide",
    "Introduction",
    "Overview",
    "Socket Interface",
    "Observability",
    "Stream Operations",
    "BPF Scheduler Interface",
    "Available BPF kfuncs",
    "Tracepoints",
    "Qlog",
    "Performance Tuning",
    "Benchmarking",
    "Error Codes",
    "References",
)


def sections() -> list[Section]:
    """Everything, in the order of the guide."""
    return [*_socket(), *_schedulers(), *_observing(), *_tuning(), *_rest()]


def page() -> str:
    """The page."""
    rows = [row for section in sections() for row in section.rows]
    counts = {
        state: sum(row.state == state for row in rows) for state in ("done", "partly", "not done")
    }
    lines = [
        "# What of the API guide is here",
        "",
        "The TQUIC kernel API guide describes a kernel module. This is what a reader of it finds "
        "here, heading by heading and name by name, with the test that proves it. Written by "
        "`scripts/guide_coverage.py`; a test fails when it is not up to date.",
        "",
        f"Of {len(rows)} names {counts['done']} are done, {counts['partly']} partly, "
        f"{counts['not done']} not.",
    ]
    for section in sections():
        lines += ["", f"## {section.heading}", "", "| of the guide | state | here | test |"]
        lines += ["|---|---|---|---|"]
        for row in section.rows:
            proof = (
                f"`{row.test.partition('::')[0]}`, {row.test.partition('::')[2]}"
                if row.test
                else ""
            )
            lines += [f"| {row.name} | {row.state} | {row.here} | {proof} |"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
