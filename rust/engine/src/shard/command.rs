//! What other threads ask of a shard.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tquic_core::Connection;
use tquic_core::config::{AcceptConfig, EndpointConfig};
use tquic_core::endpoint::EndpointSecrets;
use tquic_core::time::Instant;
use tquic_net::os::Waker;
use tquic_net::udp::UdpSocket;

use crate::application::{Application, Message, Source, Supply, Tell};
use crate::bridge::Gate;
use crate::config::{Acceptor, ConnectRequest, ListenerId};
use crate::key::ConnectionKey;
use crate::live::Snapshot;
use crate::stats::{ConnectionSnapshot, ShardStats};

/// Commands that wait at most; a shard that is so far behind takes no more.
const MAX_COMMANDS: usize = 1 << 16;

/// A listener's part in one shard.
pub(crate) struct Listen {
    pub id: ListenerId,
    pub sockets: Vec<UdpSocket>,
    pub accept: AcceptConfig,
    pub endpoint: EndpointConfig,
    pub secrets: EndpointSecrets,
    pub acceptor: Acceptor,
    pub gate: Option<Arc<Gate>>,
}

/// A connection's part in one shard.
pub(crate) struct Connect {
    pub key: ConnectionKey,
    /// Bound already, if the request named an address.
    pub socket: Option<UdpSocket>,
    /// The shared socket to use; `None` for that of any address.
    pub source: Option<Source>,
    pub request: ConnectRequest,
    pub application: Box<dyn Application>,
}

/// Something that a shard does to a connection, at a time.
pub(crate) type Work = Box<dyn FnOnce(&mut Connection, Instant) -> Result<(), String> + Send>;

/// Something done to one connection.
pub(crate) enum Operation {
    Close {
        code: u64,
        reason: Vec<u8>,
    },
    Migrate {
        socket: UdpSocket,
        reply: SyncSender<Result<(), String>>,
    },
    /// To the server's present address, unless another is given.
    OpenPath {
        socket: UdpSocket,
        remote: Option<SocketAddr>,
        reply: SyncSender<Result<Option<u32>, String>>,
    },
    /// Something small that may fail.
    Do {
        work: Work,
        reply: SyncSender<Result<(), String>>,
    },
    UpdateKeys {
        reply: SyncSender<bool>,
    },
    Stats {
        reply: SyncSender<ConnectionSnapshot>,
    },
}

/// What a shard is asked.
pub(crate) enum Command {
    Connect(Box<Connect>),
    /// Many connections, one after another.
    Supply(Box<dyn Supply>),
    /// One message for many applications.
    Tell(Tell),
    Listen(Box<Listen>),
    Unlisten {
        id: ListenerId,
        /// Whether unfinished handshakes end.
        refuse: bool,
    },
    With(ConnectionKey, Box<Operation>),
    Stats(SyncSender<ShardStats>),
    /// The shard, and so many of its connections.
    Snapshot {
        most: usize,
        reply: SyncSender<Snapshot>,
    },
    Shutdown {
        deadline_nanos: u64,
        code: u64,
        reason: Vec<u8>,
    },
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Command>,
    /// Connections to be called. Those who ask see to it that none stands here often.
    wakes: Vec<ConnectionKey>,
    closed: bool,
}

/// The way into a shard.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    waker: Waker,
    shard: u8,
    next: AtomicU64,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The shard has ended.
    Closed,
    /// Too many wait.
    Full,
}

/// Has the connections' `on_message` called, each in its shard's thread.
pub(crate) fn tell(
    inboxes: &[Arc<Inbox>],
    keys: &[ConnectionKey],
    message: &Arc<dyn Message>,
) -> Result<(), Refusal> {
    for (at, inbox) in inboxes.iter().enumerate() {
        let keys = keys.iter().copied().filter(|key| key.shard() == at).collect();
        inbox.push(Command::Tell(Tell { keys, message: message.clone() }))?;
    }
    Ok(())
}

impl Inbox {
    pub fn new(shard: u8, waker: Waker) -> Self {
        // Key 0 is nobody's.
        Self { queue: Mutex::default(), waker, shard, next: AtomicU64::new(1) }
    }

    /// A name for a connection of this shard.
    pub fn key(&self) -> ConnectionKey {
        ConnectionKey::new(self.shard, self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, command: Command) -> Result<(), Refusal> {
        {
            let mut queue = self.lock();
            if queue.closed {
                return Err(Refusal::Closed);
            }
            if queue.commands.len() >= MAX_COMMANDS {
                return Err(Refusal::Full);
            }
            queue.commands.push_back(command);
        }
        self.wake_thread();
        Ok(())
    }

    /// Has the connection's `on_tick` called soon. The caller does not ask again before it was.
    pub fn wake(&self, key: ConnectionKey) {
        let first = {
            let mut queue = self.lock();
            if queue.closed {
                return;
            }
            queue.wakes.push(key);
            queue.wakes.len() == 1
        };
        // For those before this one the thread was woken, and has not looked since.
        if first {
            self.wake_thread();
        }
    }

    fn wake_thread(&self) {
        // Writing to an eventfd fails only if its counter is full, when the thread wakes anyway.
        let _ = self.waker.wake();
    }

    /// Moves everything that waits into `commands` and `wakes`.
    pub fn take(&self, commands: &mut VecDeque<Command>, wakes: &mut Vec<ConnectionKey>) {
        let mut queue = self.lock();
        commands.append(&mut queue.commands);
        wakes.append(&mut queue.wakes);
    }

    /// Nobody will look any more: what waits is dropped, and with it the senders of replies.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let dropped = (std::mem::take(&mut queue.commands), std::mem::take(&mut queue.wakes));
        drop(queue);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_net::os::Poller;

    #[test]
    fn a_closed_or_full_inbox_refuses() {
        let poller = Poller::new().unwrap();
        let inbox = Inbox::new(3, poller.waker());
        assert_eq!(inbox.key().shard(), 3);
        assert_ne!(inbox.key(), inbox.key());
        for _ in 0..MAX_COMMANDS {
            inbox.push(Command::Unlisten { id: ListenerId(0), refuse: false }).unwrap();
        }
        assert_eq!(
            inbox.push(Command::Unlisten { id: ListenerId(0), refuse: false }),
            Err(Refusal::Full)
        );
        let (mut commands, mut wakes) = (VecDeque::new(), Vec::new());
        inbox.wake(inbox.key());
        inbox.take(&mut commands, &mut wakes);
        assert_eq!((commands.len(), wakes.len()), (MAX_COMMANDS, 1));
        inbox.close();
        assert_eq!(
            inbox.push(Command::Unlisten { id: ListenerId(0), refuse: false }),
            Err(Refusal::Closed)
        );
    }
}
