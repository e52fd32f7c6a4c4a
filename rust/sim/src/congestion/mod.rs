//! Congestion controllers on a shared bottleneck, measured against what is expected of them.
//!
//! A [`scenario`] is data: a path, flows, effects of hosts, and bands with their sources. [`run()`]
//! plays one with a controller and a seed. Senders and receivers are the engine's own loss detection,
//! sampler, pacer, controller and ACK rules; packets are descriptors, so that a core plays hundreds of
//! thousands of them in a second. [`run_on`] plays the same with whole connections.

mod cross;
pub mod matrix;
mod receiver;
pub mod report;
pub mod run;
pub mod scenario;
mod sender;
pub mod units;
mod whole;
mod world;

pub use run::{Run, run, run_on};
pub use scenario::{Expectation, Family, Quantity, Scenario, families};
pub use world::{FlowState, Tier};
