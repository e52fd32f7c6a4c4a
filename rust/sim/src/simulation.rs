//! Hosts at the edge of a network, run in virtual time.

use crate::network::Network;
use crate::packet::Packet;
use crate::random::stream;
use core::fmt;
use core::ops::Range;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant, nanos};

/// Something that sends and receives: a congestion controller with a stream of packets to send, or
/// a whole endpoint. It is sans-I/O: it reads no clock and is told what happens.
pub trait Host {
    /// Takes packets that arrived together, in order.
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>);

    /// The time that [`Host::next_timeout`] named has come, or is past.
    fn timeout(&mut self, now: Instant);

    /// Hands over what it wants to send now. Called after each of the above, and once at the start.
    fn transmit(&mut self, now: Instant, out: &mut Outbox);

    /// When it wants [`Host::timeout`] to be called.
    fn next_timeout(&self) -> Option<Instant>;
}

impl<H: Host + ?Sized> Host for Box<H> {
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        (**self).receive(now, packets);
    }

    fn timeout(&mut self, now: Instant) {
        (**self).timeout(now);
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        (**self).transmit(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        (**self).next_timeout()
    }
}

/// What a host sends.
#[derive(Debug, Default)]
pub struct Outbox {
    packets: Vec<(Option<Instant>, Packet)>,
}

impl Outbox {
    /// Sends a packet at once.
    pub fn send(&mut self, packet: Packet) {
        self.packets.push((None, packet));
    }

    /// Sends a packet at `release`, if the host's network card can ([`HostConfig::honours_release`]).
    pub fn send_at(&mut self, release: Instant, packet: Packet) {
        self.packets.push((Some(release), packet));
    }
}

/// What the machine under a host is like. A network card of limited rate is a link of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Timers fire up to so much late, uniformly by chance.
    pub timer_lateness: Duration,
    /// Whether release times are honoured; else packets leave at once.
    pub honours_release: bool,
}

/// A host of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The condition was met.
    Done,
    /// Nothing is under way and no host waits for anything.
    Idle,
    /// The time was over.
    TimeOver,
    /// A host asks again and again for a timeout that has passed.
    Spinning(HostId),
}

/// A network and its hosts.
pub struct Simulation<H> {
    /// The network: links, routes, statistics.
    pub network: Network,
    seed: u64,
    now: Instant,
    hosts: Vec<Seat<H>>,
    addresses: BTreeMap<SocketAddr, HostId>,
    unclaimed: u64,
}

struct Seat<H> {
    host: H,
    config: HostConfig,
    lateness: Rng,
    /// The timeout that the host asked for, and when it will get it.
    timer: Option<(Instant, Instant)>,
    inbox: Vec<Packet>,
    fired: bool,
    started: bool,
    /// Timeouts in a row without any time passing.
    spins: u32,
    /// When it stands still, in order.
    pauses: Vec<Range<Instant>>,
}

/// Packets that the socket of a host that stands still keeps: about 4 MiB, as the kernel counts.
const SOCKET_PACKETS: usize = 2_000;

/// So many timeouts at one instant are taken for an endless loop.
const MAX_SPINS: u32 = 10_000;

impl<H: Host> Simulation<H> {
    /// A simulation over `network`; `seed` decides the lateness of timers.
    pub fn new(network: Network, seed: u64) -> Self {
        let (hosts, addresses) = (Vec::new(), BTreeMap::new());
        Self { network, seed, now: Instant::ZERO, hosts, addresses, unclaimed: 0 }
    }

    /// Adds a host that receives what is sent to `addresses`.
    pub fn add(&mut self, host: H, config: HostConfig, addresses: &[SocketAddr]) -> HostId {
        let id = HostId(self.hosts.len());
        self.hosts.push(Seat {
            host,
            config,
            lateness: stream(self.seed, "lateness", id.0 as u64),
            timer: None,
            inbox: Vec::new(),
            fired: false,
            started: false,
            spins: 0,
            pauses: Vec::new(),
        });
        addresses.iter().for_each(|&address| self.bind(id, address));
        id
    }

    /// Gives a host a further address.
    pub fn bind(&mut self, host: HostId, address: SocketAddr) {
        self.addresses.insert(address, host);
    }

    /// The time of the last event.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A host.
    ///
    /// # Panics
    /// If `id` is of another simulation.
    pub fn host(&self, id: HostId) -> &H {
        &self.hosts[id.0].host
    }

    /// A host, to change it. What it then wants to send, it sends when the run goes on.
    ///
    /// # Panics
    /// If `id` is of another simulation.
    pub fn host_mut(&mut self, id: HostId) -> &mut H {
        let seat = &mut self.hosts[id.0];
        seat.started = false;
        &mut seat.host
    }

    /// Packets that arrived at an address of no host.
    pub const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// Has a host stand still for a while: what comes waits in its socket, timers fire at the end. To
    /// it the clock has jumped, as for a process that was stopped or a machine that slept. Pauses of
    /// a host do not overlap.
    pub fn pause(&mut self, id: HostId, span: Range<Instant>) {
        let pauses = &mut self.hosts[id.0].pauses;
        let place = pauses.partition_point(|pause| pause.start < span.start);
        pauses.insert(place, span);
    }

    /// Runs to the end of time `until`.
    pub fn run(&mut self, until: Instant) -> Outcome {
        self.run_until(until, |_| false)
    }

    /// Runs until `done` says so after an event, or to the end of time `until`.
    pub fn run_until(&mut self, until: Instant, mut done: impl FnMut(&Self) -> bool) -> Outcome {
        self.serve();
        loop {
            if done(self) {
                return Outcome::Done;
            }
            if let Some(spinning) = self.hosts.iter().position(|seat| seat.spins > MAX_SPINS) {
                return Outcome::Spinning(HostId(spinning));
            }
            let timers = self.hosts.iter().filter_map(|seat| seat.wakes(self.now));
            let Some(next) = timers.chain(self.network.next_event_time()).min() else {
                return Outcome::Idle;
            };
            if next > until {
                self.now = until.max(self.now);
                return Outcome::TimeOver;
            }
            self.now = next.max(self.now);
            self.collect();
            self.serve();
        }
    }

    /// Puts what has arrived into inboxes and notes the timers that are due.
    fn collect(&mut self) {
        while let Some(delivery) = self.network.pop_delivered(self.now) {
            match self.addresses.get(&delivery.packet.to) {
                Some(id) if self.hosts[id.0].inbox.len() < SOCKET_PACKETS => {
                    self.hosts[id.0].inbox.push(*delivery.packet);
                }
                Some(_) => {}
                None => self.unclaimed += 1,
            }
        }
        let now = self.now;
        for seat in &mut self.hosts {
            seat.fired = seat.timer.is_some_and(|(_, wake)| wake <= now);
        }
    }

    /// Lets every host act that has a reason to.
    fn serve(&mut self) {
        let now = self.now;
        let mut out = Outbox::default();
        for seat in &mut self.hosts {
            if !seat.act(now, &mut out) {
                continue;
            }
            let honours = seat.config.honours_release;
            for (release, packet) in out.packets.drain(..) {
                match release {
                    Some(at) if honours && at > now => self.network.send_later(at, packet),
                    _ => self.network.send(now, packet),
                }
            }
        }
    }
}

impl<H: Host> Seat<H> {
    /// This time, or the end of the pause that it falls in.
    fn awake(&self, at: Instant) -> Instant {
        let past = self.pauses.partition_point(|pause| pause.end <= at);
        self.pauses.get(past).filter(|pause| pause.contains(&at)).map_or(at, |pause| pause.end)
    }

    /// When it acts next: for its timer, or for what has come while it stood still.
    fn wakes(&self, now: Instant) -> Option<Instant> {
        let timer = self.timer.map(|(_, wake)| wake);
        let waiting = (!self.inbox.is_empty()).then_some(now);
        timer.into_iter().chain(waiting).min().map(|at| self.awake(at))
    }

    /// Returns whether the host was called.
    fn act(&mut self, now: Instant, out: &mut Outbox) -> bool {
        if self.awake(now) != now {
            return false;
        }
        let (received, fired) = (!self.inbox.is_empty(), self.fired);
        if self.started && !received && !fired {
            return false;
        }
        self.started = true;
        if received {
            self.host.receive(now, &mut self.inbox);
            self.inbox.clear();
        }
        if fired {
            self.host.timeout(now);
            self.fired = false;
            self.timer = None;
        }
        self.host.transmit(now, out);
        self.set_timer(now);
        true
    }

    /// The lateness is drawn anew only if the host asks for another time.
    fn set_timer(&mut self, now: Instant) {
        let wanted = self.host.next_timeout();
        self.spins = if wanted.is_some_and(|at| at <= now) { self.spins + 1 } else { 0 };
        if self.timer.map(|(asked, _)| asked) == wanted {
            return;
        }
        self.timer = wanted.map(|asked| {
            let most = nanos(self.config.timer_lateness);
            let late = if most == 0 { 0 } else { self.lateness.below(most.saturating_add(1)) };
            (asked, asked.max(now) + Duration::from_nanos(late))
        });
    }
}

impl<H> fmt::Debug for Simulation<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkConfig;

    /// Sends a packet every `period`, and answers nothing.
    struct Beat {
        ends: (SocketAddr, SocketAddr),
        period: Duration,
        next: Option<Instant>,
        due: bool,
        fired: Vec<Instant>,
        received: Vec<Instant>,
    }

    impl Host for Beat {
        fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
            self.received.extend(packets.iter().map(|_| now));
        }

        fn timeout(&mut self, now: Instant) {
            self.fired.push(now);
            self.due = true;
            self.next = self.next.map(|at| at + self.period);
        }

        fn transmit(&mut self, now: Instant, out: &mut Outbox) {
            if core::mem::take(&mut self.due) {
                let packet = Packet::descriptor(self.ends.0, self.ends.1, 100);
                out.send_at(now + Duration::from_millis(3), packet);
            }
        }

        fn next_timeout(&self) -> Option<Instant> {
            self.next
        }
    }

    fn build(config: HostConfig, period: Duration) -> (Simulation<Beat>, [HostId; 2]) {
        let [a, b] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 1)));
        let mut network = Network::new(1);
        let delay = LinkConfig { delay: Duration::from_millis(1), ..LinkConfig::default() };
        let link = network.add_link(&delay);
        network.route(a, b, &[link]);
        let mut simulation = Simulation::new(network, 1);
        let beat = |next| Beat {
            ends: (a, b),
            period,
            next,
            due: false,
            fired: Vec::new(),
            received: Vec::new(),
        };
        let sender = simulation.add(beat(Some(Instant::ZERO)), config, &[a]);
        let receiver = simulation.add(beat(None), config, &[b]);
        (simulation, [sender, receiver])
    }

    fn run(config: HostConfig, period: Duration) -> (Simulation<Beat>, [HostId; 2], Outcome) {
        let (mut simulation, hosts) = build(config, period);
        let outcome = simulation.run(Instant::ZERO + Duration::from_millis(45));
        (simulation, hosts, outcome)
    }

    fn millis(times: &[Instant]) -> Vec<u64> {
        times.iter().map(|time| time.as_nanos() / 1_000_000).collect()
    }

    #[test]
    fn timers_and_release_times_are_exact_or_not_as_configured() {
        let period = Duration::from_millis(10);
        let exact = HostConfig { honours_release: true, ..HostConfig::default() };
        let (simulation, [sender, receiver], outcome) = run(exact, period);
        assert_eq!(outcome, Outcome::TimeOver);
        assert_eq!(millis(&simulation.host(sender).fired), [0, 10, 20, 30, 40]);
        assert_eq!(millis(&simulation.host(receiver).received), [4, 14, 24, 34, 44]);

        let late = HostConfig { timer_lateness: Duration::from_millis(5), honours_release: false };
        let (simulation, [sender, receiver], _) = run(late, period);
        let fired = &simulation.host(sender).fired;
        let expected = |k: usize| Instant::ZERO + period * k as u32;
        assert!(fired.iter().enumerate().all(|(k, &at)| at - expected(k) <= late.timer_lateness));
        assert!(fired.iter().enumerate().any(|(k, &at)| at > expected(k)));
        let received = &simulation.host(receiver).received;
        assert!(
            fired.iter().zip(received).all(|(&sent, &got)| got - sent == Duration::from_millis(1))
        );
    }

    #[test]
    fn a_host_that_spins_is_named() {
        let (_, [sender, _], outcome) = run(HostConfig::default(), Duration::ZERO);
        assert_eq!(outcome, Outcome::Spinning(sender));
    }

    #[test]
    fn a_host_that_stands_still_finds_that_time_has_passed() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let (mut simulation, [sender, receiver]) =
            build(HostConfig::default(), Duration::from_millis(10));
        simulation.pause(sender, at(15)..at(33));
        simulation.pause(receiver, at(5)..at(18));
        assert_eq!(simulation.run(at(45)), Outcome::TimeOver);
        // It asked for 20 and then for 30 ms, and has both at once when it goes on.
        assert_eq!(millis(&simulation.host(sender).fired), [0, 10, 33, 33, 40]);
        assert_eq!(millis(&simulation.host(receiver).received), [1, 18, 34, 34, 41]);
    }
}
