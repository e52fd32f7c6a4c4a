//! What this process has used.

use std::time::Duration;

/// CPU time of all its threads, also those that have ended.
pub fn cpu_time() -> Duration {
    // SAFETY: all zeros are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `rusage` that lives through the call.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(result, 0, "getrusage of oneself cannot fail");
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Largest resident memory in bytes. Not `ru_maxrss`: that begins with what the parent had.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Waits in a thread of its own for SIGTERM or SIGINT, then calls. Threads that were started before
/// may get the signal instead, so call this first.
pub fn at_signal(call: impl FnOnce() + Send + 'static) {
    with_signals(|set| {
        // SAFETY: the set is initialised, the old mask is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, std::ptr::null_mut()) };
    });
    std::thread::spawn(move || {
        with_signals(|set| {
            let mut signal = 0;
            // SAFETY: the set is initialised, the signal's number has its place.
            unsafe { libc::sigwait(set, &raw mut signal) };
        });
        call();
    });
}

fn with_signals(call: impl FnOnce(*const libc::sigset_t)) {
    // SAFETY: all zeros are a valid set; the calls below only write into it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
    }
    call(&raw const set);
}
