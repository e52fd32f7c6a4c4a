//! Two UDP sockets as one, so that a quinn endpoint can be reached at its preferred address too.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// Peers remembered at most; a test has one.
const MAX_PEERS: usize = 1024;

/// Answers a peer from the second socket once that has heard it: a PATH_RESPONSE has to come from
/// where the PATH_CHALLENGE went, and quinn does not say where that was.
#[derive(Debug)]
pub struct TwoSockets {
    sockets: [Arc<dyn AsyncUdpSocket>; 2],
    heard_on: Mutex<HashMap<SocketAddr, usize>>,
}

impl TwoSockets {
    pub fn new(first: Arc<dyn AsyncUdpSocket>, second: Arc<dyn AsyncUdpSocket>) -> Self {
        Self { sockets: [first, second], heard_on: Mutex::default() }
    }
}

impl AsyncUdpSocket for TwoSockets {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.sockets[0].clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let heard_on = self.heard_on.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = heard_on.get(&transmit.destination).copied().unwrap_or_default();
        self.sockets[socket].try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // The second socket, where less arrives, first: a busy one must not starve it.
        for (index, socket) in self.sockets.iter().enumerate().rev() {
            if let Poll::Ready(result) = socket.poll_recv(context, buffers, meta) {
                let count = result?;
                let mut heard_on = self.heard_on.lock().unwrap_or_else(PoisonError::into_inner);
                if heard_on.len() + count > MAX_PEERS {
                    heard_on.clear();
                }
                for meta in meta.iter().take(count) {
                    let socket = heard_on.entry(meta.addr).or_default();
                    *socket = index.max(*socket);
                }
                return Poll::Ready(Ok(count));
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.sockets[0].local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.sockets[0].max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.sockets[0].max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.sockets[0].may_fragment()
    }
}
