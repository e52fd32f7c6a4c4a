//! A file descriptor that is readable while events wait.

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    /// An eventfd.
    pub struct Notifier(OwnedFd);

    impl Notifier {
        pub fn new() -> io::Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
        }

        /// Makes it readable. Each shard writes once at most before it is read, so there is always room.
        pub fn set(&self) {
            let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        }

        /// Makes it unreadable.
        pub fn clear(&self) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }

        pub fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod system {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    /// Two ends of a socket: a byte in it is a signal.
    pub struct Notifier {
        sender: UnixStream,
        receiver: UnixStream,
    }

    impl Notifier {
        pub fn new() -> io::Result<Self> {
            let (sender, receiver) = UnixStream::pair()?;
            sender.set_nonblocking(true)?;
            receiver.set_nonblocking(true)?;
            Ok(Self { sender, receiver })
        }

        /// Makes it readable. Each shard writes once at most before it is read, so there is always room.
        pub fn set(&self) {
            let _ = (&self.sender).write(&[1]);
        }

        /// Makes it unreadable.
        pub fn clear(&self) {
            let _ = (&self.receiver).read(&mut [0; 8]);
        }

        pub fn fd(&self) -> BorrowedFd<'_> {
            self.receiver.as_fd()
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    /// Nothing to poll here: `Bridge::wait` is the way.
    pub struct Notifier;

    impl Notifier {
        pub fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub fn set(&self) {}

        pub fn clear(&self) {}
    }
}

pub use system::Notifier;
