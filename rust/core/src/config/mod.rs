//! Validated settings. Plain values, checked once, immutable afterwards.

pub mod endpoint;
pub mod transport;

pub use endpoint::{AcceptConfig, EndpointConfig, PreferredAddresses, RetryPolicy};
pub use transport::{ConfigError, TransportConfig};
