//! The application of one connection at one end: it does what the plan says and notes what is wrong.

use super::pattern;
use super::plan::{Act, ConnectionPlan, Ending, SERVER, What, client_address, nat_address};
use super::record::{Record, seconds};
use super::stream::{StreamEnd, Wrong, transfer_of};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tquic_core::Connection;
use tquic_core::connection::ConnectionStats;
use tquic_core::datagram::DatagramError;
use tquic_core::events::{ConnectionError, Event, PathChange};
use tquic_core::multipath::OpenPathError;
use tquic_core::path::FourTuple;
use tquic_core::stream::StreamEvent;
use tquic_core::time::{Duration, Instant};
use tquic_wire::{Direction, Side, StreamId, TransportErrorCode};

/// How often a slow reader reads.
const READ_PERIOD: Duration = Duration::from_millis(10);
/// How often an end that is done looks whether the other is, and retries what was refused.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Key of the content of unreliable datagrams.
const DATAGRAM_KEY: u64 = 0xda;

/// See the module.
pub struct Conversation {
    side: Side,
    connection: usize,
    plan: ConnectionPlan,
    began: Instant,
    streams: BTreeMap<StreamId, StreamEnd>,
    /// Transfers of ours not opened yet, as indices into the plan, by direction; in order.
    unopened: [Vec<usize>; 2],
    /// `open` was refused; an event will tell.
    blocked: [bool; 2],
    /// Acts not done yet, the next one last.
    acts: Vec<Act>,
    /// When to act next, of its own accord.
    next: Option<Instant>,
    next_read: Instant,
    /// When something was read last, and the longest time between two reads.
    last_read: Option<Instant>,
    pause: Duration,
    datagrams_sent: u64,
    datagrams_seen: BTreeSet<u64>,
    token: Option<Vec<u8>>,
    outside: Option<SocketAddr>,
    connected: bool,
    over: bool,
    done: bool,
}

impl Conversation {
    /// The end `side` of connection number `connection`, beginning now.
    pub fn new(side: Side, connection: usize, plan: &ConnectionPlan, now: Instant) -> Self {
        let mut unopened = [Vec::new(), Vec::new()];
        for (index, transfer) in plan.transfers.iter().enumerate() {
            if transfer.opener == side {
                unopened[transfer.direction as usize].push(index);
            }
        }
        let mut acts: Vec<Act> = plan.acts.iter().copied().filter(|a| a.side == side).collect();
        acts.sort_by_key(|act| core::cmp::Reverse(act.at));
        Self {
            side,
            connection,
            plan: plan.clone(),
            began: now,
            streams: BTreeMap::new(),
            unopened,
            blocked: [false; 2],
            acts,
            next: Some(now),
            next_read: now,
            last_read: None,
            pause: Duration::ZERO,
            datagrams_sent: 0,
            datagrams_seen: BTreeSet::new(),
            token: None,
            outside: None,
            connected: false,
            over: false,
            done: false,
        }
    }

    /// When it wants to be called, whatever the connection does.
    pub fn next_time(&self) -> Option<Instant> {
        self.next.filter(|_| !self.over)
    }

    /// Which connection of the plan this is.
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Whether the connection presents a token of an earlier one.
    pub fn uses_token(&self) -> bool {
        self.plan.use_token
    }

    /// What a NAT calls the client's first address now, if it changed since the last call.
    pub fn take_outside(&mut self) -> Option<SocketAddr> {
        self.outside.take()
    }

    /// The newest token of the server, once.
    pub fn take_token(&mut self) -> Option<Vec<u8>> {
        self.token.take()
    }

    /// For a person: what is left to do.
    pub fn describe(&self) -> String {
        let open: Vec<String> = self
            .streams
            .values()
            .filter(|stream| !stream.is_done())
            .take(4)
            .map(StreamEnd::describe)
            .collect();
        format!(
            "{:?} end of connection {}: connected {}, {} streams of which {} done, {} unopened, {}",
            self.side,
            self.connection,
            self.connected,
            self.streams.len(),
            self.streams.values().filter(|stream| stream.is_done()).count(),
            self.unopened[0].len() + self.unopened[1].len(),
            open.join("; "),
        )
    }

    /// Takes the connection's events, then does what is due.
    pub fn serve(&mut self, now: Instant, c: &mut Connection, record: &mut Record) {
        // As the engine does: what it does itself may make events, too.
        let mut acted = false;
        loop {
            let done = match c.poll_event() {
                Some(event) => {
                    if record.trace {
                        let (side, number) = (self.side, self.connection);
                        eprintln!("{} {side:?} {number} event {event:?}", seconds(now));
                    }
                    self.on_event(now, c, event, record)
                }
                None if acted || self.over => return,
                None => {
                    acted = true;
                    self.act(now, c, record)
                }
            };
            if let Err(wrong) = done {
                self.violation(now, record, &wrong);
            }
        }
    }

    fn violation(&self, now: Instant, record: &mut Record, wrong: &str) {
        record.violation(now, format!("{:?} {}: {wrong}", self.side, self.connection));
    }

    fn on_event(
        &mut self,
        now: Instant,
        c: &mut Connection,
        event: Event,
        record: &mut Record,
    ) -> Result<(), Wrong> {
        record.digest.update(&[now.as_nanos(), self.side as u64, self.connection as u64]);
        if self.over {
            return Err(format!("after the end: {event:?}"));
        }
        match event {
            Event::Connected => {
                if core::mem::replace(&mut self.connected, true) {
                    return Err("connected twice".to_owned());
                }
                if self.side == Side::Client {
                    record.counts.handshakes += 1;
                }
                Ok(())
            }
            Event::Stream(event) => self.on_stream_event(c, event),
            Event::DatagramReceived => self.read_datagrams(c, record),
            Event::Migrated(_) => {
                record.counts.migrations += 1;
                Ok(())
            }
            Event::Path { change, .. } => {
                let validated = matches!(change, PathChange::Validated(_));
                record.counts.paths += u64::from(validated);
                let poor = TransportErrorCode::PATH_UNSTABLE_OR_POOR.0;
                if change == (PathChange::Abandoned { error_code: poor, by_peer: false }) {
                    record.end(self.connection, self.side).gave_up_path = true;
                }
                Ok(())
            }
            Event::Closed(error) => {
                self.on_closed(now, c, error, record);
                Ok(())
            }
            Event::ZeroRttRejected if self.side == Side::Server => {
                Err("a server's 0-RTT was rejected".to_owned())
            }
            Event::NewToken(token) => {
                self.token = Some(token);
                Ok(())
            }
            Event::SchedulerFailed { reason, .. } => Err(reason),
            Event::ZeroRttRejected
            | Event::DatagramsWritable
            | Event::TicketReceived
            | Event::PingAcked { .. }
            | Event::PathsAvailable
            | Event::PathFailed(_) => Ok(()),
        }
    }

    fn on_stream_event(&mut self, c: &mut Connection, event: StreamEvent) -> Result<(), Wrong> {
        let streams = c.streams();
        match event {
            StreamEvent::StreamsAvailable { dir } => {
                self.blocked[dir as usize] = false;
                self.next = Some(Instant::ZERO);
                Ok(())
            }
            StreamEvent::Opened { id } => {
                let Some(transfer) = transfer_of(&self.plan, id) else {
                    return Err(format!("{id:?} was opened, which is not in the plan"));
                };
                let end = StreamEnd::new(self.connection, id, transfer, self.side);
                match self.streams.insert(id, end) {
                    None => Ok(()),
                    Some(_) => Err(format!("{id:?} was opened twice")),
                }
            }
            StreamEvent::Readable { id } => {
                self.stream(id)?.on_readable();
                Ok(())
            }
            StreamEvent::Writable { id } => self.stream(id)?.write(streams),
            StreamEvent::Finished { id } => self.stream(id)?.on_finished(),
            StreamEvent::Stopped { id, code } => self.stream(id)?.on_stopped(streams, code),
            StreamEvent::Reset { id, code } => {
                self.stream(id)?.on_reset(streams, code)?;
                self.stream(id)?.write(streams)
            }
            StreamEvent::FinalSize { .. } => Ok(()),
        }
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut StreamEnd, Wrong> {
        self.streams.get_mut(&id).ok_or_else(|| format!("{id:?} was never opened"))
    }

    fn on_closed(
        &mut self,
        now: Instant,
        c: &Connection,
        error: ConnectionError,
        record: &mut Record,
    ) {
        self.over = true;
        if !self.done && record.unfinished.len() < 4 {
            record.unfinished.push(self.describe());
        }
        record.end(self.connection, self.side).over = Some((now, error));
        record.end(self.connection, self.side).pause = self.pause;
        let ConnectionStats { key_updates, bytes_sent, reinjected_bytes, .. } = c.stats();
        record.counts.key_updates += key_updates;
        record.counts.sent += bytes_sent;
        record.counts.reinjected += reinjected_bytes;
        record.counts.bytes += self.streams.values().map(StreamEnd::bytes_read).sum::<u64>();
        record.counts.lost += c.path(0).map_or(0, |path| path.stats().lost_packets);
        let early = c.handshake().zero_rtt() == tquic_core::handshake::ZeroRtt::Accepted;
        record.counts.early += u64::from(early && self.side == Side::Client);
    }

    /// Does what is due and sets the time for the next look.
    fn act(&mut self, now: Instant, c: &mut Connection, record: &mut Record) -> Result<(), Wrong> {
        self.next = None;
        self.open_streams(now, c)?;
        self.read_streams(now, c)?;
        while let Some(act) = self.acts.last().copied() {
            let at = self.began + act.at;
            if at > now {
                self.wake(at);
                break;
            }
            self.acts.pop();
            self.perform(now, c, act, record)?;
        }
        self.check_done(now, c, record);
        Ok(())
    }

    fn wake(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    fn open_streams(&mut self, now: Instant, c: &mut Connection) -> Result<(), Wrong> {
        for dir in [Direction::Bidirectional, Direction::Unidirectional] {
            while !self.blocked[dir as usize] {
                let Some(&index) = self.unopened[dir as usize].first() else { break };
                let transfer = self.plan.transfers[index];
                let at = self.began + transfer.delay;
                if at > now {
                    self.wake(at);
                    break;
                }
                let Some(id) = c.streams().open(dir) else {
                    self.blocked[dir as usize] = true;
                    break;
                };
                self.unopened[dir as usize].remove(0);
                let mut end = StreamEnd::new(self.connection, id, &transfer, self.side);
                end.write(c.streams())?;
                self.streams.insert(id, end);
            }
        }
        Ok(())
    }

    fn read_streams(&mut self, now: Instant, c: &mut Connection) -> Result<(), Wrong> {
        let mut budget = usize::MAX;
        if let Some(rate) = self.plan.read_rate {
            if now < self.next_read {
                if self.streams.values().any(StreamEnd::wants_read) {
                    self.wake(self.next_read);
                }
                return Ok(());
            }
            budget = rate;
        }
        for stream in self.streams.values_mut().filter(|stream| stream.wants_read()) {
            if budget == 0 {
                break;
            }
            let read = stream.read(c.streams(), budget)?;
            if read > 0 {
                let before = self.last_read.replace(now).unwrap_or(now);
                self.pause = self.pause.max(now - before);
            }
            budget -= read;
            stream.write(c.streams())?;
        }
        if self.plan.read_rate.is_some() {
            self.next_read = now + READ_PERIOD;
            if self.streams.values().any(StreamEnd::wants_read) {
                self.wake(self.next_read);
            }
        }
        Ok(())
    }

    fn perform(
        &mut self,
        now: Instant,
        c: &mut Connection,
        act: Act,
        record: &mut Record,
    ) -> Result<(), Wrong> {
        if record.trace {
            eprintln!("{} {:?} {} does {act:?}", seconds(now), self.side, self.connection);
        }
        match act.what {
            What::UpdateKeys => {
                c.update_keys(now);
            }
            What::Ping => c.ping(),
            What::Rebind { index, other_host } if c.handshake().is_confirmed() => {
                self.outside = Some(nat_address(self.connection, index, other_host));
            }
            What::Rebind { .. } => self.postpone(now, act),
            What::Migrate(index) => {
                use tquic_core::connection::MigrateError::{NoConnectionId, NotConfirmed};
                let to = client_address(self.connection, index);
                match c.migrate(now, to) {
                    Ok(()) => {}
                    // Later: the other side has not said enough yet.
                    Err(NotConfirmed | NoConnectionId) => self.postpone(now, act),
                    Err(e) => return Err(format!("cannot migrate: {e}")),
                }
            }
            What::OpenPath(index) => {
                let local = client_address(self.connection, index);
                match c.open_path(now, FourTuple { local, remote: SERVER }) {
                    Ok(_) | Err(OpenPathError::Limit) => {}
                    Err(OpenPathError::NotConfirmed | OpenPathError::NoConnectionId) => {
                        self.postpone(now, act);
                    }
                    Err(e) => return Err(format!("cannot open a path: {e}")),
                }
            }
            What::AbandonPath(nth) => {
                if let Some(id) = nth_path(c, nth) {
                    // Refused if it is the only one that works.
                    let _ = c.abandon_path(now, id, TransportErrorCode::APPLICATION_ABANDON_PATH);
                }
            }
            What::Local(index, up) => {
                let local = client_address(self.connection, index);
                let addresses = FourTuple { local, remote: SERVER };
                match up {
                    true => c.on_local_up(&addresses),
                    false => c.on_local_down(now, &addresses),
                }
            }
            What::AdvisePath(nth, backup) => {
                if let Some(id) = nth_path(c, nth) {
                    let _ = c.set_path_backup(now, id, backup);
                }
            }
            What::Datagrams { count, size } => {
                for _ in 0..count {
                    self.send_datagram(c, size)?;
                }
            }
        }
        Ok(())
    }

    fn postpone(&mut self, now: Instant, act: Act) {
        let later = now + LOOK_PERIOD * 5 - self.began;
        self.acts.push(Act { at: later, ..act });
        self.acts.sort_by_key(|act| core::cmp::Reverse(act.at));
    }

    fn send_datagram(&mut self, c: &mut Connection, size: usize) -> Result<(), Wrong> {
        let number = self.datagrams_sent;
        let mut data = number.to_be_bytes().to_vec();
        data.extend_from_slice(&pattern::slice(DATAGRAM_KEY, number, size.saturating_sub(8)));
        match c.datagrams().send(Bytes::from(data)) {
            Ok(_) => {
                self.datagrams_sent += 1;
                Ok(())
            }
            Err(DatagramError::Unsupported | DatagramError::TooLarge { .. }) => Ok(()),
        }
    }

    fn read_datagrams(&mut self, c: &mut Connection, record: &mut Record) -> Result<(), Wrong> {
        while let Some(data) = c.datagrams().recv() {
            let Some((number, rest)) = data.split_first_chunk::<8>() else {
                return Err(format!("a datagram of {} bytes", data.len()));
            };
            let number = u64::from_be_bytes(*number);
            if !pattern::matches(DATAGRAM_KEY, number, rest) {
                return Err(format!("datagram {number} has wrong content"));
            }
            if !self.datagrams_seen.insert(number) {
                return Err(format!("datagram {number} came twice"));
            }
            record.counts.datagrams += 1;
        }
        Ok(())
    }

    fn check_done(&mut self, now: Instant, c: &mut Connection, record: &mut Record) {
        if !self.done {
            self.done = (self.connected || self.plan.transfers.is_empty())
                && self.acts.is_empty()
                && self.unopened.iter().all(Vec::is_empty)
                && self.expected_streams() == self.streams.len()
                && self.streams.values().all(StreamEnd::is_done);
            record.end(self.connection, self.side).done = self.done;
        }
        match self.plan.ending {
            Ending::Abort { by, at, code } if by == self.side => {
                if now < self.began + at {
                    self.wake(self.began + at);
                } else {
                    self.close(now, c, code, record);
                }
            }
            Ending::Close(by) if by == self.side && self.done => {
                if record.end(self.connection, self.side.opposite()).done {
                    self.close(now, c, 0, record);
                } else {
                    self.wake(now + LOOK_PERIOD);
                }
            }
            _ => {}
        }
    }

    fn expected_streams(&self) -> usize {
        self.plan.transfers.len()
    }

    fn close(&mut self, now: Instant, c: &mut Connection, code: u64, record: &mut Record) {
        if record.trace {
            eprintln!("{} {:?} {} closes", seconds(now), self.side, self.connection);
        }
        let end = record.end(self.connection, self.side);
        if end.closed.is_none() {
            end.closed = Some(now);
            c.close(now, code, b"done");
        }
    }
}

/// The path ID of one of the connection's paths.
fn nth_path(c: &Connection, nth: u16) -> Option<u32> {
    let paths: Vec<u32> = c.paths().map(|path| path.id).collect();
    paths.get(usize::from(nth) % paths.len().max(1)).copied()
}
