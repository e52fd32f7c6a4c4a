//! qlog (draft-ietf-quic-qlog-main-schema, draft-ietf-quic-qlog-quic-events): one file for each
//! connection, JSON text sequences (RFC 7464), `ODCID_client.sqlog` or `ODCID_server.sqlog`.

mod describe;
pub(crate) mod frames;
mod header;
mod name;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::SystemTime;

use tquic_core::path::FourTuple;
use tquic_core::time::{Instant, nanos};
use tquic_core::trace::{Event, Life, Mask, Subject};

pub use name::Severity;
pub use writer::flush;

use crate::json::Object;
use writer::Sink;

/// Records are handed to the writer thread when there are so many bytes, or at the end.
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

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct QlogConfig {
    /// The folder for the files; it is made if it is not there.
    pub folder: PathBuf,
    /// Kinds of events. Default: all.
    pub mask: Mask,
    /// The least important events that are written. Default: `Severity::Extra`.
    pub severity: Severity,
    /// Version of the drafts. Default: the newest.
    pub form: Form,
    /// Bytes of records of one connection that wait for the writer; more are dropped and counted.
    /// Default 1 MiB.
    pub buffer: usize,
}

impl QlogConfig {
    /// The defaults, for files in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            mask: Mask::ALL,
            severity: Severity::Extra,
            form: Form::New,
            buffer: 1 << 20,
        }
    }
}

/// The qlog file of a connection.
pub(crate) struct Qlog {
    form: Form,
    mask: Mask,
    is_client: bool,
    began: Instant,
    /// The time of the last event.
    last: Instant,
    /// Exponent of the peer's ACK delays.
    peer_exponent: u64,
    /// The path that the event is about.
    path: Option<u32>,
    /// Pairs of addresses in the order in which they became known.
    tuples: Vec<(u32, FourTuple)>,
    sink: Sink,
    /// What is not yet with the sink.
    text: String,
    /// The handshake has begun in earnest: only then there is a file. Who sends garbage in many names
    /// must not fill a disk.
    genuine: bool,
}

impl Qlog {
    pub fn new(config: &QlogConfig, subject: &Subject) -> Self {
        let side = if subject.side.is_client() { "client" } else { "server" };
        let name = format!("{}_{side}.sqlog", subject.original_dcid);
        let mut text = String::new();
        header::write(&mut text, config.form, subject, SystemTime::now());
        let mask = config.mask.intersection(config.severity.mask());
        let mut this = Self {
            form: config.form,
            mask,
            is_client: subject.side.is_client(),
            began: subject.began,
            last: subject.began,
            peer_exponent: describe::OUR_EXPONENT,
            path: None,
            tuples: Vec::new(),
            sink: Sink::new(config.folder.join(name), config.buffer),
            text,
            genuine: subject.side.is_client(),
        };
        if !subject.side.is_client() && mask.intersects(Mask::SERVER_LISTENING) {
            this.record(subject.began, name::SERVER_LISTENING, |data| {
                describe::address(data, &subject.addresses.local);
            });
        }
        this
    }

    /// The kinds of events that are to be told.
    pub fn mask(&self) -> Mask {
        self.mask | Mask::CONNECTION_STATE_UPDATED
    }

    pub fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        if let Event::ConnectionStateUpdated { new, .. } = event {
            self.genuine |= *new > Life::Attempted;
        }
        self.last = now;
        self.path = event.path();
        describe::event(self, now, event);
        self.path = None;
        if self.text.len() >= CHUNK {
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
            self.record(now, name, data);
        }
    }

    fn record(&mut self, now: Instant, name: name::Name, data: impl FnOnce(&mut Object<'_>)) {
        let (form, time) = (self.form, nanos(now - self.began));
        // RFC 7464: a record separator before, a line feed behind.
        self.text.push('\u{1e}');
        let tuple = self.tuples.iter().rposition(|(path, _)| self.path == Some(*path));
        Object::write(&mut self.text, |record| {
            record.millis("time", time);
            record.text("name", name.of(form));
            // The first has the name that events without a tuple mean.
            if let Some(at) = tuple.filter(|at| *at > 0) {
                record.text("tuple", &at.to_string());
            }
            record.object("data", data);
        });
        self.text.push('\n');
    }

    /// Gives what was written to the writer thread, or drops it if that is too far behind.
    fn hand_over(&mut self) {
        if !self.genuine {
            return;
        }
        if let Some(dropped) = self.sink.take_dropped_before(self.text.len()) {
            let text = std::mem::take(&mut self.text);
            let message = format!("{dropped} events were dropped: the writer is behind");
            self.record(self.last, name::WARNING, |data| {
                data.uint("code", dropped);
                data.text("message", &message);
            });
            self.text.push_str(&text);
        }
        self.sink.push(&mut self.text);
    }
}

impl Drop for Qlog {
    fn drop(&mut self) {
        if self.genuine {
            self.hand_over();
            self.sink.close(&mut self.text);
        }
    }
}
