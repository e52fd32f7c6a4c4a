//! One connection that may become the fetch's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tquic_core::Connection;
use tquic_core::events::{ConnectionError, Event};
use tquic_core::handshake::ZeroRtt;
use tquic_core::time::Instant;

use super::download::Downloads;
use super::{Ending, SessionFacts, Shared};
use crate::stats::ConnectionSnapshot;
use crate::{Application, ConnectRequest, ConnectionKey, Context};

/// After this time without an answer the next address is tried, too (RFC 8305 section 5 advises
/// 250 ms for TCP).
const NEXT_ADDRESS: Duration = Duration::from_millis(300);
/// How often something is looked at that no event tells of.
const LOOK: Duration = Duration::from_millis(2);
/// How long a session ticket is waited for.
const TICKET: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Attempt {
    shared: Arc<Shared>,
    index: usize,
    remote: SocketAddr,
    began: Option<Instant>,
    handshake: Option<Duration>,
    /// There once this is the connection that is used.
    downloads: Option<Downloads>,
    keys_updated: bool,
    /// Everything is there since.
    complete: Option<Instant>,
    over: bool,
}

impl Attempt {
    pub fn new(shared: Arc<Shared>, index: usize, remote: SocketAddr) -> Self {
        let keys_updated = !shared.setup.update_keys;
        Self {
            shared,
            index,
            remote,
            began: None,
            handshake: None,
            downloads: None,
            keys_updated,
            complete: None,
            over: false,
        }
    }

    /// Uses this connection, unless another one is used already.
    fn claim(&mut self, key: ConnectionKey) -> bool {
        let mut state = self.shared.lock();
        let &mut (winner, _) = state.winner.get_or_insert((self.index, key));
        drop(state);
        if winner == self.index && self.downloads.is_none() {
            self.downloads = Some(Downloads::new(self.shared.clone()));
        }
        winner == self.index
    }

    /// Begins with the next address, once.
    fn try_next(&self, context: &mut Context<'_>) {
        let next = self.index + 1;
        let Some(&remote) = self.shared.setup.addresses.get(next) else { return };
        {
            let mut state = self.shared.lock();
            if state.begun > next || state.winner.is_some() || state.cancelled {
                return;
            }
            state.begun = next + 1;
        }
        let request = ConnectRequest { remote, ..self.shared.setup.request.clone() };
        context.connect(request, Box::new(Self::new(self.shared.clone(), next, remote)));
    }

    /// The connection is over.
    fn end(&mut self, error: ConnectionError, connection: Option<&mut Connection>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(downloads) = &mut self.downloads {
            downloads.abandon(&error);
        }
        let why = error.to_string();
        let ending = Ending {
            error,
            remote: self.remote,
            handshake: self.handshake,
            session: connection.as_deref().map(SessionFacts::of).unwrap_or_default(),
            snapshot: connection.map(ConnectionSnapshot::of).unwrap_or_default(),
        };
        let last = {
            let mut state = self.shared.lock();
            state.failed += 1;
            match state.winner {
                Some((winner, _)) => winner == self.index,
                None => {
                    // Silence says the least.
                    let silent = |e: &Ending| matches!(e.error, ConnectionError::HandshakeTimeout);
                    if state.ending.as_ref().is_none_or(silent) {
                        state.ending = Some(ending.clone());
                    }
                    state.failed == state.begun
                }
            }
        };
        match &self.downloads {
            _ if !last => {}
            Some(downloads) => downloads.finish(Some(ending), &why),
            None => self.shared.finish(None, &why),
        }
    }

    fn on_first_call(&mut self, context: &mut Context<'_>) {
        self.began = Some(context.now);
        let mut state = self.shared.lock();
        state.keys.push(context.key);
        if state.cancelled {
            drop(state);
            context.connection.close(context.now, 0, b"");
        }
    }

    /// While another connection may still be the one.
    fn race(&mut self, context: &mut Context<'_>, began: Instant) {
        let lost = self.shared.lock().winner.is_some_and(|(winner, _)| winner != self.index);
        if lost {
            return context.connection.close(context.now, 0, b"");
        }
        let next = began + NEXT_ADDRESS;
        if context.now >= next {
            self.try_next(context);
        } else if self.index + 1 < self.shared.setup.addresses.len() {
            context.wake_at = Some(next);
        }
    }

    /// Everything is there: whether to stay for something else.
    fn lingers(&mut self, now: Instant) -> bool {
        let complete = *self.complete.get_or_insert(now);
        let ticket = match &self.shared.setup.await_ticket {
            Some(store) => store.is_empty() && now < complete + TICKET,
            None => false,
        };
        ticket || !self.keys_updated && now < complete + TICKET
    }
}

impl Application for Attempt {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => {
                self.handshake = self.began.map(|began| context.now - began);
                if !self.claim(context.key) {
                    context.connection.close(context.now, 0, b"");
                }
            }
            Event::Stream(event) => {
                if let Some(downloads) = &mut self.downloads {
                    downloads.on_event(context, event);
                }
            }
            Event::Closed(error) => {
                self.try_next(context);
                self.end(error, Some(context.connection));
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        if self.began.is_none() {
            self.on_first_call(context);
        }
        if self.downloads.is_none() && context.connection.handshake().zero_rtt() == ZeroRtt::Offered
        {
            self.claim(context.key);
        }
        let began = self.began.unwrap_or(context.now);
        let Some(downloads) = &mut self.downloads else { return self.race(context, began) };
        let stalled = downloads.drive(context);
        let done = downloads.is_done();
        let storing = downloads.is_storing();
        if !self.keys_updated {
            self.keys_updated = context.connection.update_keys(context.now);
        }
        if done && !self.lingers(context.now) {
            context.connection.close(context.now, 0, b"");
        } else if stalled || storing || done || !self.keys_updated {
            context.wake_at = Some(context.now + LOOK);
        }
    }

    fn on_refused(&mut self, _key: ConnectionKey, error: ConnectionError) {
        self.end(error, None);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Without a word of its end: the engine was shut down, or something in here panicked.
        let why = "the engine ended before the connection did";
        self.end(ConnectionError::Refused(why.into()), None);
    }
}
