//! The engine as a running thing: shard threads that own endpoints and sockets, applications in Rust
//! that run inside them, and the bridge over which another language drives connections.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking"))]

mod application;
pub mod bridge;
mod config;
mod engine;
mod exchange;
pub mod h3;
pub mod hq;
mod key;
pub mod live;
pub mod many;
pub mod perf;
pub mod pump;
pub mod scheduler;
mod shard;
mod stats;

pub use application::{Application, ByAlpn, Context};
pub use config::{
    Accepted, Acceptor, ConnectRequest, EngineConfig, ListenRequest, ListenerId, LocalAddress, Log,
};
pub use engine::{Engine, EngineError, Listening, Prepared, SharedPort};
pub use exchange::{Response, Template};
pub use key::ConnectionKey;
pub use stats::{ConnectionSnapshot, ShardStats};
