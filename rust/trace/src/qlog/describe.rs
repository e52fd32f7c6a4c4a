//! Events as records.

use std::net::{IpAddr, SocketAddr};

use tquic_core::events::ConnectionError;
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::time::{Instant, nanos};
use tquic_core::trace::{
    Direction, DropReason, EcnState, Event, KeyLevel, Life, LossTrigger, Mask, Metrics, Move,
    Packet, Reason, Update,
};
use tquic_wire::{PacketType, Space, TransportParameters, Version};

use super::frames::{self, Style, stream_type};
use super::{Form, Qlog, name};
use crate::json::{self, Object};

/// Writes the records of an event.
pub(super) fn event(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    match *event {
        Event::ConnectionStarted { .. }
        | Event::ConnectionClosed { .. }
        | Event::ConnectionIdUpdated { .. }
        | Event::SpinBitUpdated { .. }
        | Event::ConnectionStateUpdated { .. }
        | Event::MtuUpdated { .. } => connectivity(log, now, event),
        Event::PathUpdated(update) => path(log, now, update),
        // With one path there is nothing to decide.
        Event::SchedulerDecision { reason: Reason::Only, .. } => {}
        Event::SchedulerDecision { path, candidates, reason, bytes } => {
            log.record_of(Mask::SCHEDULER_DECISION, now, name::SCHEDULER_DECISION, |data| {
                data.uint("path_id", path.into());
                data.uint("candidates", candidates.into());
                data.text("reason", reason.name());
                data.uint("bytes", bytes as u64);
            });
        }
        Event::VersionInformation { .. }
        | Event::AlpnInformation { .. }
        | Event::ParametersSet { .. }
        | Event::ParametersRestored { .. } => agreement(log, now, event),
        Event::PacketSent { packet, mtu_probe, .. } => {
            let style = Style { form: log.form, ack_delay_exponent: OUR_EXPONENT };
            log.record_of(Mask::PACKET_SENT, now, name::PACKET_SENT, |data| {
                packet_fields(data, &packet, style);
                if mtu_probe {
                    data.flag("is_mtu_probe_packet", true);
                }
            });
            moved(log, now, &packet, ("transport", "network"));
        }
        Event::PacketReceived { packet, .. } => {
            let style = Style { form: log.form, ack_delay_exponent: log.peer_exponent };
            log.record_of(Mask::PACKET_RECEIVED, now, name::PACKET_RECEIVED, |data| {
                packet_fields(data, &packet, style);
            });
            log.record_of(Mask::FRAMES_PROCESSED, now, name::FRAMES_PROCESSED, |data| {
                style.frames(data, &packet);
                data.list("packet_numbers", [packet.pn], uint);
            });
            moved(log, now, &packet, ("network", "transport"));
        }
        Event::PacketDropped { .. }
        | Event::PacketBuffered { .. }
        | Event::PacketsAcked { .. }
        | Event::DatagramsSent { .. }
        | Event::DatagramsReceived { .. }
        | Event::DatagramDropped { .. } => transport(log, now, event),
        Event::StreamOpened { .. } | Event::StreamClosed { .. } => stream(log, now, event),
        Event::RecoveryParametersSet { .. }
        | Event::MetricsUpdated { .. }
        | Event::CongestionStateUpdated { .. }
        | Event::LossTimerUpdated { .. }
        | Event::PacketLost { .. }
        | Event::MarkedForRetransmit { .. }
        | Event::EcnStateUpdated { .. } => recovery(log, now, event),
        Event::KeyUpdated { level, generation } => {
            keys(log, now, (Mask::KEY_UPDATED, name::KEY_UPDATED), level, generation);
        }
        Event::KeyDiscarded { level, generation } => {
            keys(log, now, (Mask::KEY_DISCARDED, name::KEY_DISCARDED), level, generation);
        }
    }
}

/// We always tell delays with the default exponent (RFC 9000 section 18.2).
pub(super) const OUR_EXPONENT: u64 = 3;

fn connectivity(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    let form = log.form;
    match *event {
        Event::ConnectionStarted { scid, dcid, addresses, .. } => {
            log.record_of(Mask::CONNECTION_STARTED, now, name::CONNECTION_STARTED, |data| {
                let FourTuple { local, remote } = addresses;
                if form == Form::Old {
                    data.text("src_ip", &local.ip().to_string());
                    data.text("dst_ip", &remote.ip().to_string());
                    data.uint("src_port", u64::from(local.port()));
                    data.uint("dst_port", u64::from(remote.port()));
                    data.hex("src_cid", scid.as_slice());
                    return data.hex("dst_cid", dcid.as_slice());
                }
                for (end, address, cid) in [("local", local, scid), ("remote", remote, dcid)] {
                    data.object(end, |info| {
                        self::address(info, &address);
                        if !cid.is_empty() {
                            info.list("connection_ids", [cid], |out, cid| {
                                json::hex(out, cid.as_slice());
                            });
                        }
                    });
                }
            });
        }
        Event::ConnectionClosed { error, .. } => {
            log.record_of(Mask::CONNECTION_CLOSED, now, name::CONNECTION_CLOSED, |data| {
                closed(data, error, form);
            });
        }
        Event::ConnectionIdUpdated { local, old, new } => {
            log.record_of(Mask::CONNECTION_ID_UPDATED, now, name::CONNECTION_ID_UPDATED, |data| {
                data.word(initiator(form), side(local));
                if let Some(old) = old {
                    data.hex("old", old.as_slice());
                }
                data.hex("new", new.as_slice());
            });
        }
        Event::SpinBitUpdated { state } => {
            log.record_of(Mask::SPIN_BIT_UPDATED, now, name::SPIN_BIT_UPDATED, |data| {
                data.flag("state", state);
            });
        }
        Event::ConnectionStateUpdated { old, new } => {
            let kind = Mask::CONNECTION_STATE_UPDATED;
            log.record_of(kind, now, name::CONNECTION_STATE_UPDATED, |data| {
                if let Some(old) = old {
                    data.word("old", life(old));
                }
                data.word("new", life(new));
            });
        }
        Event::MtuUpdated { old, new, done, .. } => {
            log.record_of(Mask::MTU_UPDATED, now, name::MTU_UPDATED, |data| {
                data.uint("old", u64::from(old));
                data.uint("new", u64::from(new));
                data.flag("done", done);
            });
        }
        _ => {}
    }
}

fn path(log: &mut Qlog, now: Instant, update: Move) {
    let form = log.form;
    let (path, addresses, state) = match update {
        Move::Created { path, addresses } => (path, addresses, "created"),
        Move::Validated { path, addresses, .. } => (path, addresses, "probing_successful"),
        Move::Closed { path, addresses, .. } => (path, addresses, "closed"),
        Move::Migrated { path, to, .. } => (path, to, "migration_complete"),
    };
    // The path of the handshake has the name that events without a path mean.
    let tuple = match log.tuples.iter().position(|known| *known == (path, addresses)) {
        Some(at) => at,
        None => {
            log.tuples.push((path, addresses));
            log.tuples.len() - 1
        }
    };
    let tuple = if tuple == 0 { String::new() } else { tuple.to_string() };
    let assigns = matches!(update, Move::Created { .. } | Move::Closed { .. });
    let name = if assigns || form == Form::Old {
        name::TUPLE_ASSIGNED
    } else {
        name::MIGRATION_STATE_UPDATED
    };
    log.record_of(Mask::PATH_UPDATED, now, name, |data| {
        if form == Form::Old || !assigns {
            data.text(if form == Form::Old { "state" } else { "new" }, state);
        }
        data.text("tuple_id", &tuple);
        if !matches!(update, Move::Closed { .. }) {
            data.object("tuple_remote", |info| address(info, &addresses.remote));
            data.object("tuple_local", |info| address(info, &addresses.local));
        }
        if let (Move::Migrated { by, .. }, Form::Old) = (update, form) {
            data.word(initiator(form), side(by == Direction::Local));
        }
    });
}

fn agreement(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    let form = log.form;
    match *event {
        Event::VersionInformation { ours, chosen } => {
            let list = if log.is_client { "client_versions" } else { "server_versions" };
            log.record_of(Mask::VERSION_INFORMATION, now, name::VERSION_INFORMATION, |data| {
                data.list(list, ours, |out, v| json::text(out, &version(*v)));
                data.text("chosen_version", &version(chosen));
            });
        }
        Event::AlpnInformation { chosen } => {
            let readable = String::from_utf8_lossy(chosen);
            log.record_of(Mask::ALPN_INFORMATION, now, name::ALPN_INFORMATION, |data| match form {
                Form::Old => data.text("chosen_alpn", &readable),
                Form::New => data.object("chosen_alpn", |alpn| {
                    alpn.hex("byte_value", chosen);
                    alpn.text("string_value", &readable);
                }),
            });
        }
        Event::ParametersSet { local, parameters, cipher, resumed, early_data } => {
            if !local {
                log.peer_exponent = parameters.ack_delay_exponent;
            }
            log.record_of(Mask::PARAMETERS_SET, now, name::PARAMETERS_SET, |data| {
                data.word(initiator(form), side(local));
                if let Some(cipher) = cipher {
                    data.text("tls_cipher", cipher.trim_start_matches("TLS_"));
                }
                data.flag("resumption_allowed", resumed);
                data.flag("early_data_enabled", early_data);
                for (name, cid) in [
                    (
                        "original_destination_connection_id",
                        parameters.original_destination_connection_id,
                    ),
                    ("initial_source_connection_id", parameters.initial_source_connection_id),
                    ("retry_source_connection_id", parameters.retry_source_connection_id),
                ] {
                    if let Some(cid) = cid {
                        data.hex(name, cid.as_slice());
                    }
                }
                data.uint("ack_delay_exponent", parameters.ack_delay_exponent);
                data.uint("max_ack_delay", parameters.max_ack_delay);
                limits(data, parameters);
            });
        }
        Event::ParametersRestored { parameters } => {
            log.record_of(Mask::PARAMETERS_RESTORED, now, name::PARAMETERS_RESTORED, |data| {
                limits(data, parameters);
            });
        }
        _ => {}
    }
}

/// The parameters that sessions remember.
fn limits(data: &mut Object<'_>, p: &TransportParameters) {
    data.flag("disable_active_migration", p.disable_active_migration);
    for (name, value) in [
        ("max_idle_timeout", p.max_idle_timeout),
        ("max_udp_payload_size", p.max_udp_payload_size),
        ("active_connection_id_limit", p.active_connection_id_limit),
        ("initial_max_data", p.initial_max_data),
        ("initial_max_stream_data_bidi_local", p.initial_max_stream_data_bidi_local),
        ("initial_max_stream_data_bidi_remote", p.initial_max_stream_data_bidi_remote),
        ("initial_max_stream_data_uni", p.initial_max_stream_data_uni),
        ("initial_max_streams_bidi", p.initial_max_streams_bidi),
        ("initial_max_streams_uni", p.initial_max_streams_uni),
        ("max_datagram_frame_size", p.max_datagram_frame_size),
    ] {
        data.uint(name, value);
    }
    data.flag("reset_stream_at", p.reset_stream_at);
    data.flag("grease_quic_bit", p.grease_quic_bit);
}

fn packet_fields(data: &mut Object<'_>, packet: &Packet<'_>, style: Style) {
    data.object("header", |header| {
        header.word("packet_type", packet_type(packet.ty));
        header.uint("packet_number", packet.pn);
        if let Some(phase) = packet.key_phase {
            match style.form {
                Form::New => header.flag("key_phase_bit", phase),
                Form::Old => header.flag("key_phase", phase),
            }
        }
        if let Some((v, scid, dcid)) = packet.long {
            header.text("version", &version(v));
            header.uint("scil", scid.len() as u64);
            header.uint("dcil", dcid.len() as u64);
            header.hex("scid", scid.as_slice());
            header.hex("dcid", dcid.as_slice());
        }
    });
    data.object("raw", |raw| {
        raw.uint("length", packet.size as u64);
        raw.uint("payload_length", (packet.payload.len() + packet.tail) as u64);
    });
    style.frames(data, packet);
}

/// Stream data between the layers.
fn moved(
    log: &mut Qlog,
    now: Instant,
    packet: &Packet<'_>,
    (from, to): (&'static str, &'static str),
) {
    if !log.mask.intersects(Mask::DATA_MOVED) {
        return;
    }
    let old = log.form == Form::Old;
    frames::each(packet, |frame, tail| {
        let tquic_wire::Frame::Stream(f) = frame else { return };
        let length = (f.data.len() + tail) as u64;
        log.record(Mask::DATA_MOVED, now, name::DATA_MOVED, |data| {
            data.uint("stream_id", f.id.0);
            data.uint("offset", f.offset);
            data.word("from", from);
            data.word("to", to);
            if old {
                return data.uint("length", length);
            }
            if f.fin {
                data.word("additional_info", "fin_set");
            }
            data.object("raw", |raw| raw.uint("payload_length", length));
        });
    });
}

fn transport(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    match *event {
        Event::PacketDropped { ty, size, reason } => {
            log.record_of(Mask::PACKET_DROPPED, now, name::PACKET_DROPPED, |data| {
                data.object("header", |header| {
                    header.text("packet_type", ty.map_or("unknown", packet_type));
                });
                data.object("raw", |raw| raw.uint("length", size as u64));
                data.word("trigger", drop_trigger(reason));
            });
        }
        Event::PacketBuffered { ty, size } => {
            log.record_of(Mask::PACKET_BUFFERED, now, name::PACKET_BUFFERED, |data| {
                data.object("header", |header| header.word("packet_type", packet_type(ty)));
                data.object("raw", |raw| raw.uint("length", size as u64));
                data.word("trigger", "keys_unavailable");
            });
        }
        Event::PacketsAcked { space, numbers } => {
            log.record_of(Mask::PACKETS_ACKED, now, name::PACKETS_ACKED, |data| {
                data.word("packet_number_space", space_name(space));
                data.list("packet_numbers", numbers.iter().copied(), uint);
            });
        }
        Event::DatagramsSent { len, segment, ecn } => {
            log.record_of(Mask::DATAGRAMS_SENT, now, name::DATAGRAMS_SENT, |data| {
                datagrams(data, len, segment, ecn);
            });
        }
        Event::DatagramsReceived { len, segment, ecn } => {
            log.record_of(Mask::DATAGRAMS_RECEIVED, now, name::DATAGRAMS_RECEIVED, |data| {
                datagrams(data, len, segment, ecn);
            });
        }
        Event::DatagramDropped { len } => {
            log.record_of(Mask::DATAGRAM_DROPPED, now, name::DATAGRAM_DROPPED, |data| {
                data.object("raw", |raw| raw.uint("length", len as u64));
            });
        }
        _ => {}
    }
}

fn datagrams(data: &mut Object<'_>, len: usize, segment: usize, ecn: Option<Ecn>) {
    let segment = segment.max(1);
    let count = len.div_ceil(segment);
    data.uint("count", count as u64);
    let raw = data.value("raw");
    raw.push(b'[');
    // All but the last have the same length.
    repeat(raw, count.saturating_sub(1), |out| {
        Object::write(out, |raw| raw.uint("length", segment as u64));
        out.push(b',');
    });
    if let Some(last) = count.checked_sub(1) {
        Object::write(raw, |raw| raw.uint("length", (len - last * segment) as u64));
    }
    raw.push(b']');
    let mark = match ecn {
        None => "Not-ECT",
        Some(Ecn::Ect1) => "ECT(1)",
        Some(Ecn::Ect0) => "ECT(0)",
        Some(Ecn::Ce) => "CE",
    };
    let ecn = data.value("ecn");
    ecn.push(b'[');
    repeat(ecn, count.saturating_sub(1), |out| {
        json::text(out, mark);
        out.push(b',');
    });
    if count > 0 {
        json::text(ecn, mark);
    }
    ecn.push(b']');
}

/// Writes the same again and again.
fn repeat(out: &mut Vec<u8>, count: usize, once: impl FnOnce(&mut Vec<u8>)) {
    if count == 0 {
        return;
    }
    let start = out.len();
    once(out);
    let size = out.len() - start;
    let mut written = 1;
    while written < count {
        let more = written.min(count - written);
        out.extend_from_within(start..start + more * size);
        written += more;
    }
}

fn stream(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    let (id, old, new, local) = match *event {
        Event::StreamOpened { id, local } => (id, "idle", "open", Some(local)),
        Event::StreamClosed { id, .. } => (id, "open", "closed", None),
        _ => return,
    };
    // Of a stream with two sides the drafts want to know which one; both go together here.
    let ours = id.initiator().is_client() == log.is_client;
    let side = if ours { "sending" } else { "receiving" };
    log.record_of(Mask::STREAM_STATE_UPDATED, now, name::STREAM_STATE_UPDATED, |data| {
        data.uint("stream_id", id.0);
        data.word("stream_type", stream_type(id.direction()));
        data.text("old", old);
        data.text("new", new);
        data.text("stream_side", side);
        if let Some(local) = local {
            data.word("trigger", self::side(local));
        }
    });
}

fn recovery(log: &mut Qlog, now: Instant, event: &Event<'_>) {
    let style = Style { form: log.form, ack_delay_exponent: OUR_EXPONENT };
    match *event {
        Event::RecoveryParametersSet {
            packet_threshold,
            time_threshold_eighths,
            initial_rtt,
            max_datagram,
            initial_window,
        } => {
            let kind = Mask::RECOVERY_PARAMETERS_SET;
            log.record_of(kind, now, name::RECOVERY_PARAMETERS_SET, |data| {
                data.uint("reordering_threshold", packet_threshold);
                data.float("time_threshold", f64::from(time_threshold_eighths) / 8.0);
                data.uint("timer_granularity", 1);
                data.millis("initial_rtt", nanos(initial_rtt));
                data.uint("max_datagram_size", max_datagram);
                data.uint("initial_congestion_window", initial_window);
            });
        }
        Event::MetricsUpdated { old, new, .. } => {
            log.record_of(Mask::METRICS_UPDATED, now, name::METRICS_UPDATED, |data| {
                metrics(data, old, new);
            });
        }
        Event::CongestionStateUpdated { old, new, .. } => {
            let kind = Mask::CONGESTION_STATE_UPDATED;
            log.record_of(kind, now, name::CONGESTION_STATE_UPDATED, |data| {
                if let Some(old) = old {
                    data.text("old", old.name());
                }
                data.text("new", new.name());
            });
        }
        Event::LossTimerUpdated { update, .. } => {
            log.record_of(Mask::LOSS_TIMER_UPDATED, now, name::LOSS_TIMER_UPDATED, |data| {
                data.word("timer_type", "pto");
                match update {
                    Update::Set(after) => {
                        data.word("event_type", "set");
                        data.millis("delta", nanos(after));
                    }
                    Update::Expired => data.word("event_type", "expired"),
                    Update::Cancelled => data.word("event_type", "cancelled"),
                }
            });
        }
        Event::PacketLost { space, pn, trigger, mtu_probe, .. } => {
            log.record_of(Mask::PACKET_LOST, now, name::PACKET_LOST, |data| {
                data.object("header", |header| {
                    header.word("packet_type", type_in(space));
                    header.uint("packet_number", pn);
                });
                if mtu_probe {
                    data.flag("is_mtu_probe_packet", true);
                }
                data.text(
                    "trigger",
                    match trigger {
                        LossTrigger::ReorderingThreshold => "reordering_threshold",
                        LossTrigger::TimeThreshold => "time_threshold",
                    },
                );
            });
        }
        Event::MarkedForRetransmit { tokens, .. } => {
            log.record_of(Mask::MARKED_FOR_RETRANSMIT, now, name::MARKED_FOR_RETRANSMIT, |data| {
                style.tokens(data, tokens);
            });
        }
        Event::EcnStateUpdated { old, new, .. } => {
            log.record_of(Mask::ECN_STATE_UPDATED, now, name::ECN_STATE_UPDATED, |data| {
                if let Some(old) = old {
                    data.word("old", ecn_state(old));
                }
                data.word("new", ecn_state(new));
            });
        }
        _ => {}
    }
}

/// Only what has changed (quic-events section 8.2).
fn metrics(data: &mut Object<'_>, old: Option<&Metrics>, new: &Metrics) {
    let times = |m: &Metrics| {
        [
            ("min_rtt", m.min_rtt),
            ("smoothed_rtt", m.smoothed_rtt),
            ("latest_rtt", m.latest_rtt),
            ("rtt_variance", m.rtt_variance),
        ]
    };
    let before = old.map(times);
    for (i, (name, value)) in times(new).into_iter().enumerate() {
        if before.is_none_or(|b| b[i].1 != value) {
            data.millis(name, nanos(value));
        }
    }
    let counts = |m: &Metrics| {
        [
            ("pto_count", Some(u64::from(m.pto_count))),
            ("congestion_window", Some(m.cwnd)),
            ("bytes_in_flight", Some(m.bytes_in_flight)),
            ("ssthresh", m.ssthresh),
            // In bits per second.
            ("pacing_rate", m.pacing_rate.map(|rate| rate.saturating_mul(8))),
        ]
    };
    let before = old.map(counts);
    for (i, (name, value)) in counts(new).into_iter().enumerate() {
        if let Some(value) = value
            && before.is_none_or(|b| b[i].1 != Some(value))
        {
            data.uint(name, value);
        }
    }
}

fn keys(log: &mut Qlog, now: Instant, what: (Mask, name::Name), level: KeyLevel, generation: u64) {
    let (kind, name) = what;
    let form = log.form;
    let types: &[&str] = match level {
        KeyLevel::Initial => &["client_initial_secret", "server_initial_secret"],
        KeyLevel::ZeroRtt => &["client_0rtt_secret"],
        KeyLevel::Handshake => &["client_handshake_secret", "server_handshake_secret"],
        KeyLevel::OneRtt => &["client_1rtt_secret", "server_1rtt_secret"],
    };
    for ty in types {
        // Never the keys themselves.
        log.record_of(kind, now, name, |data| {
            data.text("key_type", ty);
            if level == KeyLevel::OneRtt {
                data.uint(if form == Form::Old { "generation" } else { "key_phase" }, generation);
            }
            if level != KeyLevel::OneRtt || generation == 0 {
                data.word("trigger", "tls");
            }
        });
    }
}

fn closed(data: &mut Object<'_>, error: &ConnectionError, form: Form) {
    let application = if form == Form::Old { "application_code" } else { "application_error" };
    let transport = if form == Form::Old { "connection_code" } else { "connection_error" };
    let (local, trigger) = match error {
        ConnectionError::Local(e) => {
            data.word(initiator(form), side(true));
            frames::transport_error(data, transport, e.code);
            (None, "error")
        }
        ConnectionError::Peer(e) => {
            data.word(initiator(form), side(false));
            frames::transport_error(data, transport, e.code);
            (None, "error")
        }
        ConnectionError::LocalClose { code, .. } => (Some((true, *code)), "application"),
        ConnectionError::PeerClose { code, .. } => (Some((false, *code)), "application"),
        ConnectionError::IdleTimeout | ConnectionError::HandshakeTimeout => (None, "idle_timeout"),
        ConnectionError::StatelessReset => (None, "stateless_reset"),
        ConnectionError::VersionMismatch { .. } => (None, "version_mismatch"),
        ConnectionError::Refused(_) => (None, "aborted"),
    };
    if let Some((local, code)) = local {
        data.word(initiator(form), side(local));
        frames::application_error(data, application, code);
    }
    data.text("reason", &error.to_string());
    data.text("trigger", trigger);
}

/// An address and a port.
pub(super) fn address(info: &mut Object<'_>, address: &SocketAddr) {
    let (ip, port) = match address.ip() {
        IpAddr::V4(_) => ("ip_v4", "port_v4"),
        IpAddr::V6(_) => ("ip_v6", "port_v6"),
    };
    info.text(ip, &address.ip().to_string());
    info.uint(port, u64::from(address.port()));
}

fn uint(out: &mut Vec<u8>, value: u64) {
    json::digits(out, value);
}

fn version(version: Version) -> String {
    format!("{:08x}", version.0)
}

fn initiator(form: Form) -> &'static str {
    if form == Form::Old { "owner" } else { "initiator" }
}

fn side(local: bool) -> &'static str {
    if local { "local" } else { "remote" }
}

fn packet_type(ty: PacketType) -> &'static str {
    match ty {
        PacketType::Initial => "initial",
        PacketType::ZeroRtt => "0RTT",
        PacketType::Handshake => "handshake",
        PacketType::Retry => "retry",
        PacketType::OneRtt => "1RTT",
        PacketType::VersionNegotiation => "version_negotiation",
    }
}

fn type_in(space: Space) -> &'static str {
    match space {
        Space::Initial => "initial",
        Space::Handshake => "handshake",
        Space::Data => "1RTT",
    }
}

fn space_name(space: Space) -> &'static str {
    match space {
        Space::Initial => "initial",
        Space::Handshake => "handshake",
        Space::Data => "application_data",
    }
}

fn drop_trigger(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Rejected => "rejected",
        DropReason::Unsupported => "unsupported",
        DropReason::Invalid => "invalid",
        DropReason::Duplicate => "duplicate",
        DropReason::ConnectionUnknown => "connection_unknown",
        DropReason::DecryptionFailure => "decryption_failure",
        DropReason::KeyUnavailable => "key_unavailable",
    }
}

fn life(life: Life) -> &'static str {
    match life {
        Life::Attempted => "attempted",
        Life::HandshakeStarted => "handshake_started",
        Life::HandshakeComplete => "handshake_complete",
        Life::HandshakeConfirmed => "handshake_confirmed",
        Life::Closing => "closing",
        Life::Draining => "draining",
        Life::Closed => "closed",
    }
}

fn ecn_state(state: EcnState) -> &'static str {
    match state {
        EcnState::Testing => "testing",
        EcnState::Unknown => "unknown",
        EcnState::Failed => "failed",
        EcnState::Capable => "capable",
    }
}
