//! The C library's own functions, found behind ours.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};

/// A function that is looked up when it is first needed.
pub struct Symbol {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Symbol {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Its address. There is no going on without the C library.
    pub fn address(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if !found.is_null() {
            return found;
        }
        // SAFETY: the name ends with a zero; RTLD_NEXT asks for what comes behind this library.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr().cast::<c_char>()) };
        if found.is_null() {
            std::process::abort();
        }
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

macro_rules! real {
    ($($name:ident = $symbol:literal ($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(
            pub unsafe fn $name($($arg: $kind),*) -> $result {
                static SYMBOL: Symbol = Symbol::new($symbol);
                type Function = unsafe extern "C" fn($($kind),*) -> $result;
                let address = SYMBOL.address();
                // SAFETY: the C library's function of this name has this type.
                let function = unsafe { std::mem::transmute::<*mut c_void, Function>(address) };
                // SAFETY: the caller's arguments are those of the function.
                unsafe { function($($arg),*) }
            }
        )*
    };
}

real! {
    socket = c"socket" (domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    bind = c"bind" (fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    listen = c"listen" (fd: c_int, backlog: c_int) -> c_int;
    accept4 = c"accept4" (fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int;
    connect = c"connect" (fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    shutdown = c"shutdown" (fd: c_int, how: c_int) -> c_int;
    getsockname = c"getsockname" (fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    getpeername = c"getpeername" (fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    getsockopt = c"getsockopt" (fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int;
    setsockopt = c"setsockopt" (fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) -> c_int;
    sendmsg = c"sendmsg" (fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    recvmsg = c"recvmsg" (fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    sendto = c"sendto" (fd: c_int, data: *const c_void, size: size_t, flags: c_int, address: *const sockaddr, length: socklen_t) -> ssize_t;
    recvfrom = c"recvfrom" (fd: c_int, data: *mut c_void, size: size_t, flags: c_int, address: *mut sockaddr, length: *mut socklen_t) -> ssize_t;
    read = c"read" (fd: c_int, data: *mut c_void, size: size_t) -> ssize_t;
    write = c"write" (fd: c_int, data: *const c_void, size: size_t) -> ssize_t;
    readv = c"readv" (fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    writev = c"writev" (fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    dup = c"dup" (fd: c_int) -> c_int;
    dup3 = c"dup3" (fd: c_int, to: c_int, flags: c_int) -> c_int;
    dup2 = c"dup2" (fd: c_int, to: c_int) -> c_int;
    fcntl = c"fcntl" (fd: c_int, command: c_int, argument: usize) -> c_int;
}
