//! The client: many files over one connection, in parallel.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tquic_core::Connection;
use tquic_core::events::ConnectionError;
use tquic_core::handshake::ZeroRtt;
use tquic_crypto::{Suite, TicketStore};

use super::pipe::Pipe;
use crate::stats::ConnectionSnapshot;
use crate::{ConnectRequest, ConnectionKey, Engine, EngineError};

mod attempt;
mod download;
mod store;

use attempt::Attempt;

/// Where a file goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nowhere.
    Nowhere,
    /// Into a file, which has its name only when it is whole: `NAME.part` before.
    File(PathBuf),
    /// To a reader in another thread.
    Pipe(Arc<Pipe>),
}

/// One file to get.
#[derive(Clone, Debug)]
pub struct Get {
    /// The path of the URL, percent-encoded as it stands there.
    pub path: String,
    /// Where it goes.
    pub target: Target,
    /// What its SHA-256 must be. A file that is something else is thrown away.
    pub sha256: Option<[u8; 32]>,
    /// What the partial file is a part of, to be known again by: its attribute `user.tquic.origin`,
    /// where the system has such.
    pub origin: Option<String>,
}

/// What to fetch, and how.
#[derive(Clone)]
pub struct FetchSetup {
    /// How to connect, but for the address.
    pub request: ConnectRequest,
    /// Addresses of the server, best first: the next is tried when the one before fails, or has
    /// not answered for 300 ms.
    pub addresses: Vec<SocketAddr>,
    /// The files.
    pub files: Vec<Get>,
    /// Files under way at a time at most; the server may allow fewer.
    pub parallel: usize,
    /// Update the packet keys once, as soon as that is allowed.
    pub update_keys: bool,
    /// Stay at the end until the server has given a session ticket, for at most a second.
    pub await_ticket: Option<TicketStore>,
}

/// How a file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileResult {
    /// Bytes received.
    pub bytes: u64,
    /// From the request to the last byte.
    pub took: Duration,
    /// SHA-256 of what came, if one was demanded.
    pub digest: Option<[u8; 32]>,
    /// Why it is not whole, or could not be stored.
    pub error: Option<String>,
}

/// How the connection ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What closed it; closed by us with code 0 if all is well.
    pub error: ConnectionError,
    /// The server's address.
    pub remote: SocketAddr,
    /// Counters at the end; of an attempt that failed, too.
    pub snapshot: ConnectionSnapshot,
    /// From the beginning to the end of the handshake.
    pub handshake: Option<Duration>,
    /// What was negotiated, and how far early data came.
    pub session: SessionFacts,
}

/// What TLS says about a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// Name of the cipher suite.
    pub cipher: Option<&'static str>,
    /// A session was resumed.
    pub resumed: bool,
    /// Early data was accepted.
    pub early: bool,
    /// The QUIC version.
    pub version: u32,
}

impl SessionFacts {
    fn of(connection: &Connection) -> Self {
        let handshake = connection.handshake();
        Self {
            cipher: handshake.suite().map(Suite::name),
            resumed: handshake.agreed().is_some_and(|a| a.resumed),
            early: handshake.zero_rtt() == ZeroRtt::Accepted,
            version: connection.version().0,
        }
    }
}

/// What both the fetch and its attempts know.
#[derive(Default)]
struct State {
    /// The attempt whose connection is used.
    winner: Option<(usize, ConnectionKey)>,
    keys: Vec<ConnectionKey>,
    /// Attempts that were begun.
    begun: usize,
    /// Of them: over.
    failed: usize,
    results: Vec<Option<FileResult>>,
    ending: Option<Ending>,
    /// Told to stop.
    cancelled: bool,
    /// Nothing will change any more.
    over: bool,
}

struct Shared {
    setup: FetchSetup,
    bytes: AtomicU64,
    done: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, file: usize, result: FileResult) {
        let mut state = self.lock();
        if let Some(slot @ None) = state.results.get_mut(file) {
            *slot = Some(result);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing more will come: files without a result get `why`.
    fn finish(&self, mut ending: Option<Ending>, why: &str) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        state.over = true;
        state.ending = ending.take().or(state.ending.take());
        for slot in &mut state.results {
            slot.get_or_insert_with(|| FileResult {
                error: Some(why.to_owned()),
                ..FileResult::default()
            });
        }
        drop(state);
        for get in &self.setup.files {
            if let Target::Pipe(pipe) = &get.target {
                pipe.end();
            }
        }
        self.changed.notify_all();
    }
}

/// A fetch under way.
#[derive(Clone)]
pub struct Fetch {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
}

impl Fetch {
    /// Begins to fetch.
    ///
    /// # Errors
    ///
    /// If there is nothing to connect to, or the engine takes no more connections.
    pub fn start(engine: Arc<Engine>, setup: FetchSetup) -> Result<Self, EngineError> {
        let Some(&first) = setup.addresses.first() else {
            return Err(EngineError::Refused("there is no address to connect to".to_owned()));
        };
        let request = ConnectRequest { remote: first, ..setup.request.clone() };
        let results = vec![None; setup.files.len()];
        let shared = Arc::new(Shared {
            setup,
            bytes: AtomicU64::new(0),
            done: AtomicU64::new(0),
            state: Mutex::new(State { results, begun: 1, ..State::default() }),
            changed: Condvar::new(),
        });
        engine.connect(request, Box::new(Attempt::new(shared.clone(), 0, first)))?;
        Ok(Self { engine, shared })
    }

    /// Waits until everything is over: every file whole or failed, and the connection closed.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while !state.over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Bytes received so far, and files that are whole or failed.
    pub fn progress(&self) -> (u64, u64) {
        let Shared { bytes, done, .. } = &*self.shared;
        (bytes.load(Ordering::Relaxed), done.load(Ordering::Relaxed))
    }

    /// Gives up: partial files stay as they are.
    pub fn cancel(&self) {
        let keys = {
            let mut state = self.shared.lock();
            state.cancelled = true;
            state.keys.clone()
        };
        for key in keys {
            // One that has just gone needs no closing.
            let _ = self.engine.close(key, 0, b"");
        }
    }

    /// The connection in use, once there is one.
    pub fn connection(&self) -> Option<ConnectionKey> {
        self.shared.lock().winner.map(|(_, key)| key)
    }

    /// Results in the order of the files; `None` for those under way.
    pub fn results(&self) -> Vec<Option<FileResult>> {
        self.shared.lock().results.clone()
    }

    /// How the connection ended, when it has.
    pub fn ending(&self) -> Option<Ending> {
        self.shared.lock().ending.clone()
    }
}
