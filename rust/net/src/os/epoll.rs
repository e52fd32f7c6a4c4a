//! Readiness by `epoll`, with timeouts in nanoseconds, and an `eventfd` to wake the waiting thread.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use libc::c_int;

use super::wake::State;
use super::{Event, Interest, RESERVED_TOKEN};

/// Waits for sources and wakers; one thread's own.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: Arc<Wake>,
    /// Whether the kernel has `epoll_pwait2` (Linux 5.11) and lets us use it.
    nanoseconds: bool,
}

/// Events of one [`Poller::wait`], used again by the next.
pub struct Events {
    ready: Vec<libc::epoll_event>,
    filled: usize,
    woken: bool,
}

/// Ends a [`Poller::wait`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Wake>);

#[derive(Debug)]
struct Wake {
    eventfd: File,
    state: State,
}

impl Waker {
    /// Has the current or next [`Poller::wait`] return with [`Events::woken`]. What was written
    /// before this call is visible to the thread after that.
    pub fn wake(&self) -> io::Result<()> {
        if self.0.state.call() {
            (&self.0.eventfd).write_all(&1u64.to_ne_bytes())?;
        }
        Ok(())
    }
}

impl Poller {
    /// A poller without sources.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor it returns is new and owned by nobody else.
        let epoll = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        // SAFETY: as above.
        let eventfd = unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }?;
        let wake = Wake { eventfd: eventfd.into(), state: State::new() };
        let poller = Self { epoll, wake: Arc::new(wake), nanoseconds: true };
        // Edge-triggered: every write is reported once, and the counter is never read.
        let events = libc::EPOLLIN | libc::EPOLLET;
        poller.control(libc::EPOLL_CTL_ADD, poller.wake.eventfd.as_fd(), events, RESERVED_TOKEN)?;
        Ok(poller)
    }

    /// A waker for other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Reports `source` under `token` (not [`RESERVED_TOKEN`]) until it is removed or closed.
    pub fn add(&mut self, source: &impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        if token == RESERVED_TOKEN {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this token is reserved"));
        }
        self.control(libc::EPOLL_CTL_ADD, source.as_fd(), flags(interest), token)
    }

    /// Waits for something else from `source`, which was added with the same `token`.
    pub fn modify(
        &mut self,
        source: &impl AsFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source.as_fd(), flags(interest), token)
    }

    /// Forgets `source`, which was added with `token`.
    pub fn remove(&mut self, source: &impl AsFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, source.as_fd(), 0, token)
    }

    /// Waits until a source is ready, a waker calls or `timeout` has passed (`None`: no limit; zero:
    /// only looks), and puts what happened into `events`.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.filled = 0;
        let asleep = self.wake.state.fall_asleep();
        // Woken already: still look at the sources, so that busy wakers do not starve them.
        let timeout = if asleep { timeout } else { Some(Duration::ZERO) };
        let filled = self.wait_for_sources(events, timeout);
        events.woken = self.wake.state.get_up();
        events.filled = match filled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        Ok(())
    }

    fn wait_for_sources(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if self.nanoseconds {
            match self.pwait2(events, timeout) {
                // Older kernels lack it, older container filters forbid it.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.nanoseconds = false;
                }
                other => return other,
            }
        }
        let millis = timeout.map_or(-1, |t| {
            // Rounded up: waking too early would only wake again at once.
            c_int::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        let room = c_int::try_from(events.ready.len()).unwrap_or(c_int::MAX);
        let ready = events.ready.as_mut_ptr();
        // SAFETY: `ready` points to at least `room` events, borrowed mutably for the call.
        let got = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), ready, room, millis) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// As a plain system call, because C libraries before 2.35 lack the function.
    fn pwait2(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        // The kernel's own 64-bit structure, also where the C library's is narrower.
        let spec = timeout
            .map(|t| [i64::try_from(t.as_secs()).unwrap_or(i64::MAX), i64::from(t.subsec_nanos())]);
        let spec = spec.as_ref().map_or(ptr::null(), |spec| spec.as_ptr());
        let room = c_int::try_from(events.ready.len()).unwrap_or(c_int::MAX);
        // SAFETY: the events pointer has room for `room` of them and is borrowed mutably for the
        // call; `spec` is null or points to the two 64-bit numbers of a `__kernel_timespec`, alive
        // until the end of this function; a null signal mask (of size 0) changes no mask.
        let got = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                events.ready.as_mut_ptr(),
                room,
                spec,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    fn control(
        &self,
        operation: c_int,
        source: BorrowedFd<'_>,
        flags: c_int,
        token: usize,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags as u32, u64: token as u64 };
        let (epoll, source) = (self.epoll.as_raw_fd(), source.as_raw_fd());
        // SAFETY: both descriptors are open, and `event` outlives the call, which only reads it.
        let done = unsafe { libc::epoll_ctl(epoll, operation, source, &raw mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn flags(interest: Interest) -> c_int {
    match interest {
        Interest::Readable => libc::EPOLLIN,
        Interest::ReadableWritable => libc::EPOLLIN | libc::EPOLLOUT,
    }
}

/// Takes over a descriptor that a system call returned.
///
/// # Safety
/// `fd` is negative, or open and nobody else's.
unsafe fn owned(fd: c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Events {
    /// Room for `capacity` events (at least 2) at a time; more stay for the next call.
    pub fn with_capacity(capacity: usize) -> Self {
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Self { ready: vec![empty; capacity.max(2)], filled: 0, woken: false }
    }

    /// Whether a [`Waker`] called.
    pub fn woken(&self) -> bool {
        self.woken
    }

    /// The sources that are ready.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.ready.iter().take(self.filled).filter_map(|event| {
            let flags = event.events as c_int;
            // Only our own tokens come back, all of them made from a `usize`.
            let token = event.u64 as usize;
            (token != RESERVED_TOKEN).then_some(Event {
                token,
                readable: flags & !libc::EPOLLOUT != 0,
                writable: flags & !(libc::EPOLLIN | libc::EPOLLERR) != 0,
                error: flags & libc::EPOLLERR != 0,
            })
        })
    }
}
