//! A descriptor that is readable and writable when its socket is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

/// The far end of a pair whose near end the program has.
///
/// A byte that waits in the near end makes it readable; bytes that wait in the far one, as many as
/// there is room for, make the near end unwritable. Nobody reads what they are.
#[derive(Debug)]
pub(crate) struct Readiness {
    far: OwnedFd,
    readable: bool,
    writable: bool,
}

impl Readiness {
    /// The near end, writable and not readable, and ours.
    pub fn pair() -> io::Result<(OwnedFd, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The least that the system gives, so that a few bytes fill it.
        rustix::net::sockopt::set_socket_send_buffer_size(&near, 1)?;
        Ok((near, Self { far, readable: false, writable: true }))
    }

    /// To hear when no copy of the near end is left.
    pub fn far(&self) -> BorrowedFd<'_> {
        self.far.as_fd()
    }

    /// Makes the near end readable, or no longer so.
    pub fn set_readable(&mut self, near: Option<BorrowedFd<'_>>, readable: bool) {
        if readable == self.readable {
            return;
        }
        if readable {
            // If nobody has the near end, nobody wants to know.
            let _ = send(&self.far, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            self.readable = true;
        } else if let Some(near) = near {
            drain(near);
            self.readable = false;
        }
    }

    /// Makes the near end writable, or no longer so.
    pub fn set_writable(&mut self, near: Option<BorrowedFd<'_>>, writable: bool) {
        if writable == self.writable {
            return;
        }
        if writable {
            drain(self.far.as_fd());
            self.writable = true;
        } else if let Some(near) = near {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            while matches!(send(near, b"!", flags), Ok(1) | Err(Errno::INTR)) {}
            self.writable = false;
        }
    }
}

/// Reads everything there is.
fn drain(end: BorrowedFd<'_>) {
    let mut buffer = [0_u8; 256];
    loop {
        match recv(end, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((1.., _)) | Err(Errno::INTR) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn look(near: &OwnedFd) -> (bool, bool) {
        let mut fds = [PollFd::new(near, PollFlags::IN | PollFlags::OUT)];
        poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        let seen = fds[0].revents();
        (seen.contains(PollFlags::IN), seen.contains(PollFlags::OUT))
    }

    #[test]
    fn the_near_end_shows_what_it_is_told() {
        let (near, mut ready) = Readiness::pair().unwrap();
        assert_eq!(look(&near), (false, true));
        for _ in 0..100 {
            ready.set_readable(None, true);
            ready.set_readable(None, true);
            assert_eq!(look(&near), (true, true));
            ready.set_writable(Some(near.as_fd()), false);
            assert_eq!(look(&near), (true, false));
            ready.set_readable(Some(near.as_fd()), false);
            assert_eq!(look(&near), (false, false));
            ready.set_writable(None, true);
            assert_eq!(look(&near), (false, true));
        }
    }
}
