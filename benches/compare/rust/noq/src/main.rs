//! The driver over noq, a fork of quinn.

use bytes::Bytes;
use noq as stack;
use stack::{ReadError, RecvStream};

#[path = "../../quinn/src/driver.rs"]
mod driver;

fn main() -> compare_common::Result<()> {
    driver::main()
}

async fn read_chunks(
    stream: &mut RecvStream,
    chunks: &mut [Bytes],
) -> Result<Option<usize>, ReadError> {
    stream.read_many_chunks(chunks).await
}
