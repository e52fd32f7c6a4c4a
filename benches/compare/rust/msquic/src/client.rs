//! Does the work.

use std::ffi::c_void;
use std::ptr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use compare_common::options::{self, Kind, SERVER_NAME, Work, share};
use compare_common::pattern::{Checker, piece};
use compare_common::report::{Done, Watch, print};
use compare_common::{HEADER, Result};
use msquic::ffi;
use msquic::{
    Addr, Api, BufferRef, Configuration, Connection, ConnectionEvent, ConnectionRef,
    DatagramSendState, Registration, SendFlags, Status, Stream, StreamEvent, StreamOpenFlags,
};

use crate::stream::Outflow;
use crate::{client_configuration, explain, registration};

/// What callbacks tell the main thread.
enum News {
    Connected {
        resumed: bool,
    },
    Ticket(Vec<u8>),
    /// A datagram has left.
    DatagramSent,
    /// All exchanges are done.
    Over,
    Failed(String),
}

/// What streams share.
struct Shared {
    /// Exchanges still to begin.
    left: u64,
    /// Those that run.
    open: u64,
    response: u64,
    done: Done,
}

#[derive(Clone)]
struct Context {
    shared: Arc<Mutex<Shared>>,
    news: Sender<News>,
}

impl Context {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str) {
        // The main thread waits, unless it has failed before.
        let _ = self.news.send(News::Failed(what.to_owned()));
    }
}

struct Client<'a> {
    registration: &'a Registration,
    configuration: Configuration,
    options: &'a options::Client,
}

/// A connection whose handshake is done.
struct Connected {
    connection: Connection,
    context: Context,
    news: Receiver<News>,
    resumed: bool,
}

pub fn run(options: &options::Client) -> Result<()> {
    let registration = registration()?;
    let configuration = client_configuration(&registration, options)?;
    let client = Client { registration: &registration, configuration, options };
    match options.work {
        Work::Bulk { download, upload, streams } => {
            let connected = client.connect(None)?;
            let watch = Watch::start();
            connected.context.lock().open = streams;
            for index in 0..streams {
                let up = share(upload, streams, index);
                begin(
                    &connected.connection,
                    &connected.context,
                    share(download, streams, index),
                    up,
                )
                .map_err(explain)?;
            }
            let mut done = connected.wait()?;
            done.latencies = Default::default();
            print(done, watch.stop());
        }
        Work::Requests { requests, inflight, response, connections: 1 } => {
            let connected = client.connect(None)?;
            let watch = Watch::start();
            let done = connected.exchanges(requests, inflight, response)?;
            print(done, watch.stop());
        }
        Work::Datagrams { count, size } => {
            let connected = client.connect(None)?;
            let watch = Watch::start();
            connected.datagrams(count, size)?;
            connected.exchanges(1, 1, 1)?;
            print(Done { bytes: count * size, count, ..Done::default() }, watch.stop());
        }
        Work::Handshakes { count, kind } => handshakes(&client, count, kind)?,
        Work::Requests { .. } | Work::Idle { .. } => {
            return Err("this driver gives every connection a socket of its own".into());
        }
    }
    // SAFETY: ends the process without running what was registered for its end, which would wait
    // for handles that are still open.
    unsafe { libc::_exit(0) }
}

impl Client<'_> {
    fn connect(&self, ticket: Option<&[u8]>) -> Result<Connected> {
        let (sender, news) = channel();
        let shared = Shared { left: 0, open: 0, response: 0, done: Done::default() };
        let context = Context { shared: Arc::new(Mutex::new(shared)), news: sender };
        let told = context.clone();
        let connection = Connection::open(self.registration, move |_: ConnectionRef, event| {
            on_connection(&told, &event);
            Ok(())
        })
        .map_err(explain)?;
        let address = Addr::from(self.options.to);
        set(
            &connection,
            ffi::QUIC_PARAM_CONN_REMOTE_ADDRESS,
            &raw const address,
            size_of::<Addr>(),
        )?;
        if let Some(ticket) = ticket {
            let param = ffi::QUIC_PARAM_CONN_RESUMPTION_TICKET;
            set(&connection, param, ticket.as_ptr(), ticket.len())?;
        }
        let port = self.options.to.port();
        connection.start(&self.configuration, SERVER_NAME, port).map_err(explain)?;
        let mut connected = Connected { connection, context, news, resumed: false };
        connected.resumed = loop {
            match connected.news.recv()? {
                News::Connected { resumed } => break resumed,
                News::Failed(why) => return Err(why.into()),
                _ => {}
            }
        };
        Ok(connected)
    }
}

fn set<T>(connection: &Connection, param: u32, value: *const T, length: usize) -> Result<()> {
    // SAFETY: the value lives through the call, and callers give what the parameter takes.
    unsafe { Api::set_param(connection.as_raw(), param, length as u32, value.cast::<c_void>()) }
        .map_err(explain)
}

impl Connected {
    /// Waits until all streams are done.
    fn wait(&self) -> Result<Done> {
        loop {
            match self.news.recv()? {
                News::Over => return Ok(std::mem::take(&mut self.context.lock().done)),
                News::Failed(why) => return Err(why.into()),
                _ => {}
            }
        }
    }

    fn exchanges(&self, requests: u64, inflight: u64, response: u64) -> Result<Done> {
        let first = requests.min(inflight);
        {
            let mut shared = self.context.lock();
            (shared.left, shared.open, shared.response) = (requests - first, first, response);
        }
        for _ in 0..first {
            begin(&self.connection, &self.context, response, 0).map_err(explain)?;
        }
        self.wait()
    }

    fn datagrams(&self, count: u64, size: u64) -> Result<()> {
        /// Datagrams that wait for being sent.
        const WAITING: u64 = 1024;
        // One for all: it must live until the last is sent.
        let data: &'static BufferRef = Box::leak(Box::new(BufferRef::from(piece(0, size))));
        let (mut begun, mut sent) = (0, 0);
        while sent < count {
            while begun < count && begun - sent < WAITING {
                let data = std::slice::from_ref(data);
                // SAFETY: data and descriptor are static.
                unsafe { self.connection.datagram_send(data, SendFlags::NONE, ptr::null()) }
                    .map_err(explain)?;
                begun += 1;
            }
            match self.news.recv()? {
                News::DatagramSent => sent += 1,
                News::Failed(why) => return Err(why.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn ticket(&self) -> Result<Vec<u8>> {
        loop {
            match self.news.recv()? {
                News::Ticket(ticket) => return Ok(ticket),
                News::Failed(why) => return Err(why.into()),
                _ => {}
            }
        }
    }
}

fn on_connection(context: &Context, event: &ConnectionEvent) {
    let news = match event {
        ConnectionEvent::Connected { session_resumed, .. } => {
            News::Connected { resumed: *session_resumed }
        }
        ConnectionEvent::ResumptionTicketReceived { resumption_ticket } => {
            News::Ticket(resumption_ticket.to_vec())
        }
        ConnectionEvent::DatagramSendStateChanged { state: DatagramSendState::Sent, .. } => {
            News::DatagramSent
        }
        ConnectionEvent::ShutdownInitiatedByTransport { status, .. } => {
            News::Failed(status.to_string())
        }
        ConnectionEvent::ShutdownInitiatedByPeer { error_code } => {
            News::Failed(format!("closed by the server: {error_code}"))
        }
        _ => return,
    };
    // Nobody listens once the work is done.
    let _ = context.news.send(news);
}

/// Opens a stream that asks for `wanted` bytes and sends `upload`.
fn begin(
    connection: &Connection,
    context: &Context,
    wanted: u64,
    upload: u64,
) -> std::result::Result<(), Status> {
    let header: Box<[u8; HEADER]> = Box::new(wanted.to_be_bytes());
    let first = Box::new(BufferRef::from(&header[..]));
    let first_pointer: *const BufferRef = &raw const *first;
    let context = context.clone();
    // SAFETY: the connection outlives its streams, see `run`.
    let handle = unsafe { connection.as_raw() } as usize;
    let begun = Instant::now();
    let mut checker = Checker::default();
    // The header's completion comes first.
    let mut completed = 0_u64;
    let mut flow = (upload > 0).then(|| Outflow::new(upload));
    let stream = Stream::open(connection, StreamOpenFlags::NONE, move |stream, event| {
        // They live as long as this callback.
        let _kept = (&header, &first);
        match event {
            StreamEvent::StartComplete { .. } => {
                if let Some(flow) = &mut flow {
                    flow.drive(&stream)?;
                }
            }
            StreamEvent::Receive { buffers, .. } => {
                buffers.iter().for_each(|buffer| checker.check(buffer.as_bytes()));
            }
            StreamEvent::SendComplete { cancelled: false, .. } => {
                completed += 1;
                if let Some(flow) = flow.as_mut().filter(|_| completed > 1) {
                    flow.completed();
                    if flow.has_more() {
                        flow.drive(&stream)?;
                    }
                }
            }
            StreamEvent::PeerSendShutdown => {
                if checker.offset != wanted {
                    context.failed("an answer of the wrong length");
                }
                finished(&context, handle, begun, upload, checker)?;
            }
            StreamEvent::PeerSendAborted { .. } => context.failed("a stream was reset"),
            StreamEvent::ShutdownComplete { .. } => {
                // SAFETY: given away below; this closes it.
                drop(unsafe { Stream::from_raw(stream.as_raw()) });
            }
            _ => {}
        }
        Ok(())
    })?;
    // Starting with the header: what the callback sends at the start comes behind it.
    let fin = if upload == 0 { SendFlags::FIN } else { SendFlags::NONE };
    let flags = SendFlags::START | fin;
    // SAFETY: header and descriptor lie in boxes that the callback owns.
    unsafe { stream.send(std::slice::from_ref(&*first_pointer), flags, ptr::null()) }?;
    // SAFETY: the callback closes it.
    unsafe { stream.into_raw() };
    Ok(())
}

/// Puts an exchange down and begins the next.
fn finished(
    context: &Context,
    connection: usize,
    begun: Instant,
    upload: u64,
    checker: Checker,
) -> std::result::Result<(), Status> {
    let mut shared = context.lock();
    shared.done.latencies.record(begun.elapsed());
    shared.done.bytes += upload + checker.offset;
    shared.done.count += 1;
    shared.done.mismatches += checker.mismatches;
    if shared.left == 0 {
        shared.open -= 1;
        if shared.open == 0 {
            // The main thread waits for this.
            let _ = context.news.send(News::Over);
        }
        return Ok(());
    }
    shared.left -= 1;
    let response = shared.response;
    drop(shared);
    // SAFETY: the connection lives, we are in its callback; it is not closed here.
    let borrowed = unsafe { Connection::from_raw(connection as ffi::HQUIC) };
    let result = begin(&borrowed, context, response, 0);
    // SAFETY: gives the handle back.
    unsafe { borrowed.into_raw() };
    result
}

fn handshakes(client: &Client<'_>, count: u64, kind: Kind) -> Result<()> {
    if kind == Kind::ZeroRtt {
        return Err("msquic does not tell whether early data was accepted".into());
    }
    let mut ticket = None;
    // Closing waits for milliseconds: they stay open, shut down, until the process ends.
    let mut before = Vec::new();
    if kind.resumes() {
        let connected = client.connect(None)?;
        ticket = Some(connected.ticket()?);
        before.push(connected);
    }
    let mut done = Done::default();
    let watch = Watch::start();
    for _ in 0..count {
        let begun = Instant::now();
        let connected = client.connect(ticket.as_deref())?;
        if kind == Kind::FirstByte {
            done.mismatches += connected.exchanges(1, 1, 1)?.mismatches;
        }
        done.latencies.record(begun.elapsed());
        done.count += 1;
        if connected.resumed != kind.resumes() {
            return Err("not the kind of handshake that was wanted".into());
        }
        if kind.resumes() {
            ticket = Some(connected.ticket()?);
        }
        connected.connection.shutdown(msquic::ConnectionShutdownFlags::NONE, 0);
        before.push(connected);
    }
    print(done, watch.stop());
    // The worker has the last one's end still to send.
    std::thread::sleep(Duration::from_millis(50));
    // Their handles are the process's.
    std::mem::forget(before);
    Ok(())
}
