//! Does the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use compare_common::Result;
use compare_common::latency::Latencies;
use compare_common::options::{self, Kind, Work, share};
use compare_common::pattern::{Checker, piece};
use compare_common::report::{Done, Watch, print};
use compare_common::tls::Sessions;
use tokio::task::JoinSet;

use crate::server::send_pattern;
use crate::{CHUNKS, Client, Connection, Handle, Receiver, Sender};

/// Does it and prints the report.
pub async fn run<C: Client>(options: options::Client) -> Result<()> {
    let sessions = Arc::<Sessions>::default();
    let kind = match options.work {
        Work::Handshakes { kind, .. } => kind,
        _ => Kind::Full,
    };
    let client = C::new(&options, kind, &sessions)?;
    match options.work {
        Work::Bulk { download, upload, streams } => {
            let connection = client.connect().await?;
            let watch = Watch::start();
            let done = bulk(connection.handle(), download, upload, streams).await?;
            print(done, watch.stop());
            connection.handle().close();
        }
        Work::Requests { requests, inflight, response, connections } => {
            let mut open = Vec::new();
            for _ in 0..connections {
                open.push(client.connect().await?);
            }
            let handles = open.iter().map(Connection::handle).collect();
            let watch = Watch::start();
            let done = exchanges(handles, requests, inflight, response).await?;
            print(done, watch.stop());
        }
        Work::Handshakes { count, kind } => {
            if kind.resumes() {
                fetch_ticket(&client, &sessions).await?;
            }
            let watch = Watch::start();
            let done = handshakes(&client, count, kind, &sessions).await?;
            print(done, watch.stop());
        }
        Work::Datagrams { count, size } => {
            let mut handle = client.connect().await?.handle();
            let watch = Watch::start();
            let data = Bytes::from_static(piece(0, size));
            for _ in 0..count {
                handle.send_datagram(data.clone()).await?;
            }
            // Answered when all that was sent before has left.
            let _ = exchange(&mut handle, 1).await?;
            print(Done { bytes: count * size, count, ..Done::default() }, watch.stop());
        }
        Work::Idle { connections, seconds } => {
            let watch = Watch::start();
            let mut open = Vec::new();
            for _ in 0..connections {
                open.push(client.connect().await?);
            }
            print(Done { count: open.len() as u64, ..Done::default() }, watch.stop());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }
    Ok(())
}

async fn bulk<H: Handle>(handle: H, download: u64, upload: u64, streams: u64) -> Result<Done> {
    let mut tasks = JoinSet::new();
    for index in 0..streams {
        let mut handle = handle.clone();
        let (down, up) = (share(download, streams, index), share(upload, streams, index));
        tasks.spawn(async move {
            let (mut sender, mut receiver) = handle.open().await?;
            sender.write(Bytes::copy_from_slice(&down.to_be_bytes())).await?;
            send_pattern(&mut sender, up).await?;
            sender.finish()?;
            let checker = receive(&mut receiver).await?;
            whole(&checker, down)?;
            Result::Ok(Done {
                bytes: up + down,
                count: 1,
                mismatches: checker.mismatches,
                ..Done::default()
            })
        });
    }
    collect(tasks).await
}

async fn exchanges<H: Handle>(
    handles: Vec<H>,
    requests: u64,
    inflight: u64,
    response: u64,
) -> Result<Done> {
    let left = Arc::new(AtomicU64::new(requests));
    let mut tasks = JoinSet::new();
    let slots = handles.len() as u64 * inflight;
    for handle in &handles {
        for _ in 0..inflight {
            let (mut handle, left) = (handle.clone(), left.clone());
            tasks.spawn(async move {
                let mut done = Done {
                    latencies: Latencies::with_capacity((requests / slots) as usize * 2),
                    ..Done::default()
                };
                while left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    let checker = exchange(&mut handle, response).await?;
                    done.latencies.record(begun.elapsed());
                    done.bytes += checker.offset;
                    done.count += 1;
                    done.mismatches += checker.mismatches;
                }
                Ok(done)
            });
        }
    }
    collect(tasks).await
}

async fn collect(mut tasks: JoinSet<Result<Done>>) -> Result<Done> {
    let mut sum = Done::default();
    while let Some(done) = tasks.join_next().await {
        sum.add(&done??);
    }
    Ok(sum)
}

async fn exchange(handle: &mut impl Handle, response: u64) -> Result<Checker> {
    let (mut sender, mut receiver) = handle.open().await?;
    sender.write(Bytes::copy_from_slice(&response.to_be_bytes())).await?;
    sender.finish()?;
    let checker = receive(&mut receiver).await?;
    whole(&checker, response)?;
    Ok(checker)
}

async fn receive(receiver: &mut impl Receiver) -> Result<Checker> {
    let mut checker = Checker::default();
    let mut chunks = [const { Bytes::new() }; CHUNKS];
    loop {
        let count = receiver.read(&mut chunks).await?;
        if count == 0 {
            return Ok(checker);
        }
        for chunk in &mut chunks[..count] {
            checker.check(&std::mem::take(chunk));
        }
    }
}

fn whole(checker: &Checker, wanted: u64) -> Result<()> {
    if checker.offset == wanted {
        return Ok(());
    }
    Err(format!("{} bytes came where {wanted} were asked for", checker.offset).into())
}

/// A ticket may come behind the end of the handshake.
async fn fetch_ticket<C: Client>(client: &C, sessions: &Sessions) -> Result<()> {
    let connection = client.connect().await?;
    wait_for_ticket(sessions).await;
    connection.handle().close();
    Ok(())
}

async fn wait_for_ticket(sessions: &Sessions) {
    std::future::poll_fn(|context| sessions.poll_ticket(context)).await;
}

async fn handshakes<C: Client>(
    client: &C,
    count: u64,
    kind: Kind,
    sessions: &Sessions,
) -> Result<Done> {
    let mut done = Done::default();
    for _ in 0..count {
        let begun = Instant::now();
        let connection = if kind == Kind::ZeroRtt {
            let (connection, accepted) = client.connect_early()?;
            let checker = exchange(&mut connection.handle(), 1).await?;
            done.mismatches += checker.mismatches;
            if !accepted.await {
                return Err("the server has refused early data".into());
            }
            connection
        } else {
            client.connect().await?
        };
        if kind == Kind::FirstByte {
            done.mismatches += exchange(&mut connection.handle(), 1).await?.mismatches;
        }
        done.latencies.record(begun.elapsed());
        done.count += 1;
        if kind.resumes() {
            wait_for_ticket(sessions).await;
        }
        connection.handle().close();
    }
    Ok(done)
}
