//! A server that answers every request with the same bytes: what generators of load are tried on.

use bytes::Bytes;
use tquic_core::events::Event;
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_wire::{Direction, Side, StreamId};

use crate::application::{Application, Context};
use crate::config::Acceptor;

/// The application of one accepted connection. Requests are read to their ends, and not looked at.
pub struct Responder {
    response: Bytes,
}

impl Responder {
    /// For [`Engine::listen`](crate::Engine::listen). `response`: its frames, encoded.
    pub fn acceptor(response: Bytes) -> Acceptor {
        std::sync::Arc::new(move |_| Box::new(Self { response: response.clone() }))
    }

    fn on_readable(&self, streams: &mut StreamSet, id: StreamId) {
        let Ok(consumed) = streams.read_with(id, |_, piece| piece.len()) else { return };
        let is_request =
            id.direction() == Direction::Bidirectional && id.initiator() == Side::Client;
        if consumed.fin && is_request {
            // A fresh stream takes one write of any size; a client that has stopped it needs none.
            let _ = streams.write(id, self.response.clone());
            let _ = streams.finish(id);
        }
    }
}

impl Application for Responder {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        let streams = context.connection.streams();
        match event {
            Event::Connected => {
                // A client that allows no stream for it breaks RFC 9114 section 6.2.
                let _ = super::open_control(streams);
            }
            Event::Stream(StreamEvent::Readable { id }) => self.on_readable(streams, id),
            Event::Stream(StreamEvent::Stopped { id, code }) => {
                let _ = streams.reset(id, code);
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, _: &mut Context<'_>) {}
}
