//! Calls that wait, and what they answer.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use libc::ssize_t;
use tquic_socket::{Errno, Failure};

/// Puts the reason into `errno` and answers -1.
pub fn fail(failure: &Failure) -> c_int {
    if failure.errno != Errno::AGAIN && std::env::var_os("TQUIC_SOCKET_DEBUG").is_some() {
        eprintln!("tquic: {failure} (errno {})", failure.errno.0);
    }
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = failure.errno.0 };
    -1
}

/// The answer of a call without a result.
pub fn answer(done: Result<(), Failure>) -> c_int {
    done.map_or_else(|failure| fail(&failure), |()| 0)
}

/// The answer of a call that tells a number of bytes.
pub fn answer_size(done: Result<usize, Failure>) -> ssize_t {
    match done {
        Ok(size) => ssize_t::try_from(size).unwrap_or(ssize_t::MAX),
        Err(failure) => fail(&failure) as ssize_t,
    }
}

/// Which way a call waits.
#[derive(Clone, Copy)]
pub enum Until {
    Readable,
    Writable,
}

impl Until {
    fn events(self) -> libc::c_short {
        match self {
            Self::Readable => libc::POLLIN,
            Self::Writable => libc::POLLOUT,
        }
    }

    fn timeout_option(self) -> c_int {
        match self {
            Self::Readable => libc::SO_RCVTIMEO,
            Self::Writable => libc::SO_SNDTIMEO,
        }
    }
}

/// Does `work` again and again until it does not say that it would block; unless the descriptor, or
/// this call, is not to block.
pub fn wait_for<T>(
    fd: c_int,
    until: Until,
    blocks: bool,
    mut work: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut limit = None;
    loop {
        match work() {
            Err(failure)
                if failure.errno == Errno::AGAIN || failure.errno == Errno::IN_PROGRESS =>
            {
                if !blocks || !is_blocking(fd) {
                    return Err(failure);
                }
                let limit = limit.get_or_insert_with(|| {
                    timeout(fd, until).map(|timeout| Instant::now() + timeout)
                });
                if !poll(fd, until, *limit)? {
                    return Err(failure);
                }
            }
            other => return other,
        }
    }
}

/// Whether calls on it are to block.
pub fn is_blocking(fd: c_int) -> bool {
    // SAFETY: without pointers.
    unsafe { crate::real::fcntl(fd, libc::F_GETFL, 0) & libc::O_NONBLOCK == 0 }
}

/// `SO_RCVTIMEO` or `SO_SNDTIMEO`, which lie with the descriptor.
pub fn timeout(fd: c_int, until: Until) -> Option<Duration> {
    let mut value = MaybeUninit::<libc::timeval>::zeroed();
    let mut length = size_of::<libc::timeval>() as libc::socklen_t;
    let option = until.timeout_option();
    // SAFETY: there is room for the struct, and every value of its fields is one.
    let value = unsafe {
        let pointer = value.as_mut_ptr().cast();
        crate::real::getsockopt(fd, libc::SOL_SOCKET, option, pointer, &mut length);
        value.assume_init()
    };
    let seconds = Duration::from_secs(u64::try_from(value.tv_sec).ok()?);
    let micros = Duration::from_micros(u64::try_from(value.tv_usec).ok()?);
    Some(seconds + micros).filter(|timeout| !timeout.is_zero())
}

/// False if the time has passed.
fn poll(fd: c_int, until: Until, limit: Option<Instant>) -> Result<bool, Failure> {
    let mut entry = libc::pollfd { fd, events: until.events(), revents: 0 };
    let millis = limit.map_or(-1, |limit| {
        let left = limit.saturating_duration_since(Instant::now());
        c_int::try_from(left.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: one entry.
    match unsafe { libc::poll(&mut entry, 1, millis) } {
        -1 => Err(io::Error::last_os_error().into()),
        ready => Ok(ready > 0),
    }
}
