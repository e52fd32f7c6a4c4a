//! What happened in a connection, for people and their tools: qlog ([`qlog`]) and USDT probes
//! ([`probes`]) from the events that the core tells (`tquic_core::trace`).
//!
//! Nothing here blocks the thread that the connection runs in: a probe that nobody is attached to costs
//! a test in the core, qlog records go to a writer thread through a buffer with a bound.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking"))]

pub mod json;
pub mod probes;
pub mod qlog;

use std::sync::Arc;

use tquic_core::time::Instant;
use tquic_core::trace::{Event, Mask, Observer, Subject, Tally, Tracer};

use probes::Probes;
use qlog::{Qlog, QlogConfig};

/// Gives connections their observers: for their qlog, if there is to be one, and for whoever is
/// attached to the probes.
#[derive(Clone, Debug, Default)]
pub struct Tracing {
    qlog: Option<Arc<QlogConfig>>,
}

impl Tracing {
    /// Probes, and a qlog for each connection if `qlog` is given.
    pub fn new(qlog: Option<QlogConfig>) -> Self {
        Self { qlog: qlog.map(Arc::new) }
    }
}

impl Tracer for Tracing {
    fn observe(&self, subject: &Subject) -> Option<Box<dyn Observer>> {
        let qlog = self.qlog.as_ref().map(|config| Qlog::new(config, subject));
        if qlog.is_none() && probes::wanted().is_empty() {
            return None;
        }
        Some(Box::new(Both { qlog, probes: Probes::new(subject) }))
    }
}

/// A connection's qlog and its probes.
struct Both {
    qlog: Option<Qlog>,
    probes: Probes,
}

impl Observer for Both {
    fn mask(&self) -> Mask {
        probes::wanted() | self.qlog.as_ref().map_or(Mask::NONE, Qlog::mask)
    }

    fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        self.probes.on_event(now, event);
        if let Some(qlog) = &mut self.qlog {
            qlog.on_event(now, event);
        }
    }

    fn on_batch_end(&mut self) {
        if let Some(qlog) = &mut self.qlog {
            qlog.hand_over();
        }
    }

    fn tally(&self) -> Tally {
        self.qlog.as_ref().map_or_else(Tally::default, Qlog::tally)
    }
}
