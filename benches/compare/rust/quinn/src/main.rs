//! The driver over quinn.

use bytes::Bytes;
use quinn as stack;
use stack::{ReadError, RecvStream};

mod driver;

fn main() -> compare_common::Result<()> {
    driver::main()
}

async fn read_chunks(
    stream: &mut RecvStream,
    chunks: &mut [Bytes],
) -> Result<Option<usize>, ReadError> {
    stream.read_chunks(chunks).await
}
