//! Systems without AF_XDP: an interface that cannot be opened.

use std::convert::Infallible;
use std::io;

use super::{Options, Stats};
use crate::os::Poller;
use crate::udp::{self, RecvBatch, Sent, Transmit, UdpSocket};

/// Whether this process may use AF_XDP.
pub fn is_available() -> bool {
    false
}

/// An interface; there are none.
pub struct Interface(Infallible);

impl Interface {
    /// Always an error.
    pub fn open(_options: &Options) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "AF_XDP is Linux's"))
    }

    /// Not reached, as all below.
    pub fn watch(&self, _poller: &mut Poller, _token: impl Fn(usize) -> usize) -> io::Result<()> {
        match self.0 {}
    }

    /// Not reached.
    pub fn claim(&mut self, _socket: &UdpSocket) {
        match self.0 {}
    }

    /// Not reached.
    pub fn release(&mut self, _socket: &UdpSocket) {
        match self.0 {}
    }

    /// Not reached.
    pub fn recv(&mut self, _queue: usize, _batch: &mut RecvBatch) -> usize {
        match self.0 {}
    }

    /// Not reached.
    pub fn send(&mut self, _socket: &UdpSocket, _batch: &[Transmit<'_>]) -> io::Result<Sent> {
        match self.0 {}
    }

    /// Not reached.
    pub fn has_waiting(&self) -> bool {
        match self.0 {}
    }

    /// Not reached.
    pub fn flush(&mut self) {
        match self.0 {}
    }

    /// Not reached.
    pub fn take_news(&mut self) -> Option<String> {
        match self.0 {}
    }

    /// Not reached.
    pub fn stats(&self) -> Stats {
        match self.0 {}
    }

    /// Not reached.
    pub fn socket_stats(&self) -> udp::Stats {
        match self.0 {}
    }
}
