//! Socket options that `socket2` does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

/// Sets an integer option.
pub fn set(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and length name one `c_int` that lives through the call; the kernel only
    // reads it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    check(done)
}

/// Reads an option of up to `N` 32-bit words; those that the kernel does not know stay 0.
pub fn words<const N: usize>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
) -> io::Result<[u32; N]> {
    let mut value = [0; N];
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and length name `value`, which is borrowed for the call; the kernel writes
    // no more than `len` bytes, and any bits are a valid `u32`.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len)
    };
    check(done).map(|()| value)
}

/// Attaches the classic BPF program that picks a socket of the `SO_REUSEPORT` group.
pub fn attach_reuseport(
    socket: BorrowedFd<'_>,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the pointer and length name one `sock_fprog`, whose `filter` points to the `len`
    // instructions borrowed by the caller; the kernel copies them before the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    check(done)
}

fn check(done: c_int) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
