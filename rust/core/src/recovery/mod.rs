//! Loss detection and what packets carried (RFC 9002).
//!
//! One [`Recovery`] serves one path: the packets in flight of its packet-number spaces, its RTT,
//! its congestion controller and its pacer. It tells a [`TokenSink`] what was acknowledged and
//! what was lost, and its caller what to do next.

mod ack;
mod loss;
mod pto;
mod rtt;
mod sent;
mod skip;
mod spurious;
pub mod token;

#[cfg(test)]
mod tests;

use crate::cc::{
    AckBatch, Algorithm, Congestion, Controller, ControllerConfig, Coupling, Decision, Ecn,
    EcnEvent, Inheritance, Member, Pace, Pacer, Phase, Sampler, Share,
};
use crate::rng::Rng;
use crate::time::{Duration, Instant, nanos};
use tquic_wire::{Side, Space};

pub use ack::AckSummary;
pub use pto::{TimeoutAction, TimerContext};
pub use rtt::{GRANULARITY, Rtt};
pub use sent::{MAX_TRACKED, SentPacket};
pub use token::{Token, Tokens};

use sent::SentPackets;
use skip::Skips;
use spurious::{Episode, LostPackets, Thresholds};

/// Packets of a burst at most: one GSO send.
const BURST_SEGMENTS: u64 = 64;
/// Bytes of a burst at most.
const BURST_BYTES: u64 = 65_536;
/// Late timers are made up for by so many bursts at most, as long as the controller lets one be: 10 ms
/// of the rate, or 2.5 ms with those that keep queues short. That is about a tick of the coarsest
/// scheduler, and what others allow (quinn: 10 ms).
const LATE_BURSTS: u32 = 10;
/// Below this rate (1.2 Mbit/s) packets go one by one.
const SLOW_RATE: u64 = 150_000;
/// Datagrams up to this size pass on every path (RFC 9000 section 14).
const BASE_DATAGRAM: u16 = 1200;

/// Settings of a path's recovery.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryConfig {
    /// Which end this is. Default: client.
    pub side: Side,
    /// RTT before the first sample. Default: 333 ms.
    pub initial_rtt: Duration,
    /// Initial congestion window in bytes. Default: by RFC 9002 section 7.2.
    pub initial_window: Option<u64>,
    /// The congestion controller. Default: CUBIC.
    pub congestion: Congestion,
    /// Bytes of the largest datagram to send. Default: 1200.
    pub max_datagram: u16,
    /// kPacketThreshold at least, 3 to 1024; it adapts upwards. Default: 3.
    pub packet_threshold: u64,
    /// kTimeThreshold at least, in eighths of the RTT, 9 to 16; it adapts upwards. Default: 9.
    pub time_threshold_eighths: u32,
    /// Whether sending is paced. Default: yes.
    pub pacing: bool,
    /// What random choices of the congestion controller are drawn from. Connections draw one for
    /// each path.
    pub seed: u64,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            side: Side::Client,
            initial_rtt: Duration::from_millis(333),
            initial_window: None,
            congestion: Congestion::default(),
            max_datagram: 1200,
            packet_threshold: 3,
            time_threshold_eighths: 9,
            pacing: true,
            seed: 0,
        }
    }
}

/// Learns what became of the information in packets.
pub trait TokenSink {
    /// The peer has it.
    fn acked(&mut self, space: Space, token: Token);
    /// The packet was lost.
    fn lost(&mut self, space: Space, token: Token);
    /// The peer has this packet; its tokens follow.
    fn packet_acked(&mut self, _space: Space, _pn: u64) {}
    /// This packet was lost; its tokens follow as far as they are to be handed out.
    fn packet_lost(&mut self, _lost: &LostPacket<'_>) {}
    /// The packet is overdue but not lost: a probe may carry the information again. The same token
    /// can be acknowledged later, but is not reported lost any more.
    fn probe(&mut self, space: Space, token: Token) {
        self.lost(space, token);
    }
}

/// A packet that was declared lost.
#[derive(Clone, Copy, Debug)]
pub struct LostPacket<'a> {
    /// Its packet-number space.
    pub space: Space,
    /// Its number.
    pub pn: u64,
    /// It was lost by number, not by age (RFC 9002 section 6.1).
    pub reordered: bool,
    /// Packets lost on this path, with this one.
    pub total: u64,
    /// What was sent.
    pub packet: &'a SentPacket,
}

/// How much may be sent now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendBudget {
    /// Bytes that the congestion window and the pacer allow. Probes, ACK-only packets and
    /// CONNECTION_CLOSE need none.
    pub bytes: u64,
    /// When to ask again, if only the pacer stands in the way.
    pub next_release: Option<Instant>,
}

/// Counters since the start of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryStats {
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Their bytes.
    pub lost_bytes: u64,
    /// Packets acknowledged after having been declared lost.
    pub spurious_losses: u64,
    /// Probe timeouts.
    pub ptos: u64,
    /// Recovery periods begun by loss or CE marks.
    pub congestion_events: u64,
    /// Those of them taken back because all losses were spurious.
    pub undone_events: u64,
    /// Times persistent congestion was established.
    pub persistent_congestion: u64,
    /// Packets that the peer reported as marked CE.
    pub ecn_ce: u64,
}

/// One packet-number space.
#[derive(Clone, Debug)]
struct PnSpace {
    sent: SentPackets,
    lost: LostPackets,
    skips: Skips,
    next_pn: u64,
    largest_acked: Option<u64>,
    /// When the oldest packet below `largest_acked` is to be declared lost.
    loss_time: Option<Instant>,
    last_ack_eliciting: Instant,
    /// The content of every packet below this number was handed out, as far as it could be.
    handed_out: u64,
    /// The same for [`Recovery::repeat`].
    repeated: u64,
    /// Send time of the first ack-eliciting packet of the latest unbroken run of losses.
    lost_since: Option<Instant>,
    /// The packet before the oldest one held was lost.
    in_lost_run: bool,
    discarded: bool,
}

impl PnSpace {
    fn new() -> Self {
        Self {
            sent: SentPackets::default(),
            lost: LostPackets::default(),
            skips: Skips::new(),
            next_pn: 0,
            largest_acked: None,
            loss_time: None,
            last_ack_eliciting: Instant::ZERO,
            handed_out: 0,
            repeated: 0,
            lost_since: None,
            in_lost_run: false,
            discarded: false,
        }
    }

    /// Forgets all packets; returns the bytes they had in flight.
    fn clear(&mut self) -> u64 {
        self.lost = LostPackets::default();
        self.loss_time = None;
        self.lost_since = None;
        self.sent.clear()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Recovery {
    config: RecoveryConfig,
    spaces: [PnSpace; 3],
    rtt: Rtt,
    controller: Controller,
    sampler: Sampler,
    pacer: Pacer,
    thresholds: Thresholds,
    episode: Episode,
    bytes_in_flight: u64,
    pto_count: u32,
    /// From when the timer of a client with nothing in flight runs.
    idle_since: Instant,
    /// What the pacer went by at the last [`Self::budget`].
    pace: Pace,
    /// Round trip of the last loss: bursts are small until one passes without.
    lossy_round: Option<u64>,
    /// The newest delivery rate that the network limited.
    delivery_rate: Option<u64>,
    /// Nothing waits to be sent.
    out_of_data: bool,
    max_datagram: u64,
    stats: RecoveryStats,
}

const SPACES: [Space; 3] = [Space::Initial, Space::Handshake, Space::Data];

const fn index(space: Space) -> usize {
    match space {
        Space::Initial => 0,
        Space::Handshake => 1,
        Space::Data => 2,
    }
}

impl Recovery {
    /// Recovery for a new path.
    pub fn new(config: &RecoveryConfig, now: Instant) -> Self {
        let max_datagram = u64::from(config.max_datagram);
        Self {
            spaces: core::array::from_fn(|_| PnSpace::new()),
            rtt: Rtt::new(config.initial_rtt),
            controller: controller(config, max_datagram),
            sampler: Sampler::default(),
            pacer: Pacer::new(now),
            thresholds: Thresholds::new(config.packet_threshold, config.time_threshold_eighths),
            episode: Episode::default(),
            bytes_in_flight: 0,
            pto_count: 0,
            idle_since: now,
            pace: Pace { rate: 0, burst: max_datagram, catch_up: 0 },
            lossy_round: None,
            delivery_rate: None,
            out_of_data: false,
            max_datagram,
            stats: RecoveryStats::default(),
            config: *config,
        }
    }

    /// The number after the last one used.
    pub fn next_pn(&self, space: Space) -> u64 {
        self.spaces[index(space)].next_pn
    }

    /// The largest number acknowledged by the peer, for packet-number encoding.
    pub fn largest_acked(&self, space: Space) -> Option<u64> {
        self.spaces[index(space)].largest_acked
    }

    /// Uses a packet number. In the application data space some are skipped at random, against
    /// peers that acknowledge what they have not received (RFC 9000 section 21.4).
    pub fn take_pn(&mut self, space: Space, rng: &mut Rng) -> u64 {
        let s = &mut self.spaces[index(space)];
        let pn = if space == Space::Data { s.skips.pass(s.next_pn, rng) } else { s.next_pn };
        s.next_pn = pn + 1;
        pn
    }

    /// A packet with a number from [`Self::take_pn`] was sent. Packets that are neither
    /// ack-eliciting nor in flight are not kept.
    pub fn on_packet_sent(&mut self, space: Space, pn: u64, mut packet: SentPacket) {
        let s = &mut self.spaces[index(space)];
        s.next_pn = s.next_pn.max(pn + 1);
        if s.discarded || !(packet.in_flight || packet.ack_eliciting) {
            return;
        }
        let now = packet.time_sent;
        if packet.ack_eliciting {
            s.last_ack_eliciting = now;
            self.idle_since = now;
        }
        if packet.in_flight {
            let size = u64::from(packet.size);
            self.bytes_in_flight += size;
            packet.snapshot = self.sampler.on_sent(now, size, self.bytes_in_flight);
            self.controller.on_sent(now, size, &packet.snapshot);
            self.pacer.on_sent(size, self.max_datagram, self.pace.burst);
        }
        s.sent.push(pn, packet);
    }

    /// What the congestion window and the pacer allow at `now`. Ask when there is something to
    /// send: a pacer that holds data back says when to ask again.
    pub fn budget(&mut self, now: Instant) -> SendBudget {
        self.check_app_limited(now);
        self.out_of_data = false;
        let room = self.controller.available(self.bytes_in_flight);
        if room < self.max_datagram {
            self.pacer.stop_waiting();
        }
        if room == 0 || self.spaces.iter().any(|s| s.sent.len() >= MAX_TRACKED) {
            return SendBudget::default();
        }
        let Some(rate) = self.pacing_rate() else {
            return SendBudget { bytes: room, next_release: None };
        };
        self.pace = Pace { rate, burst: self.burst_size(rate), catch_up: self.catch_up_size(rate) };
        if self.bytes_in_flight == 0 {
            self.pacer.restart(now, self.controller.restart_datagrams() * self.max_datagram);
        }
        let paced = self.pacer.budget(now, &self.pace);
        if self.pacer.take_forfeited()
            && self.controller.sends_what_it_measures()
            && self.bytes_in_flight < self.controller.usual_flight()
        {
            // Limited by this host, which says as little of the path as the application does. With
            // more in flight the path is full all the same.
            self.sampler.set_app_limited(self.bytes_in_flight);
        }
        match paced {
            Ok(bytes) => SendBudget { bytes: bytes.min(room), next_release: None },
            Err(at) => SendBudget { bytes: 0, next_release: Some(at) },
        }
    }

    /// Bytes of a burst at `rate`: what fits the controller's burst time and one GSO send, never
    /// more than a quarter of the window, and little while packets are being lost.
    fn burst_size(&self, rate: u64) -> u64 {
        let mss = self.max_datagram;
        if rate < SLOW_RATE {
            return mss;
        }
        let mut burst = worth(rate, self.controller.burst_time());
        if self.lossy_round.is_some_and(|round| self.sampler.round() <= round + 1) {
            // Two packets; on fast links as many as one can still send on time.
            burst = burst.min((2 * mss).max(worth(rate, Duration::from_micros(250))));
        }
        let most = BURST_BYTES.min(BURST_SEGMENTS * mss).min(self.controller.window() / 4);
        burst.min(most).max(mss)
    }

    /// Bytes by which a late timer is made up for. Losses do not lessen it: they are no reason to leave
    /// unsent what the rate allows, or a host that is often late would lose its share of the path to
    /// those that are not, and the slower it got the fewer acknowledgments would wake it.
    fn catch_up_size(&self, rate: u64) -> u64 {
        worth(rate, self.controller.burst_time() * LATE_BURSTS).min(self.controller.window() / 4)
    }

    /// Nothing waits to be sent, neither new data nor lost.
    pub fn on_out_of_data(&mut self, now: Instant) {
        self.out_of_data = true;
        self.check_app_limited(now);
    }

    /// Marks delivery rates as limited by the application if it is what keeps data back: nothing
    /// waited although the window had room and the pacer would have let it pass. The window alone
    /// would not do, because between two bursts a paced flight is always smaller. Asked when
    /// acknowledgments arrive, before they change the flight, and before sending goes on
    /// (draft-ietf-ccwg-bbr-06, "Detecting application-limited phases").
    fn check_app_limited(&mut self, now: Instant) {
        let room = self.controller.window().saturating_sub(self.bytes_in_flight);
        if self.out_of_data && room >= self.max_datagram && self.pacer_allows(now) {
            self.sampler.set_app_limited(self.bytes_in_flight);
        }
    }

    fn pacer_allows(&mut self, now: Instant) -> bool {
        let Some(rate) = self.pacing_rate() else { return true };
        self.bytes_in_flight == 0 || self.pacer.budget(now, &Pace { rate, ..self.pace }).is_ok()
    }

    /// The path carries datagrams of up to `bytes` now.
    pub fn set_max_datagram(&mut self, bytes: u16) {
        self.max_datagram = u64::from(bytes);
        self.controller.set_max_datagram(self.max_datagram);
    }

    /// The peer's validated counts grew by `ect` packets that came through unmarked and `ce` marked
    /// ones, in an ACK frame whose newest packet was sent at `time_sent` (RFC 9002 section 7.1).
    pub fn on_ecn(&mut self, now: Instant, time_sent: Instant, ect: u64, ce: u64) {
        // What the ACK frame acknowledged has left already; that little is not worth remembering.
        let in_flight = self.bytes_in_flight;
        let event = EcnEvent { now, time_sent, in_flight, ect, ce, rtt: &self.rtt };
        let answered = self.controller.on_ecn(&event);
        self.stats.congestion_events += u64::from(answered);
        self.stats.ecn_ce += ce;
        if ce == 0 || self.controller.ect() == Ecn::Ect1 {
            // Marks on ECT(1) come long before loss and say nothing about one.
            return;
        }
        if answered {
            self.episode.begin();
        }
        self.episode.confirm();
    }

    /// The mark that the controller wants on packets.
    pub fn ect(&self) -> Ecn {
        self.controller.ect()
    }

    /// Packets of this path carry no marks, because it does not keep them or is not to use them.
    /// Without marks an L4S controller is blind (RFC 9331 section 4.3): CUBIC goes on in its place.
    pub fn on_ecn_unusable(&mut self) {
        if self.controller.ect() == Ecn::Ect1 {
            self.replace_controller(Congestion::Cubic);
        }
    }

    /// Changes the controller of a path in use. The window, what is known of the threshold and the
    /// RTT go over; the new controller is also that of paths which replace this one.
    pub fn set_congestion(&mut self, kind: Congestion) {
        self.config.congestion = kind;
        self.replace_controller(kind);
    }

    fn replace_controller(&mut self, kind: Congestion) {
        let past = &self.controller;
        let (window, startup) = (past.window(), past.phase().is_startup());
        let inheritance = Inheritance {
            window,
            // One that has left its startup knows its threshold, even if it has no name for it.
            ssthresh: past.ssthresh().or((!startup).then_some(window)),
            recovery_start: past.recovery_start(),
            delivery_rate: self.delivery_rate,
            rtt: &self.rtt,
        };
        let config = RecoveryConfig { congestion: kind, ..self.config };
        let mut controller = controller(&config, self.max_datagram);
        controller.inherit(&inheritance);
        self.controller = controller;
        // What the old one saved for an undo is gone with it.
        self.episode.confirm();
    }

    /// The controller that was chosen, by configuration or since.
    pub fn chosen_congestion(&self) -> Congestion {
        self.config.congestion
    }

    /// The controller in force. It differs from what was chosen where that one cannot work.
    pub fn congestion(&self) -> Congestion {
        self.controller.kind()
    }

    /// The controller, for what only one algorithm has to tell.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// How the controller is coupled with those of other paths, if it is.
    pub fn coupling(&self) -> Option<Coupling> {
        match &self.controller {
            Controller::Coupled(coupled) => Some(coupled.coupling()),
            _ => None,
        }
    }

    /// What the path contributes to a coupling of this kind, if it takes part.
    pub fn member(&self, coupling: Coupling) -> Option<Member> {
        match &self.controller {
            Controller::Coupled(c) if c.coupling() == coupling => Some(c.member(&self.rtt)),
            _ => None,
        }
    }

    /// What the coupling leaves to the path.
    pub fn set_share(&mut self, share: Share) {
        if let Controller::Coupled(coupled) = &mut self.controller {
            coupled.set_share(share);
        }
    }

    /// What happened on a path that a program outside controls, if it is to be asked now.
    pub fn take_ack_batch(&mut self, now: Instant) -> Option<AckBatch> {
        match &mut self.controller {
            Controller::External(external) => external.take_batch(now),
            _ => None,
        }
    }

    /// The answer to a batch. Ignored if another controller has taken over.
    pub fn decide(&mut self, sequence: u64, decision: Decision) {
        if let Controller::External(external) = &mut self.controller {
            external.decide(sequence, decision);
        }
    }

    /// Keys of `space` were discarded: its packets can no longer be acknowledged (RFC 9002
    /// sections 6.2.2 and 6.4). Their tokens are dropped.
    pub fn discard_space(&mut self, now: Instant, space: Space) {
        let s = &mut self.spaces[index(space)];
        self.bytes_in_flight -= s.clear();
        s.discarded = true;
        // Section 6.2.2: progress was made, so timers start anew.
        self.pto_count = 0;
        self.idle_since = now;
    }

    /// Reports everything outstanding in `space` to `sink` as lost, and forgets it, without a word
    /// to congestion control: for 0-RTT packets that were rejected (RFC 9002 section 6.4), or that
    /// preceded a Retry.
    pub fn requeue(&mut self, space: Space, sink: &mut impl TokenSink) {
        let s = &mut self.spaces[index(space)];
        for entry in s.sent.outstanding() {
            let owed = entry.packet.tokens.iter().filter(|t| entry.owes(t));
            owed.for_each(|token| sink.lost(space, *token));
        }
        self.bytes_in_flight -= s.clear();
    }

    /// A Retry or Version Negotiation packet arrived: congestion control and loss detection start
    /// anew, packet numbers go on (RFC 9002 section 6.3). Initial packets are forgotten, their owner
    /// sends everything again; for 0-RTT packets call [`Self::requeue`].
    pub fn on_retry(&mut self, now: Instant) {
        let initial = &mut self.spaces[index(Space::Initial)];
        // Section 6.3: the time to the Retry may serve as initial RTT, if no probe blurs it.
        let first_sent = initial.sent.front().map(|entry| entry.packet.time_sent);
        let measured = first_sent.filter(|_| self.pto_count == 0).map(|sent| now - sent);
        initial.clear();
        self.abandon_flight();
        self.restart(now, measured);
    }

    /// The path leads to another address now (RFC 9000 section 9.4). Packets in flight belong to
    /// the old one: they can still be acknowledged or lost, but say nothing about the new one.
    pub fn reset_for_new_path(&mut self, now: Instant) {
        self.abandon_flight();
        self.restart(now, None);
    }

    fn abandon_flight(&mut self) {
        for s in &mut self.spaces {
            s.sent.outstanding().for_each(|entry| entry.packet.in_flight = false);
            s.lost_since = None;
        }
        self.bytes_in_flight = 0;
    }

    fn restart(&mut self, now: Instant, initial_rtt: Option<Duration>) {
        let config = &self.config;
        self.rtt = Rtt::new(initial_rtt.map_or(config.initial_rtt, |rtt| rtt.max(GRANULARITY)));
        self.controller = controller(config, self.max_datagram);
        self.sampler.restart();
        self.pacer = Pacer::new(now);
        self.thresholds = Thresholds::new(config.packet_threshold, config.time_threshold_eighths);
        self.episode.confirm();
        self.pto_count = 0;
        self.idle_since = now;
        self.lossy_round = None;
        self.delivery_rate = None;
    }

    /// Gives back memory kept for speed; for connections that fall idle.
    pub fn release_memory(&mut self) {
        self.spaces.iter_mut().for_each(|s| s.sent.shrink());
    }

    /// RTT estimates.
    pub fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The congestion window in bytes.
    pub fn cwnd(&self) -> u64 {
        self.controller.window()
    }

    /// Bytes in flight when sending goes as it should.
    pub fn usual_flight(&self) -> u64 {
        self.controller.usual_flight()
    }

    /// The slow start threshold in bytes, once there is one.
    pub fn ssthresh(&self) -> Option<u64> {
        self.controller.ssthresh()
    }

    /// The controller's state.
    pub fn phase(&self) -> Phase {
        self.controller.phase()
    }

    /// Bytes in flight in `space` and those before it. Those of the handshake are summed up: there
    /// are few packets.
    pub fn bytes_in_flight_up_to(&self, space: Space) -> u64 {
        let sum = |spaces: &[PnSpace]| spaces.iter().map(|s| s.sent.bytes_in_flight()).sum();
        match space {
            Space::Initial => sum(&self.spaces[..1]),
            Space::Handshake => sum(&self.spaces[..2]),
            Space::Data => self.bytes_in_flight,
        }
    }

    /// Bytes sent, and neither acknowledged nor lost.
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Ack-eliciting packets of `space` that are outstanding.
    pub fn ack_eliciting_in_flight(&self, space: Space) -> usize {
        self.spaces[index(space)].sent.ack_eliciting()
    }

    /// Whether there are any.
    pub fn has_ack_eliciting_in_flight(&self, space: Space) -> bool {
        self.ack_eliciting_in_flight(space) > 0
    }

    /// Bytes per second at which sending is paced; `None` if it is not.
    pub fn pacing_rate(&self) -> Option<u64> {
        if self.config.pacing { self.controller.pacing_rate(&self.rtt) } else { None }
    }

    /// The newest delivery rate that the network limited, in bytes per second.
    pub fn delivery_rate(&self) -> Option<u64> {
        self.delivery_rate
    }

    /// Probe timeouts in a row.
    pub fn pto_count(&self) -> u32 {
        self.pto_count
    }

    /// kPacketThreshold as adapted, to be told to the peer as Reordering Threshold
    /// (draft-ietf-quic-ack-frequency-12 section 6.2).
    pub fn packet_threshold(&self) -> u64 {
        self.thresholds.packets()
    }

    /// Counters.
    pub fn stats(&self) -> RecoveryStats {
        self.stats
    }
}

/// Bytes that `rate` bytes per second send in `time`.
fn worth(rate: u64, time: Duration) -> u64 {
    rate.saturating_mul(nanos(time) / 1000) / 1_000_000
}

fn controller(config: &RecoveryConfig, max_datagram: u64) -> Controller {
    let settings = ControllerConfig {
        initial_window: config.initial_window,
        max_datagram,
        paced: config.pacing,
        seed: config.seed,
    };
    Controller::new(config.congestion, &settings)
}
