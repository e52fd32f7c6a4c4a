//! System calls that fail because a test says so.
//!
//! Only with the crate's feature `faults`, which tests turn on and nothing that is shipped does:
//! without it, sockets have not even the field.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::syscall::Message;

/// A system call that is about to be made for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening and binding it.
    Open,
    /// `sendmmsg`.
    Send {
        /// How many messages it is given.
        messages: usize,
        /// Bytes of the longest datagram.
        datagram: usize,
        /// Whether the first message is a train to be cut (`UDP_SEGMENT`).
        train: bool,
    },
    /// `sendmsg` with `MSG_ZEROCOPY`: a train of so many bytes.
    Lend(usize),
    /// `recvmmsg`.
    Receive,
}

/// What happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error number.
    Error(i32),
    /// Only so many messages are taken (`sendmmsg`); 0 counts as 1.
    Short(usize),
}

/// Decides about every call of the sockets that have it; [`SocketOptions::faults`] takes it.
///
/// [`SocketOptions::faults`]: crate::udp::SocketOptions::faults
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn(Call) -> Option<Fault> + Send + Sync>);

impl Faults {
    /// `decide` is called before each system call, in the thread that makes it.
    pub fn new(decide: impl Fn(Call) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// The error that `call` is to fail with, if any.
    pub(super) fn check(faults: Option<&Self>, call: Call) -> io::Result<()> {
        match faults.and_then(|faults| (faults.0)(call)) {
            Some(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(Fault::Short(_)) | None => Ok(()),
        }
    }

    /// Those of `messages` that the kernel gets to see.
    pub(super) fn send<'a, 'b>(
        faults: Option<&Self>,
        messages: &'a [Message<'b>],
    ) -> io::Result<&'a [Message<'b>]> {
        let Some(faults) = faults else { return Ok(messages) };
        let segment = |m: &Message<'_>| m.control.segment().map(usize::from);
        let call = Call::Send {
            messages: messages.len(),
            datagram: messages
                .iter()
                .map(|m| segment(m).unwrap_or(m.data.len()))
                .max()
                .unwrap_or(0),
            train: messages.first().is_some_and(|m| segment(m).is_some()),
        };
        match (faults.0)(call) {
            Some(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(Fault::Short(most)) => Ok(&messages[..messages.len().min(most.max(1))]),
            None => Ok(messages),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}
