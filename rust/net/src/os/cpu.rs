//! Which CPUs a thread runs on.

use std::io;

/// The CPUs that the calling thread may run on, in ascending order.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: the pointer and size name `set`, borrowed mutably for the call; 0 is this thread.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every index is below `CPU_SETSIZE`, the number of bits in `set`.
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Keeps the calling thread on `cpu`.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = empty_set();
    // SAFETY: `cpu` is below `CPU_SETSIZE`, the number of bits in `set`.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the pointer and size name `set`, which the call only reads; 0 is this thread.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a structure of integers, for which all zeros is a valid value: the empty set.
    unsafe { std::mem::zeroed() }
}
