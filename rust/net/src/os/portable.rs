//! The same elsewhere, over the `polling` crate: kqueue, I/O completion ports, `poll`.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polling::{AsSource, Event as Ready, PollMode};

use super::{Event, Interest, RESERVED_TOKEN};

#[cfg(unix)]
type Owned = std::os::fd::OwnedFd;
#[cfg(windows)]
type Owned = std::os::windows::io::OwnedSocket;

/// Bytes that are lent to nobody here.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Pages(Box<[u8]>);

#[cfg(not(target_os = "linux"))]
impl Pages {
    /// `len` zeroed bytes.
    pub fn new(len: usize) -> io::Result<Self> {
        Ok(Self(vec![0; len].into()))
    }
}

#[cfg(not(target_os = "linux"))]
impl std::ops::Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(not(target_os = "linux"))]
impl std::ops::DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Waits for sources and wakers; one thread's own.
pub struct Poller {
    wake: Arc<Wake>,
    /// A duplicate of each source: `polling` wants a source alive for as long as it is registered.
    sources: HashMap<usize, Owned>,
}

/// Events of one [`Poller::wait`], used again by the next.
pub struct Events {
    ready: polling::Events,
    woken: bool,
}

/// Ends a [`Poller::wait`] from another thread.
#[derive(Clone)]
pub struct Waker(Arc<Wake>);

struct Wake {
    poller: polling::Poller,
    woken: AtomicBool,
}

impl Waker {
    /// Has the current or next [`Poller::wait`] return with [`Events::woken`]. What was written
    /// before this call is visible to the thread after that.
    pub fn wake(&self) -> io::Result<()> {
        if self.0.woken.swap(true, Ordering::AcqRel) { Ok(()) } else { self.0.poller.notify() }
    }
}

impl Poller {
    /// A poller without sources.
    pub fn new() -> io::Result<Self> {
        let wake = Wake { poller: polling::Poller::new()?, woken: AtomicBool::new(false) };
        Ok(Self { wake: Arc::new(wake), sources: HashMap::new() })
    }

    /// A waker for other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Reports `source` under `token` (not [`RESERVED_TOKEN`], and of this source only) until it is
    /// removed.
    pub fn add(
        &mut self,
        source: &impl AsSource,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        if token == RESERVED_TOKEN || self.sources.contains_key(&token) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this token is taken"));
        }
        let own = source.source().try_clone_to_owned()?;
        // SAFETY: `own` stays open in `sources` until `remove` or `drop` has deleted it from the
        // poller.
        unsafe { self.wake.poller.add_with_mode(&own, ready(token, interest), PollMode::Level)? };
        self.sources.insert(token, own);
        Ok(())
    }

    /// Waits for something else from `source`, which was added with the same `token`.
    pub fn modify(
        &mut self,
        _source: &impl AsSource,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let own = self.sources.get(&token).ok_or(io::ErrorKind::NotFound)?;
        self.wake.poller.modify_with_mode(own, ready(token, interest), PollMode::Level)
    }

    /// Forgets `source`, which was added with `token`.
    pub fn remove(&mut self, _source: &impl AsSource, token: usize) -> io::Result<()> {
        let own = self.sources.get(&token).ok_or(io::ErrorKind::NotFound)?;
        self.wake.poller.delete(own)?;
        self.sources.remove(&token);
        Ok(())
    }

    /// Waits until a source is ready, a waker calls or `timeout` has passed (`None`: no limit; zero:
    /// only looks), and puts what happened into `events`.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.ready.clear();
        let waited = self.wake.poller.wait(&mut events.ready, timeout);
        events.woken = self.wake.woken.swap(false, Ordering::AcqRel);
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        for own in self.sources.values() {
            // The poller outlives this one if a waker does, but nobody waits on it any more; a
            // source it refuses to delete cannot be helped.
            let _ = self.wake.poller.delete(own);
        }
    }
}

fn ready(token: usize, interest: Interest) -> Ready {
    match interest {
        Interest::Readable => Ready::readable(token),
        Interest::ReadableWritable => Ready::all(token),
    }
}

impl Events {
    /// Room for `capacity` events (at least 2) at a time; more stay for the next call.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN).saturating_add(1);
        Self { ready: polling::Events::with_capacity(capacity), woken: false }
    }

    /// Whether a [`Waker`] called.
    pub fn woken(&self) -> bool {
        self.woken
    }

    /// The sources that are ready.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let event = |e: Ready| Event {
            token: e.key,
            readable: e.readable,
            writable: e.writable,
            error: false,
        };
        self.ready.iter().map(event)
    }
}

/// The CPUs that the calling thread may run on: unknown here.
#[cfg(not(target_os = "linux"))]
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    Ok(Vec::new())
}

/// Keeps the calling thread on `cpu`: not possible here.
#[cfg(not(target_os = "linux"))]
pub fn pin_thread(_cpu: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// CPU time that the calling thread has used: not known here.
#[cfg(not(target_os = "linux"))]
pub fn thread_cpu_time() -> Option<Duration> {
    None
}

/// Hears of changes of interfaces and addresses: not possible here.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct LinkWatch(());

#[cfg(not(target_os = "linux"))]
impl LinkWatch {
    /// Fails.
    pub fn new(_poller: &mut Poller, _token: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing was told.
    pub fn take(&self) -> bool {
        false
    }
}

/// The interfaces as they are now: not known here.
#[cfg(not(target_os = "linux"))]
pub fn links() -> io::Result<Vec<super::Link>> {
    Err(io::ErrorKind::Unsupported.into())
}
