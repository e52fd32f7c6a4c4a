//! The engine as a running thing: shard threads that own endpoints and sockets, applications in Rust
//! that run inside them, and the bridge over which another language drives connections.

mod application;

pub use application::{Application, Context};
