//! Sending: deciding what goes into a packet and writing it there.

pub mod writer;

pub use writer::FrameWriter;
