//! The server: files of a folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tquic_core::events::Event;
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_wire::{Direction, StreamId};

use super::code;
use super::request::{BadRequest, MAX_REQUEST, parse};
use super::root::{Found, Root};
use crate::pump::{Outflow, PumpError, Source};
use crate::{
    Accepted, Application, ConnectionKey, Context, Engine, EngineError, ListenRequest, Listening,
};

/// Files up to this size, in bytes, are read at once: no descriptor stays open for them.
const SMALL_FILE: u64 = 64 * 1024;
/// How often a server that is going away looks for connections that have become idle.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Connections there are now.
    pub connections: usize,
    /// Requests read.
    pub requests: u64,
    /// Of them: sent and acknowledged whole.
    pub completed: u64,
    /// Of them: refused, or given up by either side.
    pub failed: u64,
    /// Bytes of files handed to connections.
    pub bytes: u64,
}

struct Shared {
    root: Root,
    requests: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    /// Connections and how many of their requests are not done.
    busy: Mutex<HashMap<ConnectionKey, Arc<AtomicUsize>>>,
}

impl Shared {
    fn busy(&self) -> MutexGuard<'_, HashMap<ConnectionKey, Arc<AtomicUsize>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder to serve, at whichever listener its connections come from.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

impl Service {
    /// Serves `root`.
    pub fn new(root: Root) -> Self {
        let shared = Arc::new(Shared {
            root,
            requests: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            busy: Mutex::default(),
        });
        Self { shared }
    }

    /// The application of a connection that speaks [`super::ALPN`].
    pub fn serve(&self, connection: ConnectionKey) -> Box<dyn Application> {
        Box::new(Served::new(self.shared.clone(), connection))
    }

    /// Counters.
    pub fn stats(&self) -> ServerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &*self.shared;
        ServerStats {
            connections: shared.busy().len(),
            requests: read(&shared.requests),
            completed: read(&shared.completed),
            failed: read(&shared.failed),
            bytes: read(&shared.bytes),
        }
    }

    /// Lets the connections finish what was asked for, closes them, and returns when all are gone or
    /// `patience` is over. Whether all were done in time.
    pub fn drain(&self, engine: &Engine, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let idle: Vec<ConnectionKey> = {
                let busy = self.shared.busy();
                if busy.is_empty() {
                    return true;
                }
                let idle = |(_, n): &(_, &Arc<AtomicUsize>)| n.load(Ordering::Relaxed) == 0;
                busy.iter().filter(idle).map(|(key, _)| *key).collect()
            };
            for key in idle {
                // One that has just gone by itself is what we want.
                let _ = engine.close(key, 0, b"the server is going away");
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(DRAIN_STEP);
        }
    }
}

/// A listener that serves a folder.
pub struct Server {
    engine: Arc<Engine>,
    listening: Listening,
    service: Service,
}

impl Server {
    /// Serves `root` at the request's address. The request's TLS must accept [`super::ALPN`].
    ///
    /// # Errors
    ///
    /// If the address cannot be listened at.
    pub fn start(
        engine: Arc<Engine>,
        request: &ListenRequest,
        root: Root,
    ) -> Result<Self, EngineError> {
        let service = Service::new(root);
        let made = service.clone();
        let acceptor = move |accepted: &Accepted| made.serve(accepted.key);
        let listening = engine.listen(request, Arc::new(acceptor))?;
        Ok(Self { engine, listening, service })
    }

    /// Where it listens.
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Counters.
    pub fn stats(&self) -> ServerStats {
        self.service.stats()
    }

    /// Accepts no more connections, lets those that are there finish what was asked for, closes
    /// them, and returns when all are gone or `patience` is over. Whether all were done in time.
    pub fn drain(&self, patience: Duration) -> bool {
        self.engine.unlisten(self.listening.id);
        self.service.drain(&self.engine, patience)
    }
}

/// How far a stream is.
enum Exchange {
    /// The request is not whole.
    Asking(Vec<u8>),
    /// The file is being written.
    Sending(Outflow),
    /// Everything was written; the peer does not have all of it yet.
    Written,
}

/// One connection.
struct Served {
    shared: Arc<Shared>,
    key: ConnectionKey,
    /// As many as the peer may open streams.
    exchanges: HashMap<StreamId, Exchange>,
    /// Those that are `Sending`, in the order of their requests.
    sending: Vec<StreamId>,
    busy: Arc<AtomicUsize>,
}

impl Drop for Served {
    fn drop(&mut self) {
        let unfinished = self.exchanges.len() as u64;
        self.shared.failed.fetch_add(unfinished, Ordering::Relaxed);
        self.shared.busy().remove(&self.key);
    }
}

impl Application for Served {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        let event = match event {
            Event::Stream(event) => event,
            Event::Closed(error) if error.is_clean() => return self.on_clean_end(),
            _ => return,
        };
        let streams = context.connection.streams();
        match event {
            StreamEvent::Opened { id } => self.on_opened(streams, id),
            StreamEvent::Readable { id } => self.on_readable(streams, id),
            StreamEvent::Finished { id } => self.end(id, true),
            StreamEvent::Stopped { id, .. } => self.end(id, false),
            StreamEvent::Reset { id, .. } => self.refuse(streams, id, code::CANCELLED),
            StreamEvent::Writable { .. }
            | StreamEvent::StreamsAvailable { .. }
            | StreamEvent::FinalSize { .. } => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        let streams = context.connection.streams();
        let sending = std::mem::take(&mut self.sending);
        self.sending = sending.into_iter().filter(|id| self.send(streams, *id)).collect();
    }
}

impl Served {
    fn new(shared: Arc<Shared>, key: ConnectionKey) -> Self {
        let busy = Arc::new(AtomicUsize::new(0));
        shared.busy().insert(key, busy.clone());
        Self { shared, key, exchanges: HashMap::new(), sending: Vec::new(), busy }
    }

    fn count(&self) {
        self.busy.store(self.exchanges.len(), Ordering::Relaxed);
    }

    /// A client that has everything closes at once, often before its last acknowledgement.
    fn on_clean_end(&mut self) {
        let written =
            |(id, e): (&StreamId, &Exchange)| matches!(e, Exchange::Written).then_some(*id);
        let written: Vec<StreamId> = self.exchanges.iter().filter_map(written).collect();
        written.into_iter().for_each(|id| self.end(id, true));
    }

    fn on_opened(&mut self, streams: &mut StreamSet, id: StreamId) {
        if id.direction() == Direction::Unidirectional {
            // It may be over already.
            let _ = streams.stop(id, code::UNEXPECTED_STREAM);
            return;
        }
        self.exchanges.insert(id, Exchange::Asking(Vec::new()));
        self.count();
    }

    fn on_readable(&mut self, streams: &mut StreamSet, id: StreamId) {
        let Some(Exchange::Asking(request)) = self.exchanges.get_mut(&id) else { return };
        let read = streams.read_with(id, |_, piece| {
            // One byte more than allowed shows that it is too long; the rest is thrown away.
            let room = (MAX_REQUEST + 1).saturating_sub(request.len());
            request.extend_from_slice(piece.get(..room).unwrap_or(piece));
            piece.len()
        });
        let whole = match read {
            Ok(consumed) => consumed.fin || request.len() > MAX_REQUEST,
            Err(_) => return self.refuse(streams, id, code::BAD_REQUEST),
        };
        if whole {
            let request = std::mem::take(request);
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            match self.source(&request) {
                Ok(source) => {
                    self.exchanges.insert(id, Exchange::Sending(Outflow::new(id, source, true)));
                    self.sending.push(id);
                }
                Err(code) => self.refuse(streams, id, code),
            }
        }
    }

    /// What to send, or the code to reset the stream with.
    fn source(&self, request: &[u8]) -> Result<Source, u64> {
        let parts = parse(request).map_err(|error| match error {
            BadRequest::TooLong | BadRequest::Malformed | BadRequest::Encoding => code::BAD_REQUEST,
            BadRequest::Forbidden => code::FORBIDDEN,
        })?;
        // Whether it is missing, lies outside or may not be read is nobody's business.
        let Found { file, size } = self.shared.root.find(&parts).map_err(|_| code::NOT_FOUND)?;
        if size > SMALL_FILE {
            return Ok(Source::File { file, range: 0..size });
        }
        let content = read(file, size).map_err(|_| code::FAILED)?;
        Ok(Source::Bytes(content.into()))
    }

    /// Writes what the stream takes; whether there will be more to write.
    fn send(&mut self, streams: &mut StreamSet, id: StreamId) -> bool {
        let Some(Exchange::Sending(outflow)) = self.exchanges.get_mut(&id) else { return false };
        let before = outflow.bytes();
        let outcome = outflow.drive(streams);
        self.shared.bytes.fetch_add(outflow.bytes() - before, Ordering::Relaxed);
        match outcome.map(|outcome| outcome.error) {
            None => return true,
            Some(None) => {
                self.exchanges.insert(id, Exchange::Written);
            }
            Some(Some(PumpError::File(_))) => self.refuse(streams, id, code::FAILED),
            Some(Some(_)) => self.refuse(streams, id, code::CANCELLED),
        }
        false
    }

    /// Gives an exchange up, with a code for the peer.
    fn refuse(&mut self, streams: &mut StreamSet, id: StreamId, code: u64) {
        // The stream may be over on either side already.
        let _ = streams.close(id, code);
        self.end(id, false);
    }

    fn end(&mut self, id: StreamId, whole: bool) {
        if self.exchanges.remove(&id).is_some() {
            let counter = if whole { &self.shared.completed } else { &self.shared.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            self.count();
        }
    }
}

fn read(file: File, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(size as usize);
    // A file that grows is sent as long as it was.
    file.take(size).read_to_end(&mut content)?;
    Ok(content)
}
