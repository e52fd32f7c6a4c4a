//! The files of a connection: a stream each.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ring::digest;
use tquic_core::events::ConnectionError;
use tquic_core::stream::{ReadError, StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_wire::{Direction, StreamId};

use super::{FileResult, Shared, Target};
use crate::Context;
use crate::hq::code;
use crate::hq::part::PartFile;
use crate::hq::pipe::Pipe;
use crate::hq::request::request_line;
use crate::pump::{Inflow, Outcome, PumpError, Sink};

/// Bytes read at a time for a reader in another thread.
const PIECE: usize = 256 * 1024;

/// Where the bytes of one stream go.
enum Body {
    /// Nothing has come. Files are made with the first byte: many small ones take turns with few
    /// open descriptors.
    Nothing,
    Flow(Inflow, Option<PartFile>),
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
}

impl Downloads {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next: 0, active: HashMap::new(), stalled: Vec::new() }
    }

    /// Whether every file is whole or has failed.
    pub fn is_done(&self) -> bool {
        self.next >= self.shared.setup.files.len() && self.active.is_empty()
    }

    pub fn on_event(&mut self, context: &mut Context<'_>, event: StreamEvent) {
        let streams = context.connection.streams();
        match event {
            StreamEvent::Readable { id } => self.take(streams, id, context.now),
            StreamEvent::Reset { id, code } => {
                let error = PumpError::Read(ReadError::Reset(code));
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
            let (file, bytes) = (download.file, download.bytes);
            let error = download.close(Some(error.to_string()), false);
            self.shared.store(file, FileResult { bytes, error, ..FileResult::default() });
        }
    }

    fn take(&mut self, streams: &mut StreamSet, id: StreamId, now: Instant) {
        let Some(download) = self.active.get_mut(&id) else { return };
        if matches!(download.body, Body::Nothing) {
            match self.shared.open_target(id, download.file) {
                Ok(body) => download.body = body,
                Err(error) => {
                    let error = PumpError::File(format!("the file cannot be made: {error}"));
                    return self.give_up(streams, id, now, error);
                }
            }
        }
        let before = download.bytes;
        let progress = download.take(streams, id);
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
        let (file, bytes, took) = (download.file, download.bytes, now - download.since);
        let digest = outcome.digest;
        let error = outcome.error.as_ref().map(explain);
        let error = error.or_else(|| self.shared.wrong_content(file, digest.as_ref()));
        let error = download.close(error, outcome.error.is_none());
        self.shared.store(file, FileResult { bytes, took, digest, error });
    }
}

impl Shared {
    fn open_target(&self, id: StreamId, file: usize) -> io::Result<Body> {
        let Some(get) = self.setup.files.get(file) else { return Ok(Body::Nothing) };
        let hash = get.sha256.is_some();
        Ok(match &get.target {
            Target::Nowhere => {
                let sink = if hash { Sink::Hash } else { Sink::Discard };
                Body::Flow(Inflow::new(id, sink, 0), None)
            }
            Target::File(path) => {
                let (part, file) = PartFile::create(path)?;
                let sink = Sink::File { file, offset: 0, hash };
                Body::Flow(Inflow::new(id, sink, 0), Some(part))
            }
            Target::Pipe(pipe) => {
                let hash = hash.then(|| digest::Context::new(&digest::SHA256));
                Body::Pipe(pipe.clone(), hash)
            }
        })
    }

    /// Says so if the content is not what was demanded.
    fn wrong_content(&self, file: usize, digest: Option<&[u8; 32]>) -> Option<String> {
        let wanted = self.setup.files.get(file)?.sha256.as_ref()?;
        let got = digest.map_or_else(|| "not known".to_owned(), |d| hex(d));
        (digest != Some(wanted))
            .then(|| format!("the content is not the expected one: its SHA-256 is {got}"))
    }
}

impl Download {
    fn take(&mut self, streams: &mut StreamSet, id: StreamId) -> Progress {
        match &mut self.body {
            Body::Nothing => Progress::Waiting,
            Body::Flow(inflow, _) => {
                let outcome = inflow.drive(streams);
                self.bytes = inflow.bytes();
                outcome.map_or(Progress::Waiting, Progress::Over)
            }
            Body::Pipe(pipe, hash) => loop {
                if !pipe.has_room() {
                    break Progress::Stalled;
                }
                let chunk = match streams.read(id, PIECE) {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break Progress::Waiting,
                    Err(error) => break over(self.bytes, None, Some(PumpError::Read(error))),
                };
                self.bytes += chunk.data.len() as u64;
                if let Some(hash) = hash {
                    hash.update(&chunk.data);
                }
                if !pipe.push(chunk.data) {
                    // Nobody will read the rest.
                    let _ = streams.stop(id, code::CANCELLED);
                    let error = PumpError::File("the output was closed".to_owned());
                    break over(self.bytes, None, Some(error));
                }
                if chunk.fin {
                    break over(self.bytes, hash.take(), None);
                }
            },
        }
    }

    /// Puts the target into its final state; answers why the file is not there.
    fn close(self, error: Option<String>, whole: bool) -> Option<String> {
        let part = match self.body {
            Body::Flow(_, part) => part,
            Body::Pipe(pipe, _) => {
                pipe.end();
                None
            }
            Body::Nothing => None,
        };
        let Some(part) = part else { return error };
        match error {
            // Closed by now: Windows renames no open files.
            None => part.finish().err().map(|e| format!("the file cannot get its name: {e}")),
            // Whole and wrong, or empty: nothing that anybody could go on from.
            Some(_) if whole || self.bytes == 0 => {
                part.discard();
                error
            }
            Some(_) => error,
        }
    }
}

fn over(bytes: u64, hash: Option<digest::Context>, error: Option<PumpError>) -> Progress {
    let digest = hash.and_then(|h| h.finish().as_ref().try_into().ok());
    Progress::Over(Outcome { bytes, digest, error, ..Outcome::default() })
}

fn explain(error: &PumpError) -> String {
    match error {
        PumpError::Read(ReadError::Reset(code)) => {
            format!("the server refused: {} (code 0x{code:x})", code::explain(*code))
        }
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
