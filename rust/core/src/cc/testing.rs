//! A path in which nothing is lost unless a test says so: sends windows, acknowledges rounds.

use super::{
    AckEvent, Algorithm, Congestion, Controller, ControllerConfig, DeliverySnapshot, EcnEvent,
    LossEvent, Sampler,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

pub const MSS: u64 = 1200;

pub struct Path {
    pub cc: Controller,
    pub now: Instant,
    pub rtt: Duration,
    estimate: Rtt,
    sampler: Sampler,
    flight: VecDeque<(Instant, DeliverySnapshot)>,
}

impl Path {
    pub fn new(kind: Congestion, rtt_ms: u64) -> Self {
        Self::with_window(kind, rtt_ms, None)
    }

    pub fn with_window(kind: Congestion, rtt_ms: u64, packets: Option<u64>) -> Self {
        let initial_window = packets.map(|n| n * MSS);
        let config = ControllerConfig { initial_window, max_datagram: MSS, paced: true, seed: 1 };
        let rtt = Duration::from_millis(rtt_ms);
        let now = Instant::from_nanos(1_000_000_000);
        let mut estimate = Rtt::new(rtt);
        estimate.update(now, rtt, Duration::ZERO);
        Self {
            cc: Controller::new(kind, &config),
            now,
            rtt,
            estimate,
            sampler: Sampler::default(),
            flight: VecDeque::new(),
        }
    }

    pub fn estimate(&self) -> &Rtt {
        &self.estimate
    }

    /// A round in which the application has no more than this to send.
    pub fn round_app_limited(&mut self, packets: u64) {
        self.send(packets);
        self.sampler.set_app_limited(self.in_flight());
        self.now += self.rtt;
        self.ack_all();
    }

    pub fn in_flight(&self) -> u64 {
        self.flight.len() as u64 * MSS
    }

    pub fn send(&mut self, packets: u64) {
        for _ in 0..packets {
            let in_flight = self.in_flight() + MSS;
            let snapshot = self.sampler.on_sent(self.now, MSS, in_flight);
            self.flight.push_back((self.now, snapshot));
            self.cc.on_sent(self.now, MSS, &snapshot);
        }
    }

    pub fn fill(&mut self) {
        while self.cc.available(self.in_flight()) >= MSS {
            self.send(1);
        }
    }

    /// One ACK frame for `packets` packets.
    pub fn ack(&mut self, packets: u64) {
        let prior_in_flight = self.in_flight();
        let start = self.cc.recovery_start();
        let (mut after, mut newest) = (0, None);
        for _ in 0..packets {
            let (sent, snapshot) = self.flight.pop_front().unwrap();
            after += if start.is_none_or(|start| sent > start) { MSS } else { 0 };
            newest = Some((sent, snapshot));
        }
        let (sent, snapshot) = newest.unwrap();
        self.sampler.on_delivered(packets * MSS);
        self.estimate.update(self.now, self.now - sent, Duration::ZERO);
        let rate = self.sampler.on_ack(self.now, &snapshot, sent, self.estimate.min());
        self.cc.on_ack(&AckEvent {
            now: self.now,
            acked_bytes: packets * MSS,
            acked_after_recovery: after,
            lost_bytes: 0,
            prior_in_flight,
            in_flight: self.in_flight(),
            rtt: &self.estimate,
            rtt_sample: Some(self.now - sent),
            rate: &rate,
        });
    }

    pub fn ack_all(&mut self) {
        while !self.flight.is_empty() {
            self.ack(1);
        }
    }

    /// Sends a window, waits a round trip, acknowledges each packet.
    pub fn round(&mut self) {
        self.fill();
        self.now += self.rtt;
        self.ack_all();
    }

    pub fn round_of(&mut self, packets: u64) {
        self.send(packets);
        self.now += self.rtt;
        self.ack_all();
    }

    /// Loses the oldest packets in flight; true if that began a recovery period.
    pub fn lose(&mut self, packets: u64) -> bool {
        let prior_in_flight = self.in_flight();
        self.now += Duration::from_millis(1);
        let mut began = false;
        for nth in 0..packets {
            let (time_sent, snapshot) = self.flight.pop_front().unwrap();
            self.sampler.on_lost(MSS);
            began |= self.cc.on_packet_lost(&LossEvent {
                now: self.now,
                time_sent,
                size: MSS,
                prior_in_flight,
                snapshot,
                delivered: self.sampler.delivered(),
                lost: self.sampler.lost(),
                begins_run: nth == 0,
            });
        }
        self.now += Duration::from_millis(1);
        began
    }

    /// The peer reports a CE mark on the oldest packet in flight.
    pub fn mark(&mut self) -> bool {
        let sent = self.flight.front().unwrap().0;
        self.now += Duration::from_millis(1);
        let began = self.report(sent, 0, 1);
        self.now += Duration::from_millis(1);
        began
    }

    /// The peer reports marks in an ACK frame whose newest packet was sent at `time_sent`.
    pub fn report(&mut self, time_sent: Instant, ect: u64, ce: u64) -> bool {
        let (now, in_flight) = (self.now, self.in_flight());
        self.cc.on_ecn(&EcnEvent { now, time_sent, in_flight, ect, ce, rtt: &self.estimate })
    }

    /// Sends a window, waits a round trip, acknowledges it in one frame of which `ce` packets were
    /// marked.
    pub fn marked_round(&mut self, ce: u64) -> bool {
        // What is sent in the instant of an answer counts as sent before it.
        self.now += Duration::from_micros(1);
        self.fill();
        let sent = self.flight.back().unwrap().0;
        let packets = self.flight.len() as u64;
        self.now += self.rtt;
        self.ack(packets);
        self.report(sent, packets - ce, ce)
    }

    /// Loses a packet and sends on until recovery is over.
    pub fn recover(&mut self) {
        self.fill();
        assert!(self.lose(1));
        let start = self.cc.recovery_start();
        while self.cc.phase() == super::Phase::Recovery {
            self.fill();
            self.now += self.rtt;
            self.ack_all();
        }
        assert_eq!(self.cc.recovery_start(), start);
    }
}
