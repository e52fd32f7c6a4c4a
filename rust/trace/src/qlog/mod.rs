//! qlog (draft-ietf-quic-qlog-main-schema, draft-ietf-quic-qlog-quic-events): JSON text sequences
//! (RFC 7464), one for each connection. They go into files, `ODCID_client.sqlog` or
//! `ODCID_server.sqlog`, to a listener, or stay in memory: see [`Output`].

mod describe;
pub(crate) mod frames;
mod header;
mod log;
mod name;
#[cfg(target_os = "linux")]
mod netlink;
mod ring;
#[cfg(target_os = "linux")]
mod unix;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tquic_core::events::ConnectionError;
use tquic_core::path::FourTuple;
use tquic_core::time::{Instant, nanos};
use tquic_core::trace::{Event, Life, Mask, Subject, Tally};
use tquic_wire::TransportErrorCode;

pub use log::dropped;
pub use name::Severity;
#[cfg(target_os = "linux")]
pub use netlink::{FAMILY as NETLINK_FAMILY, GROUP as NETLINK_GROUP};
pub use ring::{Ring, rings};
#[cfg(target_os = "linux")]
pub use unix::default_socket;
pub use writer::flush;

use crate::json::Object;
use log::{Batch, Log, Mark, Place, Sink};
use ring::RingEnd;

/// What stands before each record; a line feed is behind it (RFC 7464 section 2.2).
const SEPARATOR: u8 = 0x1e;
/// Records are handed over when there are so many bytes, or at the end of a batch of packets.
const CHUNK: usize = 16 << 10;

/// The version of the drafts that files follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// main-schema-14 and quic-events-13: `file_schema`, `quic:packet_sent`.
    #[default]
    New,
    /// qlog 0.3 (main-schema-02 and quic-events-02), which qvis and most tools read: `qlog_version`,
    /// `transport:packet_sent`.
    Old,
}

/// Where a connection's records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into a file of their own in this folder; it is made if it is not there.
    Files(PathBuf),
    /// Nowhere: the newest stay in memory, see [`rings`]. Of a connection that fails they are written
    /// into this folder, if there is one.
    Ring(Option<PathBuf>),
    /// To whoever listens at this Unix socket (SOCK_SEQPACKET).
    #[cfg(target_os = "linux")]
    Unix(PathBuf),
    /// To whoever is in the netlink multicast group.
    #[cfg(target_os = "linux")]
    Netlink,
}

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct QlogConfig {
    /// Where to.
    pub output: Output,
    /// Kinds of events. Default: all.
    pub mask: Mask,
    /// The least important events that are written. Default: `Severity::Extra`.
    pub severity: Severity,
    /// Version of the drafts. Default: the newest.
    pub form: Form,
    /// Bytes of records of one connection that wait for the writer, more are dropped and counted; or
    /// that its ring keeps. Default 1 MiB.
    pub buffer: usize,
}

impl QlogConfig {
    /// The defaults, for files in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::to(Output::Files(folder.into()))
    }

    /// The defaults, for this output.
    pub fn to(output: Output) -> Self {
        Self {
            output,
            mask: Mask::ALL,
            severity: Severity::Extra,
            form: Form::New,
            buffer: 1 << 20,
        }
    }
}

/// The log of a connection.
pub(crate) struct Qlog {
    form: Form,
    mask: Mask,
    is_client: bool,
    began: Instant,
    /// Exponent of the peer's ACK delays.
    peer_exponent: u64,
    /// The path that the event is about.
    path: Option<u32>,
    /// Pairs of addresses in the order in which they became known.
    tuples: Vec<(u32, FourTuple)>,
    outlet: Outlet,
    marks: bool,
    /// What is not yet handed over.
    batch: Batch,
    told: u64,
    /// The handshake has begun in earnest: only then there is a log. Who sends garbage in many names
    /// must not fill a disk.
    genuine: bool,
}

/// A connection's end of where its records go.
enum Outlet {
    Log(Sink),
    Ring { end: RingEnd, dump: Option<Dump>, failed: bool },
}

/// The file for a ring.
struct Dump {
    path: PathBuf,
    subject: Subject,
}

impl Qlog {
    pub fn new(config: &QlogConfig, subject: &Subject) -> Self {
        let outlet = Outlet::new(config, subject);
        let mask = config.mask.intersection(config.severity.mask());
        let mut this = Self {
            form: config.form,
            mask,
            is_client: subject.side.is_client(),
            began: subject.began,
            peer_exponent: describe::OUR_EXPONENT,
            path: None,
            tuples: Vec::new(),
            marks: matches!(&outlet, Outlet::Log(sink) if sink.wants_marks()),
            outlet,
            batch: Batch::default(),
            told: 0,
            genuine: subject.side.is_client(),
        };
        if !subject.side.is_client() {
            this.record_of(Mask::SERVER_LISTENING, subject.began, name::SERVER_LISTENING, |data| {
                describe::address(data, &subject.addresses.local);
            });
        }
        this
    }

    /// The kinds of events that are to be told.
    pub fn mask(&self) -> Mask {
        let needed = match self.outlet {
            Outlet::Log(_) => Mask::CONNECTION_STATE_UPDATED,
            Outlet::Ring { .. } => Mask::CONNECTION_STATE_UPDATED | Mask::CONNECTION_CLOSED,
        };
        self.mask | needed
    }

    pub fn tally(&self) -> Tally {
        let lost = match &self.outlet {
            Outlet::Log(sink) => sink.dropped(),
            Outlet::Ring { end, .. } => end.overwritten(),
        };
        Tally { told: self.told, lost }
    }

    pub fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::ConnectionStateUpdated { new, .. } => self.genuine |= *new > Life::Attempted,
            Event::ConnectionClosed { error, .. } => {
                if let Outlet::Ring { failed, .. } = &mut self.outlet {
                    *failed = is_failure(error);
                }
            }
            _ => {}
        }
        self.path = event.path();
        describe::event(self, now, event);
        self.path = None;
        if self.batch.text.len() >= CHUNK {
            self.hand_over();
        }
    }

    /// Writes a record if its kind is wanted.
    fn record_of(
        &mut self,
        kind: Mask,
        now: Instant,
        name: name::Name,
        data: impl FnOnce(&mut Object<'_>),
    ) {
        if self.mask.intersects(kind) {
            self.record(kind, now, name, data);
        }
    }

    fn record(
        &mut self,
        kind: Mask,
        now: Instant,
        name: name::Name,
        data: impl FnOnce(&mut Object<'_>),
    ) {
        let time = nanos(now - self.began);
        let tuple = self.tuples.iter().rposition(|(path, _)| self.path == Some(*path));
        let batch = &mut self.batch;
        let start = batch.text.len();
        if batch.text.capacity() == 0 {
            batch.text.reserve(CHUNK + CHUNK / 4);
        }
        // The first has the name that events without a tuple mean.
        write_record(&mut batch.text, name.of(self.form), time, tuple.filter(|at| *at > 0), data);
        if batch.records == 0 {
            batch.began = time;
        }
        batch.records += 1;
        self.told += 1;
        if self.marks {
            let (len, path) = ((batch.text.len() - start) as u32, self.path.unwrap_or_default());
            batch.marks.push(Mark { len, kind: kind.0.trailing_zeros() as u8, path, time });
        }
    }

    /// Gives what was written to the writer thread or the ring, or drops it if there is no room.
    pub fn hand_over(&mut self) {
        if !self.genuine || self.batch.text.is_empty() {
            return;
        }
        match &mut self.outlet {
            Outlet::Ring { end, .. } => end.push(&mut self.batch),
            Outlet::Log(sink) => {
                if let Some(dropped) = sink.take_dropped_before(self.batch.text.len()) {
                    let mut note = note(self.form, self.batch.began, dropped, BEHIND);
                    note.append(&mut self.batch);
                    self.batch = note;
                }
                sink.push(&mut self.batch);
            }
        }
    }
}

/// Why events were dropped.
const BEHIND: &str = "whoever takes them is behind";

/// A record that says that events are missing before it.
fn note(form: Form, time: u64, dropped: u64, why: &str) -> Batch {
    let mut batch = Batch { noted: dropped, began: time, ..Batch::default() };
    write_record(&mut batch.text, name::WARNING.of(form), time, None, |data| {
        data.uint("code", dropped);
        data.text("message", &format!("{dropped} events were dropped: {why}"));
    });
    batch.marks.push(Mark { len: batch.text.len() as u32, kind: 64, path: 0, time });
    batch
}

#[inline(always)]
fn write_record(
    out: &mut Vec<u8>,
    name: &'static str,
    time: u64,
    tuple: Option<usize>,
    data: impl FnOnce(&mut Object<'_>),
) {
    out.push(SEPARATOR);
    Object::write(out, |record| {
        record.millis("time", time);
        record.word("name", name);
        if let Some(at) = tuple {
            record.text("tuple", &at.to_string());
        }
        record.object("data", data);
    });
    out.push(b'\n');
}

/// Whether a connection ended otherwise than it was to.
fn is_failure(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::LocalClose { .. } | ConnectionError::PeerClose { .. } => false,
        ConnectionError::Local(e) | ConnectionError::Peer(e) => {
            e.code != TransportErrorCode::NO_ERROR
        }
        _ => true,
    }
}

impl Outlet {
    fn new(config: &QlogConfig, subject: &Subject) -> Self {
        let (id, is_client) = (subject.original_dcid, subject.side.is_client());
        let now = SystemTime::now();
        let mut header = Vec::new();
        header::write(&mut header, config.form, subject, now);
        let place = match &config.output {
            Output::Files(folder) => Place::File(file_in(folder, subject)),
            #[cfg(target_os = "linux")]
            Output::Unix(path) => Place::Unix(path.clone()),
            #[cfg(target_os = "linux")]
            Output::Netlink => Place::Netlink,
            Output::Ring(folder) => {
                let end = RingEnd::new(id, is_client, header, config.form, config.buffer);
                let folder = folder.as_ref();
                let dump = folder.map(|f| Dump { path: file_in(f, subject), subject: *subject });
                return Self::Ring { end, dump, failed: false };
            }
        };
        let began = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(began.as_nanos()).unwrap_or(u64::MAX);
        Self::Log(Sink::new(Log::new(id, is_client, began, header, place), config.buffer))
    }
}

/// The file of a connection.
fn file_in(folder: &Path, subject: &Subject) -> PathBuf {
    let side = if subject.side.is_client() { "client" } else { "server" };
    folder.join(format!("{}_{side}.sqlog", subject.original_dcid))
}

impl Dump {
    fn write(&self, text: String) {
        let Subject { original_dcid, side, .. } = self.subject;
        let place = Place::File(self.path.clone());
        let log = Log::new(original_dcid, side.is_client(), 0, Vec::new(), place);
        let mut all = Batch { text: text.into(), ..Batch::default() };
        // What a ring held is little enough.
        Sink::new(log, usize::MAX).close(&mut all, |_| Batch::default());
    }
}

impl Drop for Qlog {
    fn drop(&mut self) {
        if !self.genuine {
            return;
        }
        self.hand_over();
        let (form, batch) = (self.form, &mut self.batch);
        match &mut self.outlet {
            Outlet::Ring { end, dump, failed } => {
                let text = end.close(batch, *failed);
                if let (Some(text), Some(dump)) = (text, dump) {
                    dump.write(text);
                }
            }
            Outlet::Log(sink) => {
                let time = batch.began;
                sink.close(batch, |dropped| note(form, time, dropped, BEHIND));
            }
        }
    }
}
