//! The writer thread: one for the process, started with the first file. Threads of connections leave
//! text in buffers with a bound, and never wait: not for the disk, not for each other.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often files are written while there is something to write.
const PERIOD: Duration = Duration::from_millis(100);
/// Bytes that wait for the writer, of all connections together; more are dropped.
const TOTAL: usize = 64 << 20;
/// A buffer that is filled to this part wakes the writer before its time: 1 / `PART`.
const PART: usize = 4;

/// Bytes that wait, of all connections.
static WAITING: AtomicUsize = AtomicUsize::new(0);
static WRITER: Mutex<Option<Arc<Writer>>> = Mutex::new(None);

/// A connection's end of its file.
pub(super) struct Sink {
    file: Arc<File>,
    limit: usize,
    /// The writer knows the file.
    known: bool,
    /// Records dropped since the last one that was taken.
    dropped: u64,
}

struct File {
    path: PathBuf,
    buffer: Mutex<Buffer>,
}

#[derive(Default)]
struct Buffer {
    text: Vec<u8>,
    closed: bool,
}

struct Writer {
    process: u32,
    queue: Mutex<Queue>,
    /// There is something to write, or the queue has been written.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    files: Vec<Arc<File>>,
    urgent: bool,
    /// Passes over all files that were ended.
    passes: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    /// For a file that holds at most `limit` bytes back.
    pub fn new(path: PathBuf, limit: usize) -> Self {
        let file = Arc::new(File { path, buffer: Mutex::default() });
        Self { file, limit, known: false, dropped: 0 }
    }

    /// How many records were dropped, if `len` more bytes can be taken now and there are any to report.
    pub fn take_dropped_before(&mut self, len: usize) -> Option<u64> {
        let room = self.file.buffer.try_lock().is_ok_and(|b| b.text.len() + len <= self.limit);
        (self.dropped > 0 && room).then(|| std::mem::take(&mut self.dropped))
    }

    /// Takes records. Never waits: what finds no room is dropped; while the writer holds the buffer,
    /// the text stays with the caller.
    pub fn push(&mut self, text: &mut String) {
        let Ok(mut buffer) = self.file.buffer.try_lock() else {
            if text.len() > self.limit {
                self.drop_records(text);
            }
            return;
        };
        let full = buffer.text.len() + text.len() > self.limit
            || WAITING.load(Ordering::Relaxed) + text.len() > TOTAL;
        if full {
            drop(buffer);
            return self.drop_records(text);
        }
        buffer.text.extend_from_slice(text.as_bytes());
        let filled = buffer.text.len();
        drop(buffer);
        WAITING.fetch_add(text.len(), Ordering::Relaxed);
        text.clear();
        if !self.known {
            self.known = true;
            Writer::get(|writer| {
                lock(&writer.queue).files.push(self.file.clone());
                writer.changed.notify_all();
            });
        } else if filled > self.limit / PART {
            Writer::get(Writer::hurry);
        }
    }

    fn drop_records(&mut self, text: &mut String) {
        self.dropped += text.matches('\u{1e}').count() as u64;
        text.clear();
    }

    /// No more will come but this.
    pub fn close(&mut self, rest: &mut String) {
        self.push(rest);
        let mut buffer = lock(&self.file.buffer);
        // The connection is over and the buffer ours: what the writer's lock kept out still fits.
        if buffer.text.len() + rest.len() <= self.limit {
            buffer.text.extend_from_slice(rest.as_bytes());
            WAITING.fetch_add(rest.len(), Ordering::Relaxed);
        }
        buffer.closed = true;
    }
}

impl Writer {
    /// Calls `f` with this process's writer: threads do not survive a fork.
    fn get(f: impl FnOnce(&Self)) {
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
                // Without threads there are no files; nothing else depends on them.
                return;
            }
            *writer = Some(fresh);
        }
        if let Some(writer) = &*writer {
            f(writer);
        }
    }

    fn hurry(&self) {
        if let Ok(mut queue) = self.queue.try_lock() {
            queue.urgent = true;
            self.changed.notify_all();
        }
    }

    fn run(&self) {
        let mut queue = lock(&self.queue);
        loop {
            while queue.files.is_empty() && !queue.urgent {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.urgent {
                let waited = self.changed.wait_timeout_while(queue, PERIOD, |q| !q.urgent);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            queue.urgent = false;
            let files = queue.files.clone();
            drop(queue);
            let over: Vec<bool> = files.iter().map(|file| file.write()).collect();
            queue = lock(&self.queue);
            let is_over = |f: &Arc<File>| {
                files.iter().zip(&over).any(|(file, over)| *over && Arc::ptr_eq(file, f))
            };
            queue.files.retain(|file| !is_over(file));
            queue.passes += 1;
            self.changed.notify_all();
        }
    }
}

impl File {
    /// Writes what waits; true if nothing will follow.
    fn write(&self) -> bool {
        let (text, closed) = {
            let mut buffer = lock(&self.buffer);
            (std::mem::take(&mut buffer.text), buffer.closed)
        };
        if !text.is_empty() {
            // No descriptor is kept: thousands of connections may have files. A disk that is full or a
            // folder that cannot be made costs the log and nothing else.
            let _ = self.append(&text);
            WAITING.fetch_sub(text.len(), Ordering::Relaxed);
        }
        closed
    }

    fn append(&self, text: &[u8]) -> io::Result<()> {
        let open = || OpenOptions::new().create(true).append(true).open(&self.path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.path.parent().map(fs::create_dir_all).transpose()?;
                open()?
            }
            result => result?,
        };
        file.write_all(text)
    }
}

/// Waits until what was told before is in its file, at most for `patience`. For the end of a program.
pub fn flush(patience: Duration) {
    let writer = lock(&WRITER).clone();
    let Some(writer) = writer.filter(|w| w.process == std::process::id()) else { return };
    let deadline = Instant::now() + patience;
    let mut queue = lock(&writer.queue);
    // A pass that is under way may have passed some files already: the one after it counts.
    let wanted = queue.passes + 2;
    while queue.passes < wanted {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        queue.urgent = true;
        writer.changed.notify_all();
        let waited = writer.changed.wait_timeout(queue, left.min(PERIOD));
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tquic-qlog-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn what_is_told_is_in_the_file_after_a_flush() {
        let folder = folder("order");
        let path = folder.join("deep").join("a.sqlog");
        let mut sink = Sink::new(path.clone(), 1 << 20);
        let mut told = String::new();
        for n in 0..100 {
            let mut text = format!("\u{1e}{n}\n");
            told.push_str(&text);
            while !text.is_empty() {
                sink.push(&mut text);
            }
        }
        sink.close(&mut String::new());
        flush(Duration::from_secs(20));
        assert_eq!(fs::read_to_string(&path).unwrap(), told);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_full_buffer_drops_and_counts() {
        let mut sink = Sink::new(folder("full").join("a"), 100);
        let mut text = "\u{1e}{}\n".repeat(30);
        sink.push(&mut text);
        assert_eq!((text.as_str(), sink.dropped), ("", 30));
        assert_eq!(sink.take_dropped_before(101), None);
        assert_eq!(sink.take_dropped_before(100), Some(30));
        assert_eq!(sink.take_dropped_before(100), None);
    }

    #[test]
    fn the_writer_holding_the_buffer_costs_nothing_but_patience() {
        let mut sink = Sink::new(folder("held").join("a"), 100);
        let file = sink.file.clone();
        let held = lock(&file.buffer);
        let mut text = "\u{1e}{}\n".to_owned();
        sink.push(&mut text);
        assert_eq!((text.len(), sink.dropped), (4, 0));
        drop(held);
    }
}
