//! What changes slowly: compared with what was told last, after every batch. Whoever changes it need
//! not know that somebody looks.

use core::mem;
use core::time::Duration;

use smallvec::SmallVec;
use tquic_wire::{ConnectionId, Side};

use super::{Direction, EcnState, Event, KeyLevel, Life, Mask, Metrics, Move, Trace, Update};
use crate::Connection;
use crate::cc::Phase;
use crate::connection::State;
use crate::handshake::{ZeroRtt, parameters};
use crate::path::{FourTuple, Path};
use crate::stream::StreamNote;
use crate::time::Instant;

const LEVELS: [KeyLevel; 4] =
    [KeyLevel::Initial, KeyLevel::ZeroRtt, KeyLevel::Handshake, KeyLevel::OneRtt];

/// What was told last.
#[derive(Default)]
pub(super) struct Watch {
    life: Option<Life>,
    parameters: bool,
    alpn: bool,
    /// The generation of keys held, by level.
    keys: [Option<u64>; 4],
    remote_cid: ConnectionId,
    paths: SmallVec<[PathWatch; 1]>,
}

struct PathWatch {
    id: u32,
    active: FourTuple,
    tuples: SmallVec<[TupleWatch; 1]>,
    mtu: u16,
    ecn: Option<EcnState>,
    phase: Phase,
    metrics: Metrics,
    timer: Option<Instant>,
}

#[derive(Clone, Copy)]
struct TupleWatch {
    addresses: FourTuple,
    since: Instant,
    validated: bool,
}

impl Connection {
    /// Tells what has changed since the last time.
    #[inline(always)]
    pub(crate) fn observe(&mut self, now: Instant) {
        if self.events.trace.is_on() {
            self.tell_changes(now);
        }
    }

    #[cold]
    fn tell_changes(&mut self, now: Instant) {
        let mut trace = mem::take(&mut self.events.trace);
        let watch = trace.watch.take();
        let begins = watch.is_none();
        let mut watch = watch.unwrap_or_default();
        // To who comes in the middle, what happened before is no news.
        let late = begins && !matches!(self.state, State::Handshaking);
        let mask = trace.mask;
        if late {
            trace.mask = Mask::NONE;
        }
        if begins {
            self.tell_start(now, &mut trace, &mut watch);
        }
        self.tell_handshake(now, &mut trace, &mut watch);
        self.tell_keys(now, &mut trace, &mut watch);
        self.tell_paths(now, &mut trace, &mut watch);
        self.tell_streams(now, &mut trace);
        self.tell_life(now, &mut trace, &mut watch);
        trace.mask = mask;
        trace.watch = Some(watch);
        trace.end_batch();
        self.events.trace = trace;
    }

    fn tell_start(&self, now: Instant, trace: &mut Trace, watch: &mut Watch) {
        let Some(path) = self.paths.first() else { return };
        let active = path.active();
        watch.remote_cid = path.remote_cids.cid(active.remote_cid).unwrap_or_default();
        if trace.wants(Mask::CONNECTION_STARTED) {
            let event = Event::ConnectionStarted {
                version: self.ids.version,
                scid: self.ids.local,
                dcid: if self.ids.side == Side::Client {
                    self.ids.original_dcid
                } else {
                    watch.remote_cid
                },
                addresses: active.addresses,
            };
            trace.tell(now, &event);
        }
        if trace.wants(Mask::RECOVERY_PARAMETERS_SET) {
            let recovery = &self.config.recovery;
            let event = Event::RecoveryParametersSet {
                packet_threshold: recovery.packet_threshold,
                time_threshold_eighths: recovery.time_threshold_eighths,
                initial_rtt: recovery.initial_rtt,
                max_datagram: u64::from(active.mtu.current()),
                initial_window: path.recovery.cwnd(),
            };
            trace.tell(now, &event);
        }
        if trace.wants(Mask::PARAMETERS_SET) {
            let parameters = parameters::fixed(&self.config, &self.ids);
            let event = Event::ParametersSet {
                local: true,
                parameters: &parameters,
                cipher: None,
                resumed: false,
                early_data: self.handshake.zero_rtt() != ZeroRtt::None,
            };
            trace.tell(now, &event);
        }
        if trace.wants(Mask::PARAMETERS_RESTORED) && self.handshake.zero_rtt() == ZeroRtt::Offered {
            trace.tell(now, &Event::ParametersRestored { parameters: &self.peer });
        }
    }

    fn tell_handshake(&self, now: Instant, trace: &mut Trace, watch: &mut Watch) {
        if self.handshake.parameters_seen && !mem::replace(&mut watch.parameters, true) {
            if trace.wants(Mask::VERSION_INFORMATION) {
                let (ours, chosen) = (&self.config.versions, self.ids.version);
                trace.tell(now, &Event::VersionInformation { ours, chosen });
            }
            if trace.wants(Mask::PARAMETERS_SET) {
                let event = Event::ParametersSet {
                    local: false,
                    parameters: &self.peer,
                    cipher: self.handshake.suite().map(tquic_crypto::Suite::name),
                    resumed: self.handshake.agreed().is_some_and(|agreed| agreed.resumed),
                    early_data: self.handshake.zero_rtt() == ZeroRtt::Accepted,
                };
                trace.tell(now, &event);
            }
        }
        if let Some(chosen) = self.handshake.alpn()
            && !mem::replace(&mut watch.alpn, true)
            && trace.wants(Mask::ALPN_INFORMATION)
        {
            trace.tell(now, &Event::AlpnInformation { chosen });
        }
        let Some(path) = self.paths.first() else { return };
        let cid = path.remote_cids.cid(path.active().remote_cid).unwrap_or_default();
        let old = mem::replace(&mut watch.remote_cid, cid);
        if old != cid && trace.wants(Mask::CONNECTION_ID_UPDATED) {
            let event = Event::ConnectionIdUpdated { local: false, old: Some(old), new: cid };
            trace.tell(now, &event);
        }
    }

    fn tell_keys(&self, now: Instant, trace: &mut Trace, watch: &mut Watch) {
        let held = [
            self.keys.initial.is_some().then_some(0),
            self.keys.zero_rtt.is_some().then_some(0),
            self.keys.handshake.is_some().then_some(0),
            self.keys.one_rtt.as_ref().map(crate::keys::OneRttKeys::updates),
        ];
        let before = mem::replace(&mut watch.keys, held);
        for ((level, old), new) in LEVELS.into_iter().zip(before).zip(held) {
            if old == new {
                continue;
            }
            if let Some(generation) = old.filter(|_| trace.wants(Mask::KEY_DISCARDED)) {
                trace.tell(now, &Event::KeyDiscarded { level, generation });
            }
            if let Some(generation) = new.filter(|_| trace.wants(Mask::KEY_UPDATED)) {
                trace.tell(now, &Event::KeyUpdated { level, generation });
            }
        }
    }

    fn tell_paths(&self, now: Instant, trace: &mut Trace, watch: &mut Watch) {
        watch.paths.retain(|seen| {
            let stays = self.paths.iter().any(|path| path.id == seen.id);
            if !stays {
                seen.tell_end(now, trace, false);
            }
            stays
        });
        for (at, path) in self.paths.iter().enumerate() {
            if !watch.paths.iter().any(|seen| seen.id == path.id) {
                watch.paths.push(PathWatch::begin(now, path, trace));
            }
            let Some(seen) = watch.paths.iter_mut().find(|seen| seen.id == path.id) else {
                continue;
            };
            seen.tell_tuples(now, path, trace);
            seen.tell_state(now, path, trace);
            if trace.wants(Mask::LOSS_TIMER_UPDATED) {
                let deadline = path.recovery.timeout(&self.timer_context(at));
                seen.tell_timer(now, path.id, deadline, trace);
            }
        }
    }

    fn tell_streams(&mut self, now: Instant, trace: &mut Trace) {
        let ours = self.ids.side;
        for note in self.streams.take_notes() {
            let event = match note {
                StreamNote::Opened(id) => Event::StreamOpened { id, local: id.initiator() == ours },
                StreamNote::Closed { id, error_code, bytes_sent, bytes_received } => {
                    Event::StreamClosed { id, error_code, bytes_sent, bytes_received }
                }
            };
            trace.tell(now, &event);
        }
    }

    fn tell_life(&self, now: Instant, trace: &mut Trace, watch: &mut Watch) {
        let new = self.life();
        let old = watch.life.replace(new);
        if old != Some(new) && trace.wants(Mask::CONNECTION_STATE_UPDATED) {
            trace.tell(now, &Event::ConnectionStateUpdated { old, new });
        }
        let Some(error) = trace.ended.take() else { return };
        watch.paths.iter().for_each(|seen| seen.tell_end(now, trace, true));
        if trace.wants(Mask::CONNECTION_CLOSED) {
            let (bytes_sent, bytes_received) = (self.stats.bytes_sent, self.stats.bytes_received);
            let event = Event::ConnectionClosed { error: &error, bytes_sent, bytes_received };
            trace.tell(now, &event);
        }
    }

    fn life(&self) -> Life {
        match self.state {
            State::Handshaking if self.keys.handshake.is_some() => Life::HandshakeStarted,
            State::Handshaking => Life::Attempted,
            State::Established if self.handshake.is_confirmed() => Life::HandshakeConfirmed,
            State::Established => Life::HandshakeComplete,
            State::Closing(_) => Life::Closing,
            State::Draining { .. } => Life::Draining,
            State::Drained => Life::Closed,
        }
    }
}

impl PathWatch {
    fn begin(now: Instant, path: &Path, trace: &mut Trace) -> Self {
        let (active, metrics) = (path.active(), path.metrics());
        let (ecn, phase) = (active.ecn.state(), path.recovery.phase());
        if let Some(new) = ecn.filter(|_| trace.wants(Mask::ECN_STATE_UPDATED)) {
            trace.tell(now, &Event::EcnStateUpdated { path: path.id, old: None, new });
        }
        if trace.wants(Mask::CONGESTION_STATE_UPDATED) {
            let (cwnd, ssthresh) = (metrics.cwnd, metrics.ssthresh);
            let path = path.id;
            let event =
                Event::CongestionStateUpdated { path, old: None, new: phase, cwnd, ssthresh };
            trace.tell(now, &event);
        }
        if trace.wants(Mask::METRICS_UPDATED) {
            let event = Event::MetricsUpdated { path: path.id, old: None, new: &metrics };
            trace.tell(now, &event);
        }
        Self {
            id: path.id,
            active: active.addresses,
            tuples: SmallVec::new(),
            mtu: active.mtu.current(),
            ecn,
            phase,
            metrics,
            timer: None,
        }
    }

    /// It is gone, because the connection has `ended` or alone.
    fn tell_end(&self, now: Instant, trace: &mut Trace, ended: bool) {
        if trace.wants(Mask::PATH_UPDATED) {
            let closed = Move::Closed { path: self.id, addresses: self.active, ended };
            trace.tell(now, &Event::PathUpdated(closed));
        }
    }

    fn tell_tuples(&mut self, now: Instant, path: &Path, trace: &mut Trace) {
        let wanted = trace.wants(Mask::PATH_UPDATED);
        let mut moved = |event| {
            if wanted {
                trace.tell(now, &Event::PathUpdated(event));
            }
        };
        for tuple in path.tuples() {
            // The kernel tells our own address only with the first datagram received.
            let known = self.tuples.iter_mut().find(|t| t.addresses.matches(&tuple.addresses));
            let validated = tuple.ledger.is_validated() && !tuple.challenges.is_active();
            let (path, addresses) = (path.id, tuple.addresses);
            let since = match &known {
                Some(seen) => seen.since,
                None => {
                    moved(Move::Created { path, addresses });
                    now
                }
            };
            if validated && known.as_ref().is_none_or(|seen| !seen.validated) {
                moved(Move::Validated { path, addresses, time: now - since });
            }
            let fresh = TupleWatch { addresses, since, validated };
            match known {
                Some(seen) => {
                    *seen = TupleWatch { validated: validated || seen.validated, ..fresh }
                }
                None => self.tuples.push(fresh),
            }
        }
        self.tuples.retain(|seen| {
            let stays = path.tuples().iter().any(|t| t.addresses == seen.addresses);
            if !stays {
                moved(Move::Closed { path: path.id, addresses: seen.addresses, ended: false });
            }
            stays
        });
        let to = path.active().addresses;
        let from = mem::replace(&mut self.active, to);
        if !from.matches(&to) {
            let by = if from.local == to.local { Direction::Remote } else { Direction::Local };
            moved(Move::Migrated { path: path.id, from, to, by });
        }
    }

    fn tell_state(&mut self, now: Instant, path: &Path, trace: &mut Trace) {
        let (active, id) = (path.active(), path.id);
        let mtu = mem::replace(&mut self.mtu, active.mtu.current());
        if mtu != self.mtu && trace.wants(Mask::MTU_UPDATED) {
            let done = active.mtu.is_settled();
            trace.tell(now, &Event::MtuUpdated { path: id, old: mtu, new: self.mtu, done });
        }
        let ecn = mem::replace(&mut self.ecn, active.ecn.state());
        if let Some(new) =
            self.ecn.filter(|_| ecn != self.ecn && trace.wants(Mask::ECN_STATE_UPDATED))
        {
            trace.tell(now, &Event::EcnStateUpdated { path: id, old: ecn, new });
        }
        let metrics = path.metrics();
        let phase = mem::replace(&mut self.phase, path.recovery.phase());
        if phase != self.phase && trace.wants(Mask::CONGESTION_STATE_UPDATED) {
            let event = Event::CongestionStateUpdated {
                path: id,
                old: Some(phase),
                new: self.phase,
                cwnd: metrics.cwnd,
                ssthresh: metrics.ssthresh,
            };
            trace.tell(now, &event);
        }
        let old = mem::replace(&mut self.metrics, metrics);
        if old != metrics && trace.wants(Mask::METRICS_UPDATED) {
            trace.tell(now, &Event::MetricsUpdated { path: id, old: Some(&old), new: &metrics });
        }
    }

    fn tell_timer(
        &mut self,
        now: Instant,
        path: u32,
        deadline: Option<Instant>,
        trace: &mut Trace,
    ) {
        let before = mem::replace(&mut self.timer, deadline);
        if before == deadline {
            return;
        }
        if before.is_some_and(|at| at <= now) {
            trace.tell(now, &Event::LossTimerUpdated { path, update: Update::Expired });
        }
        let update = match deadline {
            Some(at) => Update::Set(at - now),
            None if before.is_some_and(|at| at > now) => Update::Cancelled,
            None => return,
        };
        trace.tell(now, &Event::LossTimerUpdated { path, update });
    }
}

impl Path {
    /// What is measured on it.
    pub fn metrics(&self) -> Metrics {
        let (recovery, rtt) = (&self.recovery, self.recovery.rtt());
        let measured = |value: Duration| if rtt.has_sample() { value } else { Duration::ZERO };
        Metrics {
            min_rtt: measured(rtt.min()),
            smoothed_rtt: rtt.smoothed(),
            latest_rtt: measured(rtt.latest()),
            rtt_variance: rtt.var(),
            pto_count: recovery.pto_count(),
            cwnd: recovery.cwnd(),
            bytes_in_flight: recovery.bytes_in_flight(),
            ssthresh: recovery.ssthresh(),
            pacing_rate: recovery.pacing_rate(),
        }
    }
}
