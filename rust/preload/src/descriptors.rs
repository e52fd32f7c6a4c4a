//! Copies of descriptors: seen, so that sockets are known under each of their numbers.

use std::ffi::c_int;

use crate::{real, table};

fn noted(from: c_int, to: c_int) -> c_int {
    if to >= 0 {
        table::copied(from, to);
    }
    to
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the caller's arguments.
    noted(fd, unsafe { real::dup(fd) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(fd: c_int, to: c_int) -> c_int {
    // SAFETY: the caller's arguments.
    noted(fd, unsafe { real::dup2(fd, to) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's arguments.
    noted(fd, unsafe { real::dup3(fd, to, flags) })
}

/// Declared with `...`: on the systems that this is built for an integer or pointer goes the same way
/// as an ordinary third argument; where the caller gave none, nobody looks at it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's arguments.
    let result = unsafe { real::fcntl(fd, command, argument) };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => noted(fd, result),
        _ => result,
    }
}

/// The same for programs with 64-bit file offsets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's arguments.
    unsafe { fcntl(fd, command, argument) }
}
