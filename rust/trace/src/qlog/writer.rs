//! The writer thread: one for the process, started with the first log. Threads of connections leave
//! text in buffers with a bound, and never wait: not for the disk, not for a listener, not for each
//! other.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::log::{Log, Place, lock, records};

/// How often logs are written while there is something to write.
const PERIOD: Duration = Duration::from_millis(100);
/// How long a listener that is behind is left alone.
const BREATH: Duration = Duration::from_millis(5);

static WRITER: Mutex<Option<Arc<Writer>>> = Mutex::new(None);

pub(super) struct Writer {
    process: u32,
    queue: Mutex<Queue>,
    /// There is something to write, or the queue has been written.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    logs: Vec<Arc<Log>>,
    urgent: bool,
    /// A listener did not take all there was.
    behind: bool,
    /// Passes over all logs that were ended.
    passes: u64,
}

/// What became of a log's records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All are gone; more may follow.
    Open,
    /// Whoever is to have them did not take all.
    Behind,
    /// There will be no more.
    Over,
}

impl Writer {
    /// Calls `f` with this process's writer: threads do not survive a fork.
    pub fn get(f: impl FnOnce(&Self)) {
        let mut writer = lock(&WRITER);
        if writer.as_ref().is_none_or(|w| w.process != std::process::id()) {
            let fresh = Arc::new(Self {
                process: std::process::id(),
                queue: Mutex::default(),
                changed: Condvar::new(),
            });
            let theirs = fresh.clone();
            let thread = thread::Builder::new().name("tquic-qlog".to_owned());
            if thread.spawn(move || theirs.run()).is_err() {
                // Without threads there are no logs; nothing else depends on them.
                return;
            }
            *writer = Some(fresh);
        }
        if let Some(writer) = &*writer {
            f(writer);
        }
    }

    /// Takes a log into its care.
    pub fn adopt(&self, log: Arc<Log>) {
        lock(&self.queue).logs.push(log);
        self.changed.notify_all();
    }

    pub fn hurry(&self) {
        if let Ok(mut queue) = self.queue.try_lock() {
            queue.urgent = true;
            self.changed.notify_all();
        }
    }

    fn run(&self) {
        let mut outlets = Outlets::default();
        let mut queue = lock(&self.queue);
        loop {
            while queue.logs.is_empty() && !queue.urgent {
                queue = self.changed.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            if !queue.urgent {
                let pause = if queue.behind { BREATH } else { PERIOD };
                let waited = self.changed.wait_timeout_while(queue, pause, |q| !q.urgent);
                queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
            queue.urgent = false;
            let logs = queue.logs.clone();
            drop(queue);
            let outcomes: Vec<Outcome> = logs.iter().map(|log| outlets.deliver(log)).collect();
            queue = lock(&self.queue);
            // Logs are only added at the end meanwhile, so places are the same.
            let mut outcome = outcomes.iter();
            queue.logs.retain(|_| outcome.next() != Some(&Outcome::Over));
            queue.behind = outcomes.contains(&Outcome::Behind);
            queue.passes += 1;
            self.changed.notify_all();
        }
    }
}

/// Where records go: what the writer thread keeps open.
#[derive(Default)]
struct Outlets {
    #[cfg(target_os = "linux")]
    listeners: super::unix::Listeners,
    #[cfg(target_os = "linux")]
    group: super::netlink::Group,
}

impl Outlets {
    fn deliver(&mut self, log: &Log) -> Outcome {
        match &log.place {
            Place::File(path) => write(log, path),
            #[cfg(target_os = "linux")]
            Place::Unix(path) => self.listeners.deliver(log, path),
            #[cfg(target_os = "linux")]
            Place::Netlink => self.group.deliver(log),
        }
    }
}

fn write(log: &Log, path: &Path) -> Outcome {
    let (pieces, _, closed) = log.take();
    if !pieces.is_empty() {
        let begins = std::mem::replace(&mut lock(&log.buffer).introduced, 1) == 0;
        let header = if begins { log.header.as_slice() } else { &[] };
        // A disk that is full or a folder that cannot be made costs the log and nothing else.
        if append(path, header, &pieces).is_err() {
            log.drop_events(pieces.iter().map(|piece| records(piece)).sum());
        }
    }
    if closed.is_some() { Outcome::Over } else { Outcome::Open }
}

/// No descriptor is kept: thousands of connections may have files.
fn append(path: &Path, header: &[u8], pieces: &[Vec<u8>]) -> io::Result<()> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map(fs::create_dir_all).transpose()?;
            open()?
        }
        result => result?,
    };
    file.write_all(header)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece))
}

/// Waits until what was told before has left, at most for `patience`. For the end of a program.
pub fn flush(patience: Duration) {
    let writer = lock(&WRITER).clone();
    let Some(writer) = writer.filter(|w| w.process == std::process::id()) else { return };
    let deadline = Instant::now() + patience;
    let mut queue = lock(&writer.queue);
    // A pass that is under way may have passed some logs already: the one after it counts.
    let wanted = queue.passes + 2;
    while queue.passes < wanted || queue.behind {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        queue.urgent = queue.passes < wanted;
        writer.changed.notify_all();
        let waited = writer.changed.wait_timeout(queue, left.min(PERIOD));
        queue = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use tquic_wire::ConnectionId;

    use super::super::log::{Batch, Sink};
    use super::*;

    #[test]
    fn what_is_told_is_in_the_file_after_a_flush() {
        let name = format!("tquic-qlog-order-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        let path = folder.join("deep").join("a.sqlog");
        let place = Place::File(path.clone());
        let log = Log::new(ConnectionId::default(), true, 0, b"header".to_vec(), place);
        let mut sink = Sink::new(log, 1 << 20);
        let mut told = "header".to_owned();
        for n in 0..100 {
            let text = format!("\u{1e}{n}\n");
            told.push_str(&text);
            let mut batch = Batch { text: text.into(), records: 1, ..Batch::default() };
            while !batch.text.is_empty() {
                sink.push(&mut batch);
            }
        }
        sink.close(&mut Batch::default(), |_| unreachable!("nothing was dropped"));
        flush(Duration::from_secs(20));
        assert_eq!(fs::read_to_string(&path).unwrap(), told);
        fs::remove_dir_all(folder).unwrap();
    }
}
