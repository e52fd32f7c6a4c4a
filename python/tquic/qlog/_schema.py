"""The drafts' definitions as data: draft-ietf-quic-qlog-main-schema-14, quic-events-13.

A type is a function that says what is wrong with a value, or nothing. An object knows each of its
fields; one whose name ends in two underscores here may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

__all__ = ["EVENTS", "HEADER", "OLD_NAMES", "TYPES", "Type"]

Type: TypeAlias = Callable[[Any], Iterator[str]]
"""Yields what is wrong with a value: where, and what."""


def _uint(bits: int) -> Type:
    def check(value: Any) -> Iterator[str]:
        # Main schema, section 11.3: large numbers may be written as strings.
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            yield f": {value!r} is no whole number"
        elif not 0 <= value < 1 << bits:
            yield f": {value} does not fit {bits} bits"

    return check


def _is(kind: type | tuple[type, ...], name: str) -> Type:
    def check(value: Any) -> Iterator[str]:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            yield f": {value!r} is no {name}"

    return check


def _match(pattern: str, name: str) -> Type:
    compiled = re.compile(pattern)

    def check(value: Any) -> Iterator[str]:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            yield f": {value!r} is no {name}"

    return check


def _one_of(words: str, *others: Type) -> Type:
    known = set(words.split())

    def check(value: Any) -> Iterator[str]:
        if value in known if isinstance(value, str) else False:
            return
        if any(not list(other(value)) for other in others):
            return
        yield f": {value!r} is none of {', '.join(sorted(known))}"

    return check


def _list(of: Type, least: int = 0, most: int | None = None) -> Type:
    def check(value: Any) -> Iterator[str]:
        if not isinstance(value, list):
            yield f": {value!r} is no list"
            return
        if len(value) < least or (most is not None and len(value) > most):
            yield f": a list of {len(value)}"
        for at, item in enumerate(value):
            yield from (f"[{at}]{wrong}" for wrong in of(item))

    return check


def _object(**fields: Type) -> Type:
    """Has these fields and no others."""
    return _fields(fields, others=False)


def _open_object(**fields: Type) -> Type:
    """May have other fields too."""
    return _fields(fields, others=True)


def _fields(fields: dict[str, Type], *, others: bool) -> Type:
    needed = {name: kind for name, kind in fields.items() if not name.endswith("__")}
    optional = {name[:-2]: kind for name, kind in fields.items() if name.endswith("__")}
    known = needed | optional

    def check(value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f": {value!r} is no object"
            return
        yield from (f".{name} is missing" for name in needed if name not in value)
        for name, item in value.items():
            if name in known:
                yield from (f".{name}{wrong}" for wrong in known[name](item))
            elif not others:
                yield f".{name} is not in the drafts"

    return check


def _either(*kinds: Type) -> Type:
    def check(value: Any) -> Iterator[str]:
        wrong = [list(kind(value)) for kind in kinds]
        if all(wrong):
            yield from min(wrong, key=len)

    return check


def _by(field: str, kinds: dict[str, Type]) -> Type:
    def check(value: Any) -> Iterator[str]:
        name = value.get(field) if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in kinds:
            yield f".{field}: {name!r} is not known"
        else:
            yield from kinds[name](value)

    return check


_u8, _u16, _u32, _u64 = _uint(8), _uint(16), _uint(32), _uint(64)
_text, _bool = _is(str, "text"), _is(bool, "truth value")
_float, _map = _is((int, float), "number"), _is(dict, "object")
_hex = _match("([0-9a-f]{2})*", "hexadecimal text")
_token16 = _match("[0-9a-f]{32}", "hexadecimal text of 16 bytes")

_ADDRESSES = {"ip_v4__": _text, "port_v4__": _u16, "ip_v6__": _text, "port_v6__": _u16}
_raw = _object(length__=_u64, payload_length__=_u64, data__=_hex)
_endpoint = _object(**_ADDRESSES, connection_ids__=_list(_hex, 1))
_initiator = _one_of("local remote")
_token = _object(type__=_one_of("retry resumption"), details__=_map, raw__=_raw)
_packet_type = _one_of(
    "initial handshake 0RTT 1RTT retry version_negotiation stateless_reset unknown"
)
_space = _one_of("initial handshake application_data")
_stream_type = _one_of("unidirectional bidirectional")
_ecn = _one_of("Not-ECT ECT(1) ECT(0) CE")
_ecn_state = _one_of("testing unknown failed capable")
_application_error = _one_of("unknown")
_transport_error = _one_of(
    "no_error internal_error connection_refused flow_control_error stream_limit_error "
    "stream_state_error final_size_error frame_encoding_error transport_parameter_error "
    "connection_id_limit_error protocol_violation invalid_token application_error "
    "crypto_buffer_exceeded key_update_error aead_limit_reached no_viable_path unknown",
    _match("crypto_error_0x1[0-9a-f][0-9a-f]", "CRYPTO_ERROR"),
)
_header = _object(
    packet_type=_packet_type,
    packet_type_bytes__=_u64,
    spin_bit__=_bool,
    key_phase__=_u64,
    key_phase_bit__=_bool,
    packet_number_length__=_u8,
    packet_number__=_u64,
    token__=_token,
    length__=_u16,
    version__=_hex,
    scil__=_u8,
    dcil__=_u8,
    scid__=_hex,
    dcid__=_hex,
)


def _frame(**fields: Type) -> Type:
    return _object(frame_type=_text, raw__=_raw, **fields)


_ERROR = {"error": _application_error, "error_code__": _u64}
_frame_of = _by(
    "frame_type",
    {
        "padding": _frame(),
        "ping": _frame(),
        "ack": _frame(
            ack_delay__=_float,
            acked_ranges__=_list(_list(_u64, 1, 2), 1),
            ect1__=_u64,
            ect0__=_u64,
            ce__=_u64,
        ),
        "reset_stream": _frame(stream_id=_u64, final_size=_u64, **_ERROR),
        "reset_stream_at": _frame(stream_id=_u64, final_size=_u64, reliable_size=_u64, **_ERROR),
        "stop_sending": _frame(stream_id=_u64, **_ERROR),
        "crypto": _object(frame_type=_text, offset=_u64, raw=_raw),
        "new_token": _frame(token=_token),
        "stream": _frame(stream_id=_u64, offset__=_u64, fin__=_bool),
        "max_data": _frame(maximum=_u64),
        "max_stream_data": _frame(stream_id=_u64, maximum=_u64),
        "max_streams": _frame(stream_type=_stream_type, maximum=_u64),
        "data_blocked": _frame(limit=_u64),
        "stream_data_blocked": _frame(stream_id=_u64, limit=_u64),
        "streams_blocked": _frame(stream_type=_stream_type, limit=_u64),
        "new_connection_id": _frame(
            sequence_number=_u64,
            retire_prior_to=_u64,
            connection_id_length__=_u8,
            connection_id=_hex,
            stateless_reset_token__=_token16,
        ),
        "retire_connection_id": _frame(sequence_number=_u64),
        "path_challenge": _frame(data__=_hex),
        "path_response": _frame(data__=_hex),
        "connection_close": _frame(
            error_space__=_one_of("transport application"),
            error__=_transport_error,
            error_code__=_u64,
            reason__=_text,
            reason_bytes__=_hex,
            trigger_frame_type__=_either(_u64, _text),
        ),
        "handshake_done": _frame(),
        "unknown": _frame(frame_type_bytes=_u64),
        "datagram": _frame(),
    },
)
_frames = _list(_frame_of)

_PACKET = {
    "header": _header,
    "frames__": _frames,
    "stateless_reset_token__": _token16,
    "supported_versions__": _list(_hex, 1),
    "raw__": _raw,
    "datagram_id__": _u32,
}
_REMEMBERED = {
    "disable_active_migration__": _bool,
    "max_idle_timeout__": _u64,
    "max_udp_payload_size__": _u64,
    "active_connection_id_limit__": _u64,
    "initial_max_data__": _u64,
    "initial_max_stream_data_bidi_local__": _u64,
    "initial_max_stream_data_bidi_remote__": _u64,
    "initial_max_stream_data_uni__": _u64,
    "initial_max_streams_bidi__": _u64,
    "initial_max_streams_uni__": _u64,
    "max_datagram_frame_size__": _u64,
    "grease_quic_bit__": _bool,
}
_state = _one_of(
    "attempted handshake_started handshake_complete closed peer_validated early_write "
    "handshake_confirmed closing draining"
)
_stream_state = _one_of(
    "idle open closed half_closed_local half_closed_remote ready send data_sent reset_sent "
    "reset_received receive size_known data_read reset_read data_received destroyed"
)
_migration = _one_of(
    "probing_started probing_abandoned probing_successful migration_started migration_abandoned "
    "migration_complete"
)
_alpn = _object(byte_value__=_hex, string_value__=_text)
_datagrams = _object(
    count__=_u16, raw__=_list(_raw, 1), ecn__=_list(_ecn, 1), datagram_ids__=_list(_u32, 1)
)
_location = _one_of("application transport network")
_BETWEEN = {"from__": _location, "to__": _location}
_blocked = _one_of("blocked unblocked")
_blocked_reason = _one_of(
    "scheduling pacing amplification_protection congestion_control connection_flow_control "
    "stream_flow_control stream_id application"
)
_KEY = {
    "key_type": _match("(server|client)_(initial|handshake|1rtt|0rtt)_secret", "type of keys"),
    "key_phase__": _u64,
    "trigger__": _one_of("tls remote_update local_update"),
}
_processed = _object(frames=_frames, packet_numbers__=_list(_u64))
_message = _object(code__=_u64, message__=_text)

TYPES: Final[dict[str, Type]] = {
    "quic:server_listening": _object(**_ADDRESSES, retry_required__=_bool),
    "quic:connection_started": _object(local=_endpoint, remote=_endpoint),
    "quic:connection_closed": _object(
        initiator__=_initiator,
        connection_error__=_transport_error,
        application_error__=_application_error,
        error_code__=_u64,
        internal_code__=_u64,
        reason__=_text,
        trigger__=_one_of(
            "idle_timeout application error version_mismatch stateless_reset aborted unspecified"
        ),
    ),
    "quic:connection_id_updated": _object(initiator=_initiator, old__=_hex, new__=_hex),
    "quic:spin_bit_updated": _object(state=_bool),
    "quic:connection_state_updated": _object(old__=_state, new=_state),
    "quic:tuple_assigned": _object(
        tuple_id=_text, tuple_remote__=_endpoint, tuple_local__=_endpoint
    ),
    "quic:mtu_updated": _object(old__=_u32, new=_u32, done__=_bool),
    "quic:version_information": _object(
        server_versions__=_list(_hex, 1), client_versions__=_list(_hex, 1), chosen_version__=_hex
    ),
    "quic:alpn_information": _object(
        server_alpns__=_list(_alpn), client_alpns__=_list(_alpn), chosen_alpn__=_alpn
    ),
    "quic:parameters_set": _object(
        initiator__=_initiator,
        resumption_allowed__=_bool,
        early_data_enabled__=_bool,
        tls_cipher__=_text,
        original_destination_connection_id__=_hex,
        initial_source_connection_id__=_hex,
        retry_source_connection_id__=_hex,
        stateless_reset_token__=_token16,
        ack_delay_exponent__=_u64,
        max_ack_delay__=_u64,
        preferred_address__=_object(
            **_ADDRESSES, connection_id=_hex, stateless_reset_token=_token16
        ),
        unknown_parameters__=_list(_object(id=_u64, value__=_hex)),
        reset_stream_at__=_bool,
        **_REMEMBERED,
    ),
    "quic:parameters_restored": _object(**_REMEMBERED),
    "quic:packet_sent": _object(
        is_mtu_probe_packet__=_bool,
        trigger__=_one_of(
            "retransmit_reordered retransmit_timeout pto_probe retransmit_crypto cc_bandwidth_probe"
        ),
        **_PACKET,
    ),
    "quic:packet_received": _object(trigger__=_one_of("keys_available"), **_PACKET),
    "quic:packet_dropped": _object(
        header__=_header,
        raw__=_raw,
        datagram_id__=_u32,
        details__=_map,
        trigger__=_one_of(
            "internal_error rejected unsupported invalid duplicate connection_unknown "
            "decryption_failure key_unavailable general"
        ),
    ),
    "quic:packet_buffered": _object(
        header__=_header,
        raw__=_raw,
        datagram_id__=_u32,
        trigger__=_one_of("backpressure keys_unavailable"),
    ),
    "quic:packets_acked": _object(packet_number_space__=_space, packet_numbers__=_list(_u64, 1)),
    "quic:udp_datagrams_sent": _datagrams,
    "quic:udp_datagrams_received": _datagrams,
    "quic:udp_datagram_dropped": _object(raw__=_raw),
    "quic:stream_state_updated": _object(
        stream_id=_u64,
        stream_type__=_stream_type,
        old__=_stream_state,
        new=_stream_state,
        stream_side=_one_of("sending receiving"),
        trigger__=_initiator,
    ),
    "quic:frames_created": _processed,
    "quic:frames_parsed": _processed,
    "quic:frames_processed": _processed,
    "quic:stream_data_moved": _object(
        stream_id__=_u64,
        offset__=_u64,
        **_BETWEEN,
        additional_info__=_one_of("fin_set stream_reset"),
        raw__=_raw,
    ),
    "quic:datagram_data_moved": _object(raw__=_raw, **_BETWEEN),
    "quic:connection_data_blocked_updated": _object(
        old__=_blocked, new=_blocked, reason__=_blocked_reason
    ),
    "quic:stream_data_blocked_updated": _object(
        old__=_blocked, new=_blocked, stream_id=_u64, reason__=_blocked_reason
    ),
    "quic:datagram_data_blocked_updated": _object(
        old__=_blocked, new=_blocked, reason__=_blocked_reason
    ),
    "quic:migration_state_updated": _object(
        old__=_migration,
        new=_migration,
        tuple_id__=_text,
        tuple_remote__=_endpoint,
        tuple_local__=_endpoint,
    ),
    "quic:timer_updated": _object(
        timer_type__=_one_of("ack pto loss_timeout path_validation handshake_timeout idle_timeout"),
        timer_id__=_u64,
        packet_number_space__=_space,
        event_type=_one_of("set expired cancelled"),
        delta__=_float,
    ),
    "quic:key_updated": _object(old__=_hex, new__=_hex, **_KEY),
    "quic:key_discarded": _object(key__=_hex, **_KEY),
    "quic:recovery_parameters_set": _object(
        reordering_threshold__=_u16,
        time_threshold__=_float,
        timer_granularity=_u16,
        initial_rtt__=_float,
        max_datagram_size__=_u32,
        initial_congestion_window__=_u64,
        minimum_congestion_window__=_u64,
        loss_reduction_factor__=_float,
        persistent_congestion_threshold__=_u16,
    ),
    "quic:recovery_metrics_updated": _object(
        min_rtt__=_float,
        smoothed_rtt__=_float,
        latest_rtt__=_float,
        rtt_variance__=_float,
        pto_count__=_u16,
        congestion_window__=_u64,
        bytes_in_flight__=_u64,
        ssthresh__=_u64,
        packets_in_flight__=_u64,
        pacing_rate__=_u64,
    ),
    "quic:congestion_state_updated": _object(old__=_text, new=_text, trigger__=_text),
    "quic:packet_lost": _object(
        header__=_header,
        frames__=_frames,
        is_mtu_probe_packet__=_bool,
        trigger__=_one_of("reordering_threshold time_threshold pto_expired"),
    ),
    "quic:marked_for_retransmit": _object(frames=_list(_frame_of, 1)),
    "quic:ecn_state_updated": _object(old__=_ecn_state, new=_ecn_state),
    "loglevel:error": _message,
    "loglevel:warning": _message,
    "loglevel:info": _object(code__=_u64, message=_text),
    "loglevel:debug": _object(code__=_u64, message=_text),
    "loglevel:verbose": _object(code__=_u64, message=_text),
    "tquic:scheduler_decision": _object(
        path_id=_u64,
        candidates=_u64,
        reason=_one_of("best spill user fallback reinjected redundant"),
        bytes=_u64,
    ),
}
"""What the data of each event must be, by its full name. The last is our own."""

_time_format = _one_of("relative_to_epoch relative_to_previous_event")

HEADER: Final[Type] = _object(
    file_schema=_one_of("urn:ietf:params:qlog:file:sequential"),
    serialization_format=_one_of("application/qlog+json-seq"),
    title__=_text,
    description__=_text,
    trace=_object(
        title__=_text,
        description__=_text,
        common_fields__=_open_object(
            tuple__=_text,
            time_format__=_time_format,
            reference_time__=_object(
                clock_type=_text,
                epoch=_either(
                    _one_of("unknown"), _match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "date")
                ),
                wall_clock_time__=_match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "date"),
            ),
            group_id__=_text,
        ),
        vantage_point__=_object(
            name__=_text,
            type=_one_of("client server network unknown"),
            flow__=_one_of("client server unknown"),
        ),
        event_schemas=_list(_match(r"urn:[a-z0-9:._-]+", "URN"), 1),
    ),
)
"""The first record of a JSON text sequence."""

EVENT: Final[Type] = _open_object(
    time=_float,
    name=_text,
    data=_map,
    tuple__=_text,
    time_format__=_time_format,
    group_id__=_text,
    system_info__=_object(processor_id__=_u32, process_id__=_u32, thread_id__=_u32),
)
"""Every other record, its data aside."""

OLD_HEADER: Final[Type] = _open_object(
    qlog_version=_one_of("0.3"),
    qlog_format=_one_of("JSON-SEQ"),
    trace=_open_object(
        vantage_point=_open_object(name__=_text, type=_one_of("client server network unknown")),
        common_fields=_open_object(
            time_format__=_one_of("absolute delta relative"), reference_time__=_float
        ),
    ),
)
"""The first record in qlog 0.3. Its drafts have no formal schema for the data of events."""

OLD_NAMES: Final[frozenset[str]] = frozenset(
    f"{category}:{name}"
    for category, names in {
        "connectivity": "server_listening connection_started connection_closed "
        "connection_id_updated spin_bit_updated connection_state_updated mtu_updated path_updated",
        "transport": "version_information alpn_information parameters_set parameters_restored "
        "packet_sent packet_received packet_dropped packet_buffered packets_acked datagrams_sent "
        "datagrams_received datagram_dropped stream_state_updated frames_processed data_moved",
        "recovery": "parameters_set metrics_updated congestion_state_updated loss_timer_updated "
        "packet_lost marked_for_retransmit ecn_state_updated",
        "security": "key_updated key_discarded",
        "loglevel": "error warning info debug verbose",
        "tquic": "scheduler_decision",
    }.items()
    for name in names.split()
)
"""Events of qlog 0.3, with our ``path_updated``, ``mtu_updated``, ``ecn_state_updated`` and
``scheduler_decision``."""

EVENTS: Final[tuple[str, ...]] = (
    "server_listening",
    "connection_started",
    "connection_closed",
    "connection_id_updated",
    "spin_bit_updated",
    "path_updated",
    "connection_state_updated",
    "mtu_updated",
    "scheduler_decision",
    "version_information",
    "alpn_information",
    "parameters_set",
    "parameters_restored",
    "packet_sent",
    "packet_received",
    "packet_dropped",
    "packet_buffered",
    "packets_acked",
    "datagrams_sent",
    "datagrams_received",
    "datagram_dropped",
    "stream_state_updated",
    "frames_processed",
    "data_moved",
    "recovery_parameters_set",
    "metrics_updated",
    "congestion_state_updated",
    "loss_timer_updated",
    "packet_lost",
    "marked_for_retransmit",
    "ecn_state_updated",
    "key_updated",
    "key_discarded",
)
"""What `Config.qlog_events` takes: each stands for the events of the drafts that tell of it, but
``scheduler_decision``, which is our own."""
