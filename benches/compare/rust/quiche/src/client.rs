//! Does the work.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compare_common::options::{self, Kind, Work, share};
use compare_common::pattern::{Checker, piece};
use compare_common::report::{Done, Watch, print};
use compare_common::{HEADER, Result};

use crate::endpoint::{self, Endpoint, ignore_done};
use crate::server::send_piece;
use crate::{Connection, connecting};

/// Bytes that one call reads.
const READ: usize = 1 << 16;

/// A stream of ours.
struct Flow {
    begun: Instant,
    sent: u64,
    upload: u64,
    /// All of it has been given to the connection.
    finished: bool,
    wanted: u64,
    checker: Checker,
}

/// What is left to begin.
enum Plan {
    /// Streams from `next` to `streams`, all at once.
    Bulk { download: u64, upload: u64, streams: u64, next: u64 },
    /// Exchanges, some at a time.
    Requests { left: u64, inflight: usize, response: u64 },
    /// Datagrams, then one exchange.
    Datagrams { left: u64, size: u64 },
    /// Only the connection.
    Nothing,
}

/// What uses a connection.
struct Application {
    plan: Plan,
    next_stream: u64,
    flows: HashMap<u64, Flow>,
    buffer: Vec<u8>,
    done: Done,
    error: Option<&'static str>,
}

impl Application {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            next_stream: 0,
            flows: HashMap::new(),
            buffer: vec![0; READ],
            done: Done::default(),
            error: None,
        }
    }

    fn is_over(&self) -> bool {
        let all_begun = match self.plan {
            Plan::Bulk { streams, next, .. } => next == streams,
            Plan::Requests { left, .. } => left == 0,
            Plan::Datagrams { .. } => false,
            Plan::Nothing => true,
        };
        all_begun && self.flows.is_empty()
    }

    fn begin(&mut self, connection: &mut Connection) {
        loop {
            let (wanted, upload) = match self.plan {
                Plan::Bulk { download, upload, streams, next } if next < streams => {
                    (share(download, streams, next), share(upload, streams, next))
                }
                Plan::Requests { left, inflight, response }
                    if left > 0 && self.flows.len() < inflight =>
                {
                    (response, 0)
                }
                _ => return,
            };
            if !self.open(connection, wanted, upload) {
                return;
            }
            match &mut self.plan {
                Plan::Bulk { next, .. } => *next += 1,
                Plan::Requests { left, .. } => *left -= 1,
                Plan::Datagrams { .. } | Plan::Nothing => {}
            }
        }
    }

    fn open(&mut self, connection: &mut Connection, wanted: u64, upload: u64) -> bool {
        let id = self.next_stream;
        let header = Bytes::copy_from_slice(&wanted.to_be_bytes());
        let fin = upload == 0;
        match connection.stream_send_zc(id, header, fin) {
            Ok((HEADER, _)) => {}
            Ok((0, _)) | Err(quiche::Error::Done | quiche::Error::StreamLimit) => return false,
            _ => {
                self.error = Some("a stream's header was not taken");
                return false;
            }
        }
        self.next_stream += 4;
        let (begun, checker) = (Instant::now(), Checker::default());
        let flow = Flow { begun, sent: 0, upload, finished: fin, wanted, checker };
        self.flows.insert(id, flow);
        self.write(connection, id);
        true
    }

    fn write(&mut self, connection: &mut Connection, id: u64) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        while !flow.finished {
            match send_piece(connection, id, flow.sent, flow.upload) {
                Some((0, false)) => return,
                Some((sent, over)) => {
                    flow.sent += sent;
                    flow.finished = over;
                }
                None => {
                    self.error = Some("the server has stopped a stream");
                    return;
                }
            }
        }
    }

    fn read(&mut self, connection: &mut Connection, id: u64) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        loop {
            let fin = match connection.stream_recv(id, &mut self.buffer) {
                Ok((len, fin)) => {
                    flow.checker.check(&self.buffer[..len]);
                    fin
                }
                Err(quiche::Error::Done) => return,
                Err(_) => {
                    self.error = Some("the server has reset a stream");
                    return;
                }
            };
            if fin {
                break;
            }
        }
        let Some(flow) = self.flows.remove(&id) else { return };
        if flow.checker.offset != flow.wanted {
            self.error = Some("an answer of the wrong length");
        }
        self.done.latencies.record(flow.begun.elapsed());
        self.done.bytes += flow.upload + flow.checker.offset;
        self.done.count += 1;
        self.done.mismatches += flow.checker.mismatches;
    }

    fn send_datagrams(&mut self, connection: &mut Connection) {
        let Plan::Datagrams { left, size } = &mut self.plan else { return };
        while *left > 0 && !connection.is_dgram_send_queue_full() {
            if connection.dgram_send(piece(0, *size)).is_err() {
                self.error = Some("a datagram was refused");
                return;
            }
            *left -= 1;
        }
        if *left == 0 && connection.dgram_send_queue_len() == 0 {
            // Answered when all that was sent before has left.
            self.plan = Plan::Requests { left: 1, inflight: 1, response: 1 };
        }
    }
}

impl endpoint::Application for Application {
    fn drive(&mut self, connection: &mut Connection) {
        if !connection.is_established() && !connection.is_in_early_data() {
            return;
        }
        while let Some(id) = connection.stream_readable_next() {
            self.read(connection, id);
        }
        if self.flows.values().any(|flow| !flow.finished) {
            for id in connection.writable() {
                self.write(connection, id);
            }
        }
        self.send_datagrams(connection);
        self.begin(connection);
    }
}

/// Does it and prints the report.
pub fn run(options: &options::Client) -> Result<()> {
    let mut endpoint = connecting::<Application>(options)?;
    match options.work {
        Work::Bulk { download, upload, streams } => {
            let plan = Plan::Bulk { download, upload, streams, next: 0 };
            let mut done = on_connections(&mut endpoint, options, vec![plan])?;
            // Transfers have no latencies that mean anything.
            done.0.latencies = Default::default();
            print(done.0, done.1);
        }
        Work::Requests { requests, inflight, response, connections } => {
            let inflight = usize::try_from(inflight)?;
            let plan = |index| {
                let left = share(requests, connections, index);
                Plan::Requests { left, inflight, response }
            };
            let plans = (0..connections).map(plan).collect();
            let (done, times) = on_connections(&mut endpoint, options, plans)?;
            print(done, times);
        }
        Work::Datagrams { count, size } => {
            let plan = Plan::Datagrams { left: count, size };
            let (_, times) = on_connections(&mut endpoint, options, vec![plan])?;
            print(Done { bytes: count * size, count, ..Done::default() }, times);
        }
        Work::Handshakes { count, kind } => handshakes(&mut endpoint, options, count, kind)?,
        Work::Idle { connections, seconds } => {
            let watch = Watch::start();
            for _ in 0..connections {
                connect(&mut endpoint, options)?;
            }
            print(Done { count: connections, ..Done::default() }, watch.stop());
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }
    Ok(())
}

/// Makes a connection and waits for the end of its handshake.
fn connect(endpoint: &mut Endpoint<Application>, options: &options::Client) -> Result<usize> {
    let index = endpoint.connect(options.to, None, Application::new(Plan::Nothing))?;
    wait(endpoint, index, |connection, _| connection.is_established())?;
    Ok(index)
}

/// Connects first; the time is that of the plans.
fn on_connections(
    endpoint: &mut Endpoint<Application>,
    options: &options::Client,
    plans: Vec<Plan>,
) -> Result<(Done, compare_common::report::Times)> {
    let indices: Vec<usize> =
        plans.iter().map(|_| connect(endpoint, options)).collect::<Result<_>>()?;
    let watch = Watch::start();
    for (&index, plan) in indices.iter().zip(plans) {
        if let Some(member) = endpoint.member(index) {
            member.application.plan = plan;
        }
        endpoint.touch(index);
    }
    for &index in &indices {
        wait(endpoint, index, |_, application| application.is_over())?;
    }
    let times = watch.stop();
    let mut sum = Done::default();
    for member in endpoint.members() {
        sum.add(&member.application.done);
    }
    Ok((sum, times))
}

fn wait(
    endpoint: &mut Endpoint<Application>,
    index: usize,
    is_over: impl Fn(&Connection, &Application) -> bool,
) -> Result<()> {
    loop {
        let member = endpoint.member(index).ok_or("the connection is gone")?;
        if let Some(error) = member.application.error {
            return Err(error.into());
        }
        if let Some(error) = member.connection.local_error().or(member.connection.peer_error()) {
            return Err(format!("{error:?}").into());
        }
        if is_over(&member.connection, &member.application) {
            return Ok(());
        }
        endpoint.turn(None)?;
    }
}

fn handshakes(
    endpoint: &mut Endpoint<Application>,
    options: &options::Client,
    count: u64,
    kind: Kind,
) -> Result<()> {
    let mut session = None;
    if kind.resumes() {
        let index = connect(endpoint, options)?;
        session = Some(ticket(endpoint, index)?);
        close(endpoint, index)?;
    }
    let mut done = Done::default();
    let watch = Watch::start();
    for _ in 0..count {
        let begun = Instant::now();
        let asks = matches!(kind, Kind::ZeroRtt | Kind::FirstByte);
        let plan =
            if asks { Plan::Requests { left: 1, inflight: 1, response: 1 } } else { Plan::Nothing };
        let index = endpoint.connect(options.to, session.as_deref(), Application::new(plan))?;
        wait(endpoint, index, |connection, application| {
            connection.is_established() && application.is_over()
        })?;
        done.latencies.record(begun.elapsed());
        done.count += 1;
        let member = endpoint.member(index).ok_or("the connection is gone")?;
        done.mismatches += member.application.done.mismatches;
        if kind.resumes() != member.connection.is_resumed() {
            return Err("not the kind of handshake that was wanted".into());
        }
        if kind == Kind::ZeroRtt && member.connection.early_data_reason() != EARLY_DATA_ACCEPTED {
            return Err("the server has refused early data".into());
        }
        if kind.resumes() {
            session = Some(ticket(endpoint, index)?);
        }
        close(endpoint, index)?;
    }
    print(done, watch.stop());
    Ok(())
}

/// BoringSSL's `ssl_early_data_accepted`.
const EARLY_DATA_ACCEPTED: u32 = 2;

fn ticket(endpoint: &mut Endpoint<Application>, index: usize) -> Result<Vec<u8>> {
    wait(endpoint, index, |connection, _| connection.session().is_some())?;
    let member = endpoint.member(index).ok_or("the connection is gone")?;
    Ok(member.connection.session().ok_or("no session")?.to_vec())
}

/// Says goodbye and does not wait for the other to hear it.
fn close(endpoint: &mut Endpoint<Application>, index: usize) -> Result<()> {
    if let Some(member) = endpoint.member(index) {
        member.connection.close(true, 0, b"").or_else(ignore_done)?;
    }
    endpoint.touch(index);
    endpoint.turn(None)?;
    endpoint.remove(index);
    Ok(())
}
