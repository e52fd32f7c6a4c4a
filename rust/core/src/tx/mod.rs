//! The way of sent data: decide what may go (`plan`), lay packets into a burst buffer (`train` for
//! 1-RTT data, `coalesce` for the handshake, `special` for the rest), ask each owner to write
//! (`sources`), seal, mask, and account for it (`packet`).

mod coalesce;
mod packet;
mod plan;
mod sources;
mod special;
mod train;
mod writer;

pub(crate) use packet::Draft;
pub use plan::Transmit;
pub use writer::FrameWriter;
