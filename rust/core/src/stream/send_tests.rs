use super::super::StreamConfig;
use super::*;
use SendState::*;

const ID: StreamId = StreamId(0);
const BOUND: u64 = 1000;

fn part() -> SendPart {
    SendPart::new(StreamConfig::WINDOW_LIMIT)
}

fn send(p: &mut SendPart, room: usize) -> Option<(u64, usize, bool)> {
    let work = if p.has_owed() {
        Work::Owed
    } else if p.has_fresh() {
        Work::Fresh
    } else {
        return None;
    };
    p.next_piece(ID, work, room, u64::MAX).map(|piece| (piece.offset, piece.fit.len, piece.fin))
}

fn bytes(n: usize) -> Bytes {
    Bytes::from(vec![1; n])
}

fn plain(code: u64, final_size: u64) -> Option<Reset> {
    Some(Reset { code, final_size, reliable_size: 0 })
}

/// A part in each state of RFC 9000 figure 2.
fn in_state(state: SendState) -> SendPart {
    let mut p = part();
    if state == Ready {
        return p;
    }
    p.write(bytes(100), BOUND).unwrap();
    send(&mut p, 50);
    if state == Send {
        return p;
    }
    if state.is_reset() {
        p.reset(7, 0);
        if state == ResetRecvd {
            p.on_reset_sent();
            p.on_reset_acked(0);
        }
        return p;
    }
    p.finish().unwrap();
    send(&mut p, 1000);
    if state == DataRecvd {
        assert!(!p.on_acked(0, 60, false));
        assert!(p.on_acked(40, 60, true));
    }
    p
}

const ALL: [SendState; 6] = [Ready, Send, DataSent, DataRecvd, ResetSent, ResetRecvd];

#[test]
fn every_state_can_be_reached() {
    for state in ALL {
        assert_eq!(in_state(state).state(), state);
    }
}

/// RFC 9000 section 3.3.
#[test]
fn reset_by_the_application_in_every_state() {
    for (state, after) in
        ALL.into_iter().zip([ResetSent, ResetSent, ResetSent, DataRecvd, ResetSent, ResetRecvd])
    {
        let mut p = in_state(state);
        let sent = p.buf.next();
        assert_eq!(p.reset(9, 0), !state.is_terminal() && state != ResetSent);
        assert_eq!(p.state(), after);
        match state {
            Ready | Send | DataSent => assert_eq!(p.pending_reset(), plain(9, sent)),
            // RFC 9000 section 13.3: the content must not change.
            ResetSent => assert_eq!(p.pending_reset(), plain(7, 48)),
            DataRecvd | ResetRecvd => assert_eq!(p.pending_reset(), None),
        }
        assert!(!p.has_owed() && !p.has_fresh() && p.buffered() == 0);
    }
}

#[test]
fn stop_sending_in_every_state() {
    for state in ALL {
        let mut p = in_state(state);
        let acts = matches!(state, Ready | Send | DataSent);
        assert_eq!(p.on_stop_sending(5), acts);
        assert_eq!(p.stopped(), acts.then_some(5));
        assert!(!p.on_stop_sending(6));
        let refused = if acts { StreamError::Stopped(5) } else { StreamError::Finished };
        assert_eq!(p.write(bytes(1), BOUND), Err(refused));
    }
}

#[test]
fn acknowledgements_and_losses_in_every_state() {
    for state in ALL {
        let mut p = in_state(state);
        p.on_lost(0, 40, false);
        assert_eq!(p.has_owed(), matches!(state, Send | DataSent), "{state:?}");
        p.on_acked(0, 40, false);
        assert!(!p.has_owed());
        assert_eq!(p.state(), state);
        p.on_reset_acked(0);
        assert_eq!(p.state(), if state == ResetSent { ResetRecvd } else { state });
    }
}

#[test]
fn reset_stream_is_repeated_until_acknowledged() {
    let mut p = in_state(ResetSent);
    p.on_reset_sent();
    assert_eq!(p.pending_reset(), None);
    p.on_reset_lost(0);
    assert!(p.pending_reset().is_some());
    p.on_reset_acked(0);
    p.on_reset_lost(0);
    assert_eq!(p.pending_reset(), None);
}

#[test]
fn the_end_rides_on_the_last_bytes_or_goes_alone() {
    let mut p = part();
    p.write(bytes(100), BOUND).unwrap();
    assert_eq!(send(&mut p, 200), Some((0, 100, false)));
    p.finish().unwrap();
    assert_eq!(send(&mut p, 200), Some((100, 0, true)));
    assert_eq!(send(&mut p, 200), None);
    // All data acknowledged, the FIN lost.
    assert!(!p.on_acked(0, 100, false));
    p.on_lost(100, 0, true);
    assert_eq!(send(&mut p, 200), Some((100, 0, true)));
    assert!(p.on_acked(100, 0, true));
    assert_eq!(p.finish(), Ok(()));

    let mut p = part();
    p.write(bytes(100), BOUND).unwrap();
    p.finish().unwrap();
    assert_eq!(send(&mut p, 62), Some((0, 60, false)));
    assert_eq!(send(&mut p, 200), Some((60, 40, true)));
    p.on_lost(60, 40, true);
    p.on_lost(0, 60, false);
    assert_eq!(send(&mut p, 200), Some((0, 100, true)));
}

#[test]
fn an_empty_stream_can_end() {
    let mut p = part();
    p.finish().unwrap();
    assert_eq!(send(&mut p, 3), Some((0, 0, true)));
    assert!(p.on_acked(0, 0, true));
}

#[test]
fn the_streams_limit_holds_and_is_reported_once() {
    let mut p = SendPart::new(50);
    p.write(bytes(100), BOUND).unwrap();
    assert!(!p.note_blocked());
    assert_eq!(send(&mut p, 200), Some((0, 50, false)));
    assert!(p.note_blocked() && !p.has_fresh());
    assert_eq!(p.blocked.pending(), Some(50));
    p.blocked.on_sent();
    assert!(!p.note_blocked());
    p.raise_limit(40);
    assert!(!p.has_fresh());
    // Lost bytes need no credit.
    p.on_lost(0, 50, false);
    assert_eq!(send(&mut p, 200), Some((0, 50, false)));
    p.raise_limit(80);
    assert_eq!(send(&mut p, 200), Some((50, 30, false)));
}

#[test]
fn the_connections_credit_holds() {
    let mut p = part();
    p.write(bytes(100), BOUND).unwrap();
    let piece = p.next_piece(ID, Work::Fresh, 200, 33).unwrap();
    assert_eq!((piece.fit.len, p.buf.next()), (33, 33));
}

#[test]
fn a_full_buffer_refuses_and_calls_back() {
    let mut p = part();
    assert_eq!(p.writable(BOUND), BOUND);
    p.write(bytes(1500), BOUND).unwrap();
    assert_eq!(p.write(bytes(1), BOUND), Err(StreamError::Full));
    assert_eq!(p.writable(BOUND), 0);
    while send(&mut p, 300).is_some() {}
    p.on_acked(0, 900, false);
    assert!(!p.take_room());
    p.on_acked(900, 100, false);
    assert!(p.take_room() && !p.take_room());
    assert_eq!(p.writable(BOUND), 500);
}

#[test]
fn nothing_can_be_written_after_the_end() {
    let mut p = part();
    p.finish().unwrap();
    assert_eq!(p.write(bytes(1), BOUND), Err(StreamError::Finished));
    assert_eq!(p.writable(BOUND), 0);
    let mut p = part();
    p.reset(1, 0);
    assert_eq!(p.finish(), Err(StreamError::Finished));
}

#[test]
fn a_rejected_zero_rtt_starts_over() {
    let mut p = part();
    p.write(bytes(100), BOUND).unwrap();
    p.finish().unwrap();
    send(&mut p, 60);
    send(&mut p, 200);
    p.restart();
    assert!(!p.has_fresh() && !p.has_owed(), "no limit yet");
    p.raise_limit(1000);
    assert_eq!((p.state(), send(&mut p, 200)), (Ready, Some((0, 100, true))));

    let mut p = in_state(ResetSent);
    p.on_reset_sent();
    p.restart();
    assert_eq!(p.pending_reset(), plain(7, 0));
}

/// draft-ietf-quic-reliable-stream-reset-10 section 5: what is promised is sent, repeated, and
/// acknowledged before the part is over.
#[test]
fn a_reset_delivers_what_it_promises() {
    let mut p = part();
    p.write(bytes(300), BOUND).unwrap();
    assert_eq!(send(&mut p, 100), Some((0, 98, false)));
    assert!(p.reset(9, 200));
    assert_eq!((p.pending_reset(), p.unsent(), p.buffered()), (None, 102, 200));
    assert_eq!(send(&mut p, 1000), Some((98, 102, false)));
    let reset = Reset { code: 9, final_size: 200, reliable_size: 200 };
    assert_eq!(p.pending_reset(), Some(reset));
    p.on_reset_sent();
    p.on_lost(50, 48, false);
    assert_eq!(send(&mut p, 1000), Some((50, 48, false)));
    p.on_reset_acked(200);
    assert!(!p.on_acked(0, 98, false));
    assert_eq!(p.state(), ResetSent);
    assert!(!p.on_acked(98, 102, false));
    assert_eq!(p.state(), ResetRecvd);
}

#[test]
fn what_was_sent_beyond_the_promise_counts_and_is_not_repeated() {
    let mut p = in_state(DataSent);
    assert!(p.reset(9, 30));
    assert_eq!(p.pending_reset(), Some(Reset { code: 9, final_size: 100, reliable_size: 30 }));
    assert_eq!(p.sent(), 100);
    p.on_lost(0, 100, true);
    assert_eq!(send(&mut p, 1000), Some((0, 30, false)));
    assert!(!p.has_owed());
    // The FIN may have arrived first; it ends nothing any more.
    assert!(!p.on_acked(0, 100, true));
    assert_eq!(p.state(), ResetSent);
    p.on_reset_acked(30);
    assert_eq!(p.state(), ResetRecvd);
}

#[test]
fn a_promise_can_only_shrink() {
    let mut p = in_state(Send);
    assert!(p.reset(9, 80));
    assert!(!p.reset(9, 80) && !p.reset(9, 90));
    assert_eq!(send(&mut p, 1000), Some((48, 32, false)));
    p.on_reset_sent();
    assert!(p.reset(8, 20));
    let reset = Reset { code: 9, final_size: 80, reliable_size: 20 };
    assert_eq!(p.pending_reset(), Some(reset));
    p.on_reset_sent();
    p.on_acked(0, 80, false);
    // What an older frame said does not matter.
    p.on_reset_acked(80);
    p.on_reset_lost(80);
    assert_eq!((p.state(), p.pending_reset()), (ResetSent, None));
    p.on_reset_lost(20);
    assert_eq!(p.pending_reset(), Some(reset));
    // The peer wants nothing: section 5.4, and the code stays.
    assert!(p.on_stop_sending(5));
    assert_eq!((p.stopped(), p.pending_reset()), (None, plain(9, 80)));
    p.on_reset_acked(0);
    assert_eq!(p.state(), ResetRecvd);
}

#[test]
fn flow_control_holds_a_reset_back() {
    let mut p = SendPart::new(60);
    p.write(bytes(100), BOUND).unwrap();
    p.reset(9, 80);
    assert_eq!(send(&mut p, 1000), Some((0, 60, false)));
    assert!(p.note_blocked());
    assert_eq!(p.pending_reset(), None);
    // Less was asked for meanwhile: the final size is what was sent.
    let mut q = SendPart::new(60);
    q.write(bytes(100), BOUND).unwrap();
    q.reset(9, 80);
    send(&mut q, 1000);
    q.reduce(0);
    assert_eq!(q.pending_reset(), plain(9, 60));
    p.raise_limit(80);
    assert_eq!(send(&mut p, 1000), Some((60, 20, false)));
    assert_eq!(p.pending_reset().map(|r| r.final_size), Some(80));
    // And once more after a rejected 0-RTT.
    p.on_reset_sent();
    p.restart();
    assert_eq!(p.pending_reset(), None);
    p.raise_limit(1000);
    assert_eq!(send(&mut p, 1000), Some((0, 80, false)));
    assert_eq!(p.pending_reset().map(|r| r.final_size), Some(80));
}
