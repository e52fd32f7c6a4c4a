//! Which descriptors are QUIC sockets.
//!
//! A socket is known by the number of its near end's inode, which all copies of a descriptor share.
//! A bit for each descriptor says whether that is worth a look: it is set where a socket or a copy of
//! one comes from, and never cleared, for a descriptor may be closed where nobody sees it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use tquic_socket::{Made, Service, Socket};

/// Descriptors with a bit of their own; those above always get the look.
const BITS: usize = 1 << 16;
/// How long the end of a process waits until peers have what was written.
const PATIENCE: Duration = Duration::from_secs(5);

static MAYBE: [AtomicU64; BITS / 64] = [const { AtomicU64::new(0) }; BITS / 64];
static TABLE: Mutex<Option<Table>> = Mutex::new(None);

thread_local! {
    /// The table, kept from all others while this thread forks.
    static FORKING: RefCell<Option<MutexGuard<'static, Option<Table>>>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Table {
    /// None before the first socket of this process.
    service: Option<Arc<Service>>,
    sockets: HashMap<u64, Entry>,
}

enum Entry {
    Ours(Weak<Socket>),
    /// Of the process that forked this one: its threads are not here.
    Parents,
}

/// What a descriptor is.
pub enum Found {
    /// None of ours.
    Other,
    /// A QUIC socket.
    Quic(Arc<Socket>),
    /// One that only the process that forked this one can use.
    Parents,
}

fn lock() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks a descriptor up.
pub fn find(fd: c_int) -> Found {
    if !is_marked(fd) {
        return Found::Other;
    }
    let Some(inode) = socket_inode(fd) else { return Found::Other };
    match lock().as_ref().and_then(|table| table.sockets.get(&inode)) {
        None => Found::Other,
        Some(Entry::Parents) => Found::Parents,
        Some(Entry::Ours(socket)) => socket.upgrade().map_or(Found::Other, Found::Quic),
    }
}

fn is_marked(fd: c_int) -> bool {
    let Ok(at) = usize::try_from(fd) else { return false };
    let word = MAYBE.get(at / 64);
    word.is_none_or(|word| word.load(Ordering::Relaxed) & (1 << (at % 64)) != 0)
}

fn mark(fd: c_int) {
    if let Ok(at) = usize::try_from(fd)
        && let Some(word) = MAYBE.get(at / 64)
    {
        word.fetch_or(1 << (at % 64), Ordering::Relaxed);
    }
}

/// A descriptor has been copied.
pub fn copied(from: c_int, to: c_int) {
    if is_marked(from) {
        mark(to);
    }
}

fn socket_inode(fd: c_int) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the struct if it answers 0.
    let stat = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    (stat.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(stat.st_ino)
}

/// The service of this process.
pub fn service() -> io::Result<Arc<Service>> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: functions without arguments that may be called at any time.
        unsafe {
            libc::pthread_atfork(
                Some(before_fork),
                Some(after_fork_parent),
                Some(after_fork_child),
            );
            libc::atexit(at_exit);
        }
    });
    let mut table = lock();
    let table = table.get_or_insert_default();
    if let Some(service) = &table.service {
        return Ok(service.clone());
    }
    let service = Service::start()?;
    table.service = Some(service.clone());
    Ok(service)
}

/// Gives a socket to the program: its descriptor.
pub fn adopt(made: Made, nonblocking: bool, close_on_exec: bool) -> io::Result<c_int> {
    let Made { socket, near } = made;
    let inode = socket_inode(near.as_raw_fd()).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: calls on a descriptor that is ours, without pointers.
    unsafe {
        if nonblocking {
            crate::real::fcntl(near.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK as usize);
        }
        if !close_on_exec {
            crate::real::fcntl(near.as_raw_fd(), libc::F_SETFD, 0);
        }
    }
    let mut table = lock();
    let table = table.get_or_insert_default();
    if table.sockets.len() >= 1024 && table.sockets.len().is_power_of_two() {
        table.sockets.retain(|_, entry| match entry {
            Entry::Ours(socket) => socket.strong_count() > 0,
            Entry::Parents => true,
        });
    }
    table.sockets.insert(inode, Entry::Ours(Arc::downgrade(&socket)));
    let fd = near.into_raw_fd();
    mark(fd);
    Ok(fd)
}

extern "C" fn before_fork() {
    // A thread that ends has no such place any more, and does not fork.
    let _ = FORKING.try_with(|forking| *forking.borrow_mut() = Some(lock()));
}

extern "C" fn after_fork_parent() {
    let _ = FORKING.try_with(|forking| drop(forking.borrow_mut().take()));
}

extern "C" fn after_fork_child() {
    let _ = FORKING.try_with(|forking| {
        let Some(mut table) = forking.borrow_mut().take() else { return };
        if let Some(table) = table.as_mut() {
            // Its threads stayed behind: it must not be dropped, and the sockets are not ours.
            std::mem::forget(table.service.take());
            for entry in table.sockets.values_mut() {
                std::mem::forget(std::mem::replace(entry, Entry::Parents));
            }
        }
    });
}

extern "C" fn at_exit() {
    let service = lock().as_ref().and_then(|table| table.service.clone());
    if let Some(service) = service {
        service.finish(PATIENCE);
    }
}
