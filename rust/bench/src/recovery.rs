//! What was sent, and what became of it.

use std::time::Duration;

use tquic_core::path::PathLabel;
use tquic_core::recovery::{Recovery, RecoveryConfig, SentPacket, Token, TokenSink, Tokens};
use tquic_core::rng::Rng;
use tquic_core::space::AckTracker;
use tquic_core::time::Instant;
use tquic_core::tx::FrameWriter;
use tquic_wire::frame::next_frame;
use tquic_wire::{Frame, Reader, Space, StreamId};

/// Packets of a train.
const PACKETS: usize = 64;
/// Between trains.
const PAUSE: Duration = Duration::from_millis(1);
/// Of both ends.
const ACK_DELAY: Duration = Duration::from_millis(25);

/// Counts, so that nothing is left out.
#[derive(Default)]
struct Settled {
    acked: u64,
    lost: u64,
}

impl TokenSink for Settled {
    fn acked(&mut self, _: Space, _: Token) {
        self.acked += 1;
    }

    fn lost(&mut self, _: Space, _: Token) {
        self.lost += 1;
    }
}

/// A sender's recovery, and the receiver who acknowledges.
struct Path {
    now: Instant,
    rng: Rng,
    sender: Recovery,
    receiver: AckTracker,
    offset: u64,
    settled: Settled,
}

impl Path {
    fn new() -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            now,
            rng: Rng::from_seed([1; 32]),
            sender: Recovery::new(&RecoveryConfig::default(), now),
            receiver: AckTracker::new(Space::Data, ACK_DELAY),
            offset: 0,
            settled: Settled::default(),
        }
    }

    /// A train goes out, but for every `missing`th packet it comes through, and is acknowledged.
    fn train(&mut self, missing: Option<usize>) {
        for n in 0..PACKETS {
            let pn = self.sender.take_pn(Space::Data, &mut self.rng);
            let mut tokens = Tokens::new();
            tokens.push(Token::Stream {
                id: StreamId(0),
                offset: self.offset,
                len: 1400,
                fin: false,
            });
            self.offset += 1400;
            let packet = SentPacket {
                time_sent: self.now,
                size: 1452,
                ack_eliciting: true,
                in_flight: true,
                tokens,
                ..SentPacket::default()
            };
            self.sender.on_packet_sent(Space::Data, pn, packet);
            if missing.is_none_or(|every| n % every != 0) {
                self.receiver.on_received(self.now, pn, true, None);
            }
        }
        self.now += PAUSE;
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        let (mut buf, mut tokens) = ([0; 1400], Tokens::new());
        let mut fw = FrameWriter::new(&mut buf, &mut tokens);
        assert!(self.receiver.write(self.now, &mut fw, 3, PathLabel::default()));
        let written = fw.position();
        let Ok(Frame::Ack(ack)) = next_frame(&mut Reader::new(&buf[..written])) else {
            unreachable!("an ACK frame was written")
        };
        self.sender
            .on_ack(self.now, Space::Data, &ack, Duration::ZERO, ACK_DELAY, &mut self.settled)
            .unwrap();
        self.receiver.on_ack_acked(ack.largest);
    }
}

/// A train of which everything comes through.
pub fn acknowledge() -> Box<dyn FnMut()> {
    let mut path = Path::new();
    Box::new(move || {
        let before = path.settled.acked;
        path.train(None);
        assert_eq!(path.settled.acked - before, PACKETS as u64);
    })
}

/// A train of which every eighth packet is lost.
pub fn lose() -> Box<dyn FnMut()> {
    let mut path = Path::new();
    Box::new(move || {
        let before = path.settled.lost;
        path.train(Some(8));
        assert!(path.settled.lost > before);
    })
}
