//! The files of a connection: a stream each.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ring::digest;
use tquic_core::events::ConnectionError;
use tquic_core::stream::{ReadError, StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_wire::{Direction, StreamId};

use super::store::{End, Store, wrong_content};
use super::{Ending, FileResult, Shared, Target};
use crate::Context;
use crate::hq::code;
use crate::hq::pipe::Pipe;
use crate::hq::request::request_line;
use crate::pump::{FileError, Inflow, Outcome, PumpError, Sink};

/// Bytes read at a time for a reader in another thread.
const PIECE: usize = 256 * 1024;

/// Where the bytes of one stream go.
enum Body {
    /// Nothing has come.
    Nothing,
    Discard(Inflow),
    /// To the thread that writes and hashes.
    Store,
    Pipe(Arc<Pipe>, Option<digest::Context>),
}

struct Download {
    file: usize,
    since: Instant,
    bytes: u64,
    body: Body,
}

/// How driving a download went.
enum Progress {
    Waiting,
    /// The reader does not keep up.
    Stalled,
    Over(Outcome),
}

/// See the module.
pub(super) struct Downloads {
    shared: Arc<Shared>,
    /// The first file that was not asked for.
    next: usize,
    active: HashMap<StreamId, Download>,
    /// Streams whose readers do not keep up.
    stalled: Vec<StreamId>,
    /// There once a file has to be written or hashed.
    store: Option<Store>,
}

impl Downloads {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next: 0, active: HashMap::new(), stalled: Vec::new(), store: None }
    }

    /// Whether every file is whole or has failed.
    pub fn is_done(&self) -> bool {
        self.next >= self.shared.setup.files.len() && self.active.is_empty() && !self.is_storing()
    }

    /// Whether files that have come are not on the disk yet.
    pub fn is_storing(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_busy)
    }

    pub fn on_event(&mut self, context: &mut Context<'_>, event: StreamEvent) {
        let streams = context.connection.streams();
        match event {
            StreamEvent::Readable { id } => self.take(streams, id, context.now),
            StreamEvent::Reset { id, code } => {
                let error = PumpError::Read(ReadError::Reset { code, reliable_size: 0 });
                self.give_up(streams, id, context.now, error);
            }
            StreamEvent::Opened { id } => {
                // Servers have no reason to open streams. It may be over already.
                let _ = streams.close(id, code::UNEXPECTED_STREAM);
            }
            _ => {}
        }
    }

    /// Asks for more files; answers whether some reader does not keep up.
    pub fn drive(&mut self, context: &mut Context<'_>) -> bool {
        let now = context.now;
        let streams = context.connection.streams();
        for id in std::mem::take(&mut self.stalled) {
            self.take(streams, id, now);
        }
        while self.active.len() < self.shared.setup.parallel {
            let Some(get) = self.shared.setup.files.get(self.next) else { break };
            let Some(id) = streams.open(Direction::Bidirectional) else { break };
            let line = Bytes::from(request_line(&get.path));
            let asked = streams.write(id, line).and_then(|()| streams.finish(id));
            let file = self.next;
            self.next += 1;
            match asked {
                Ok(()) => {
                    let download = Download { file, since: now, bytes: 0, body: Body::Nothing };
                    self.active.insert(id, download);
                }
                Err(error) => {
                    let error = Some(format!("the request cannot be sent: {error}"));
                    self.shared.store(file, FileResult { error, ..FileResult::default() });
                }
            }
        }
        !self.stalled.is_empty()
    }

    /// The connection is over: what is under way fails.
    pub fn abandon(&mut self, error: &ConnectionError) {
        for (_, download) in self.active.drain() {
            let end =
                End { took: Duration::ZERO, bytes: download.bytes, error: Some(error.to_string()) };
            close(&self.shared, self.store.as_ref(), download, end, None);
        }
    }

    /// Nothing more will come: the fetch is over as soon as its files are on the disk.
    pub fn finish(&self, ending: Option<Ending>, why: &str) {
        match &self.store {
            Some(store) => store.finish(&self.shared, ending, why),
            None => self.shared.finish(ending, why),
        }
    }

    fn take(&mut self, streams: &mut StreamSet, id: StreamId, now: Instant) {
        let Some(download) = self.active.get_mut(&id) else { return };
        if matches!(download.body, Body::Nothing) {
            match open(&self.shared, &mut self.store, id, download.file) {
                Ok(body) => download.body = body,
                Err(error) => {
                    let error = PumpError::File(FileError::new("no thread can be made", &error));
                    return self.give_up(streams, id, now, error);
                }
            }
        }
        let before = download.bytes;
        let progress = download.take(streams, id, self.store.as_ref());
        self.shared.bytes.fetch_add(download.bytes - before, Ordering::Relaxed);
        match progress {
            Progress::Waiting => {}
            Progress::Stalled => self.stalled.push(id),
            Progress::Over(outcome) => self.end(id, now, &outcome),
        }
    }

    fn give_up(&mut self, streams: &mut StreamSet, id: StreamId, now: Instant, error: PumpError) {
        // The stream may be over already.
        let _ = streams.close(id, code::CANCELLED);
        self.end(id, now, &Outcome { error: Some(error), ..Outcome::default() });
    }

    fn end(&mut self, id: StreamId, now: Instant, outcome: &Outcome) {
        let Some(download) = self.active.remove(&id) else { return };
        let end = End {
            took: now - download.since,
            bytes: download.bytes,
            error: outcome.error.as_ref().map(explain),
        };
        close(&self.shared, self.store.as_ref(), download, end, outcome.digest);
    }
}

fn open(
    shared: &Arc<Shared>,
    store: &mut Option<Store>,
    id: StreamId,
    file: usize,
) -> io::Result<Body> {
    let Some(get) = shared.setup.files.get(file) else { return Ok(Body::Nothing) };
    let hash = get.sha256.is_some();
    Ok(match &get.target {
        Target::Nowhere if !hash => Body::Discard(Inflow::new(id, Sink::Discard, 0)),
        Target::Nowhere | Target::File(_) => {
            if store.is_none() {
                *store = Some(Store::start(shared.clone())?);
            }
            Body::Store
        }
        Target::Pipe(pipe) => {
            let hash = hash.then(|| digest::Context::new(&digest::SHA256));
            Body::Pipe(pipe.clone(), hash)
        }
    })
}

impl Download {
    fn take(&mut self, streams: &mut StreamSet, id: StreamId, store: Option<&Store>) -> Progress {
        match &mut self.body {
            Body::Nothing => Progress::Waiting,
            Body::Discard(inflow) => {
                let outcome = inflow.drive(streams);
                self.bytes = inflow.bytes();
                outcome.map_or(Progress::Waiting, Progress::Over)
            }
            Body::Store => {
                let Some(store) = store else { return Progress::Waiting };
                let file = self.file;
                pull(streams, id, &mut self.bytes, |bytes| match bytes {
                    None => Ok(store.has_room()),
                    Some(bytes) => store.piece(file, bytes).map(|()| true),
                })
            }
            Body::Pipe(pipe, hash) => {
                let progress = pull(streams, id, &mut self.bytes, |bytes| match bytes {
                    None => Ok(pipe.has_room()),
                    Some(bytes) => {
                        if let Some(hash) = hash {
                            hash.update(&bytes);
                        }
                        let taken = pipe.push(bytes);
                        if taken { Ok(true) } else { Err("the output was closed".to_owned()) }
                    }
                });
                match progress {
                    Progress::Over(outcome) => {
                        let digest = hash.take().filter(|_| outcome.error.is_none());
                        let digest = digest.and_then(|h| h.finish().as_ref().try_into().ok());
                        Progress::Over(Outcome { digest, ..outcome })
                    }
                    other => other,
                }
            }
        }
    }
}

/// Hands what has arrived to `taker`, which is asked first, with nothing, whether it has room.
fn pull(
    streams: &mut StreamSet,
    id: StreamId,
    count: &mut u64,
    mut taker: impl FnMut(Option<Bytes>) -> Result<bool, String>,
) -> Progress {
    let over = |bytes, error| Progress::Over(Outcome { bytes, error, ..Outcome::default() });
    loop {
        if !taker(None).unwrap_or(true) {
            return Progress::Stalled;
        }
        let chunk = match streams.read(id, PIECE) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Progress::Waiting,
            Err(error) => return over(*count, Some(PumpError::Read(error))),
        };
        *count += chunk.data.len() as u64;
        if let Err(why) = taker(Some(chunk.data)) {
            // Nobody will read the rest.
            let _ = streams.stop(id, code::CANCELLED);
            return over(*count, Some(PumpError::File(why.into())));
        }
        if chunk.fin {
            return over(*count, None);
        }
    }
}

/// The stream is over: its result, now or when it is on the disk.
fn close(
    shared: &Shared,
    store: Option<&Store>,
    download: Download,
    end: End,
    digest: Option<[u8; 32]>,
) {
    let Download { file, body, .. } = download;
    if let (Body::Store, Some(store)) = (&body, store) {
        return store.end(file, end);
    }
    if let Body::Pipe(pipe, _) = body {
        pipe.end();
    }
    let End { took, bytes, error } = end;
    let wanted = shared.setup.files.get(file).and_then(|get| get.sha256.as_ref());
    let error = error.or_else(|| wrong_content(wanted, digest.as_ref()));
    shared.store(file, FileResult { bytes, took, digest, error });
}

fn explain(error: &PumpError) -> String {
    match error {
        PumpError::Read(ReadError::Reset { code, .. }) => {
            format!("the server refused: {} (code 0x{code:x})", code::explain(*code))
        }
        other => other.to_string(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
