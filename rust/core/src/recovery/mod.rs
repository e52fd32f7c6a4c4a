//! Loss detection and what packets carried (RFC 9002).

pub mod token;

pub use token::{Token, Tokens};
