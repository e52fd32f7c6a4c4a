//! Why a call fails: a number as system calls give it, and a reason for people.

use std::fmt;

use rustix::io::Errno as Number;
use tquic_core::events::ConnectionError;
use tquic_engine::EngineError;
use tquic_engine::bridge::BridgeError;

/// The error numbers that calls on sockets give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! numbers {
    ($($name:ident = $number:ident, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Self = Self(Number::$number.raw_os_error());)*
        }
    };
}

numbers! {
    AGAIN = AGAIN, "It would block.";
    ALREADY = ALREADY, "A connection is being made already.";
    BAD_DESCRIPTOR = BADF, "It was closed.";
    BAD_ADDRESS_FAMILY = AFNOSUPPORT, "An address of another family.";
    CONNECTION_ABORTED = CONNABORTED, "The connection is over.";
    CONNECTION_REFUSED = CONNREFUSED, "The server takes no connection.";
    CONNECTION_RESET = CONNRESET, "The peer has ended the connection.";
    HOST_UNREACHABLE = HOSTUNREACH, "Nothing comes back on a path.";
    IN_PROGRESS = INPROGRESS, "A connection is being made.";
    INVALID = INVAL, "A value or state that does not fit.";
    IS_CONNECTED = ISCONN, "It is connected already.";
    MESSAGE_SIZE = MSGSIZE, "A datagram that is too large.";
    NO_BUFFERS = NOBUFS, "Too much waits.";
    NOT_CONNECTED = NOTCONN, "There is no connection.";
    NO_PROTOCOL_OPTION = NOPROTOOPT, "There is no such option.";
    NOT_SUPPORTED = OPNOTSUPP, "This cannot be done here.";
    PIPE = PIPE, "The stream, or this direction, is over.";
    PROTOCOL = PROTO, "An error against the protocol.";
    PROTOCOL_NOT_SUPPORTED = PROTONOSUPPORT, "No version in common.";
    RANGE = RANGE, "A number outside its limits.";
    TIMED_OUT = TIMEDOUT, "Nothing came for too long.";
    IO = IO, "Something failed that should not.";
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number.
    pub errno: Errno,
    /// Why, for people.
    pub reason: String,
}

impl Failure {
    /// With a reason.
    pub fn new(errno: Errno, reason: impl Into<String>) -> Self {
        Self { errno, reason: reason.into() }
    }

    /// There is nothing yet.
    pub(crate) fn again() -> Self {
        Self::new(Errno::AGAIN, "there is nothing yet")
    }

    /// How a connection ended.
    pub(crate) fn of_end(error: &ConnectionError) -> Self {
        let errno = match error {
            ConnectionError::Refused(_) => Errno::CONNECTION_REFUSED,
            ConnectionError::IdleTimeout | ConnectionError::HandshakeTimeout => Errno::TIMED_OUT,
            ConnectionError::StatelessReset | ConnectionError::PeerClose { .. } => {
                Errno::CONNECTION_RESET
            }
            ConnectionError::LocalClose { .. } => Errno::CONNECTION_ABORTED,
            ConnectionError::VersionMismatch { .. } => Errno::PROTOCOL_NOT_SUPPORTED,
            ConnectionError::Peer(e) | ConnectionError::Local(e)
                if e.code == tquic_wire::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Errno::CONNECTION_REFUSED
            }
            ConnectionError::Peer(_) | ConnectionError::Local(_) => Errno::PROTOCOL,
        };
        Self::new(errno, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

impl From<BridgeError> for Failure {
    fn from(error: BridgeError) -> Self {
        let errno = match error {
            // The event that says how is on its way.
            BridgeError::Closed(_) => Errno::AGAIN,
            BridgeError::UnknownStream | BridgeError::Ended => Errno::PIPE,
            BridgeError::WrongDirection => Errno::INVALID,
            BridgeError::Busy => Errno::NO_BUFFERS,
            BridgeError::DatagramTooLarge { max: 0 } => Errno::NOT_SUPPORTED,
            BridgeError::DatagramTooLarge { .. } => Errno::MESSAGE_SIZE,
        };
        Self::new(errno, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.raw_os_error().map_or(Errno::IO, Errno), error.to_string())
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Io(error) => error.into(),
            EngineError::Refused(why) => Self::new(Errno::INVALID, why),
            other => Self::new(Errno::CONNECTION_ABORTED, other.to_string()),
        }
    }
}
