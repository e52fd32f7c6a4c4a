//! Small exchanges over a link that loses a third of everything, in bursts: each must come to its end.

mod pair;

use std::time::Duration;

use bytes::Bytes;
use pair::Pair;
use tquic_core::config::TransportConfig;
use tquic_core::events::Event;
use tquic_core::stream::StreamEvent;
use tquic_wire::Direction;

/// Loses bursts of one to three datagrams, 30 % altogether.
fn losses(seed: u64) -> pair::Meddler {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut burst = 0;
    Box::new(move |_, _| {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 33
        };
        if burst == 0 && next() % 100 < 18 {
            burst = 1 + next() % 3;
        }
        let lost = burst > 0;
        burst = burst.saturating_sub(1);
        !lost
    })
}

#[allow(clippy::unwrap_used, reason = "a test double fails by panicking")]
fn exchange(seed: u64) -> bool {
    let config = TransportConfig {
        max_idle_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(100),
        ..TransportConfig::default()
    };
    let mut p = Pair::with(config.clone(), config, |a| a);
    p.delay = Duration::from_millis(15);
    p.client.meddler = Some(losses(seed * 2));
    p.server.meddler = Some(losses(seed * 2 + 1));
    let h = p.connect();
    let (mut asked, mut received) = (None, 0);
    p.run_until(Duration::from_secs(300), |p| {
        for (_, event) in std::mem::take(&mut p.server.events) {
            if let Event::Stream(StreamEvent::Readable { id }) = event {
                let streams = p.server_conn().streams();
                let fin = matches!(streams.read(id, 1000), Ok(Some(chunk)) if chunk.fin);
                if fin {
                    streams.write(id, Bytes::from(vec![7; 1024])).unwrap();
                    streams.finish(id).unwrap();
                }
            }
        }
        for (_, event) in std::mem::take(&mut p.client.events) {
            if let Event::Closed(why) = event {
                eprintln!("seed {seed}, received {received}: {why}");
                return true;
            }
        }
        let streams = p.client_conn(h).streams();
        if asked.is_none()
            && let Some(id) = streams.open(Direction::Bidirectional)
        {
            streams.write(id, Bytes::from_static(b"GET /something\r\n")).unwrap();
            streams.finish(id).unwrap();
            asked = Some(id);
        }
        while let Some(Ok(Some(chunk))) = asked.map(|id| streams.read(id, 2000)) {
            received += chunk.data.len();
            if chunk.fin {
                return true;
            }
        }
        false
    });
    received == 1024
}

/// Even a window full of Handshake packets that the client cannot read yet must not hold back the
/// rest of the ServerHello.
#[test]
fn every_exchange_comes_to_its_end() {
    let failed: Vec<u64> = (0..300).filter(|seed| !exchange(*seed)).collect();
    assert!(failed.is_empty(), "seeds {failed:?}");
}
