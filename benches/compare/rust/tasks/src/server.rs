//! Answers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use compare_common::Result;
use compare_common::options;
use compare_common::pattern::{Request, piece};
use compare_common::report::{Totals, listening};

use crate::{CHUNKS, Connection, Established, Handle, Receiver, Sender, Server};

/// Accepts for ever.
pub async fn serve<S: Server>(options: options::Server, totals: Arc<Totals>) -> Result<()> {
    let (mut server, address) = S::listen(&options)?;
    listening(address);
    while let Some(incoming) = server.incoming().await {
        let totals = totals.clone();
        tokio::spawn(async move {
            // One that failed is not counted, and that is seen.
            if let Ok((connection, established)) = S::establish(incoming).await {
                attend(connection, established, totals).await;
            }
        });
    }
    Ok(())
}

async fn attend<C: Connection>(mut connection: C, established: Established, totals: Arc<Totals>) {
    let mut handle = connection.handle();
    let counters = totals.clone();
    tokio::spawn(async move {
        if established.await {
            counters.connected();
        }
        while handle.receive_datagram().await.is_ok() {
            counters.datagrams.fetch_add(1, Relaxed);
        }
    });
    while let Some((sender, receiver)) = connection.accept().await {
        let totals = totals.clone();
        tokio::spawn(async move {
            // Without its answer the client notices.
            let _ = answer(sender, receiver, &totals).await;
        });
    }
}

async fn answer(
    mut sender: impl Sender,
    mut receiver: impl Receiver,
    totals: &Totals,
) -> Result<()> {
    let mut request = Request::default();
    let mut chunks = [const { Bytes::new() }; CHUNKS];
    loop {
        let count = receiver.read(&mut chunks).await?;
        if count == 0 {
            break;
        }
        for chunk in &mut chunks[..count] {
            request.take(&std::mem::take(chunk));
        }
    }
    totals.count(&request);
    send_pattern(&mut sender, request.wanted()).await?;
    sender.finish()
}

/// Sends so many bytes.
pub async fn send_pattern(sender: &mut impl Sender, total: u64) -> Result<()> {
    let mut sent = 0;
    while sent < total {
        let data = piece(sent, total - sent);
        sender.write(Bytes::from_static(data)).await?;
        sent += data.len() as u64;
    }
    Ok(())
}
