//! Files on their way to the disk: written and hashed by a thread of their own, so that neither a
//! slow disk nor SHA-256, which costs as much as all of QUIC, holds up the packets.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ring::digest;

use super::download::hex;
use super::{Ending, FileResult, Get, Shared, Target};
use crate::hq::part::PartFile;
use crate::pump::write_at;

/// Bytes that wait for the thread at most, give or take one piece; beyond, the peer has to wait.
const CAPACITY: usize = 4 << 20;

/// How the stream of a file ended.
pub(super) struct End {
    /// From the request to the last byte.
    pub took: Duration,
    /// Bytes that came.
    pub bytes: u64,
    /// Why they are not all.
    pub error: Option<String>,
}

enum Job {
    Piece(usize, Bytes),
    End(usize, End),
    /// Nothing more will come.
    Finish(Option<Box<Ending>>, String),
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    bytes: usize,
    /// Files whose end was handed over and has no result yet.
    ending: usize,
    /// Why a file takes no more pieces.
    failed: HashMap<usize, String>,
    /// The thread sleeps.
    idle: bool,
    /// The thread is gone.
    dead: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let mut state = self.lock();
        if let Job::Piece(_, bytes) = &job {
            state.bytes += bytes.len();
        }
        state.jobs.push(job);
        if std::mem::take(&mut state.idle) {
            self.changed.notify_one();
        }
    }
}

/// The connection's side of it.
pub(super) struct Store(Arc<Queue>);

impl Store {
    /// Begins the thread; it ends with [`Store::finish`].
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let mut worker = Worker { queue: queue.clone(), shared, open: HashMap::new() };
        std::thread::Builder::new().name("tquic-files".to_owned()).spawn(move || worker.run())?;
        Ok(Self(queue))
    }

    /// Whether a piece is taken now.
    pub fn has_room(&self) -> bool {
        self.0.lock().bytes < CAPACITY
    }

    /// Whether files that have come are not on the disk yet.
    pub fn is_busy(&self) -> bool {
        let state = self.0.lock();
        state.ending > 0 && !state.dead
    }

    /// Hands over bytes; why not, if the file cannot be written.
    pub fn piece(&self, file: usize, bytes: Bytes) -> Result<(), String> {
        let mut state = self.0.lock();
        if let Some(why) = state.failed.remove(&file) {
            return Err(why);
        }
        if state.dead {
            return Err("the thread that writes files is gone".to_owned());
        }
        drop(state);
        if !bytes.is_empty() {
            self.0.push(Job::Piece(file, bytes));
        }
        Ok(())
    }

    /// All that came of a file was handed over: its result follows.
    pub fn end(&self, file: usize, end: End) {
        self.0.lock().ending += 1;
        self.0.push(Job::End(file, end));
    }

    /// Nothing more will come: when everything is written, the fetch is over.
    pub fn finish(&self, shared: &Shared, ending: Option<Ending>, why: &str) {
        if self.0.lock().dead {
            return shared.finish(ending, why);
        }
        self.0.push(Job::Finish(ending.map(Box::new), why.to_owned()));
    }
}

/// What becomes of the bytes of one file.
struct Open {
    file: Option<(PartFile, File, u64)>,
    hash: Option<digest::Context>,
    error: Option<String>,
}

impl Open {
    fn new(get: &Get) -> Self {
        let mut this = Self { file: None, hash: None, error: None };
        this.hash = get.sha256.is_some().then(|| digest::Context::new(&digest::SHA256));
        if let Target::File(path) = &get.target {
            match PartFile::create(path, get.origin.as_deref()) {
                Ok((part, file)) => this.file = Some((part, file, 0)),
                Err(error) => this.error = Some(format!("the file cannot be made: {error}")),
            }
        }
        this
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        if let Some((_, file, offset)) = &mut self.file {
            if let Err(error) = write_at(file, bytes, *offset) {
                self.error = Some(format!("the file cannot be written: {error}"));
                return;
            }
            *offset += bytes.len() as u64;
        }
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// Gives the file its final state.
    fn end(self, end: End, wanted: Option<&[u8; 32]>) -> FileResult {
        let End { took, bytes, error } = end;
        let whole = error.is_none() && self.error.is_none();
        let digest = self.hash.filter(|_| whole);
        let digest = digest.and_then(|h| h.finish().as_ref().try_into().ok());
        // What went wrong here came first: the stream was given up for it.
        let error = self.error.or(error).or_else(|| wrong_content(wanted, digest.as_ref()));
        let stored = self.file.map(|(part, file, length)| {
            // Windows renames no open files.
            drop(file);
            match error {
                None => part.finish(),
                // Whole and wrong, or empty: nothing that anybody could go on from.
                Some(_) if whole || length == 0 => {
                    part.discard();
                    Ok(())
                }
                Some(_) => Ok(()),
            }
        });
        let unnamed = |e| Some(format!("the file cannot get its name: {e}"));
        let error = stored.and_then(Result::err).map_or(error, unnamed);
        FileResult { bytes, took, digest, error }
    }
}

/// Says so if the content is not what was demanded.
pub(super) fn wrong_content(wanted: Option<&[u8; 32]>, got: Option<&[u8; 32]>) -> Option<String> {
    let wanted = wanted.filter(|_| got != wanted)?;
    let got = got.map_or_else(|| "not known".to_owned(), |digest| hex(digest));
    let wanted = hex(wanted);
    Some(format!("the content is not the expected one: its SHA-256 is {got}, not {wanted}"))
}

/// The thread's side of it.
struct Worker {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    open: HashMap<usize, Open>,
}

impl Worker {
    fn run(&mut self) {
        loop {
            for job in self.wait() {
                match job {
                    Job::Piece(file, bytes) => self.piece(file, &bytes),
                    Job::End(file, end) => self.end(file, end),
                    Job::Finish(ending, why) => {
                        return self.shared.finish(ending.map(|e| *e), &why);
                    }
                }
            }
        }
    }

    fn wait(&self) -> Vec<Job> {
        let mut state = self.queue.lock();
        while state.jobs.is_empty() {
            state.idle = true;
            let waited = self.queue.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        std::mem::take(&mut state.jobs)
    }

    fn open(&mut self, file: usize) -> &mut Open {
        let Self { open, shared, .. } = self;
        // Only files of the setup are ever handed over.
        open.entry(file).or_insert_with(|| Open::new(&shared.setup.files[file]))
    }

    fn piece(&mut self, file: usize, bytes: &Bytes) {
        let open = self.open(file);
        let good = open.error.is_none();
        open.take(bytes);
        let error = open.error.clone().filter(|_| good);
        let mut state = self.queue.lock();
        state.bytes -= bytes.len();
        if let Some(error) = error {
            state.failed.insert(file, error);
        }
    }

    fn end(&mut self, file: usize, end: End) {
        // Empty files are made here; of what failed before its first byte nothing is made.
        let open = match end.error {
            None => {
                self.open(file);
                self.open.remove(&file)
            }
            Some(_) => self.open.remove(&file),
        };
        let wanted = self.shared.setup.files.get(file).and_then(|get| get.sha256.as_ref());
        let result = match open {
            Some(open) => open.end(end, wanted),
            None => FileResult { bytes: end.bytes, took: end.took, digest: None, error: end.error },
        };
        self.shared.store(file, result);
        let mut state = self.queue.lock();
        state.ending -= 1;
        state.failed.remove(&file);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.dead = true;
        state.jobs.clear();
        drop(state);
        // Does nothing after a proper end; else something here has panicked, and nobody may wait.
        self.shared.finish(None, "the thread that writes files is gone");
    }
}
