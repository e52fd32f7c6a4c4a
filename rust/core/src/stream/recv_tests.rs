use super::*;
use RecvState::*;

const WINDOW: u64 = 1000;

struct Rig {
    part: RecvPart,
    pool: ChunkPool,
}

impl Rig {
    fn new() -> Self {
        let part = RecvPart::new(RecvWindow::new(WINDOW, WINDOW));
        Self { part, pool: ChunkPool::default() }
    }

    fn put(&mut self, offset: u64, len: usize, fin: bool) -> Result<Effect, TransportError> {
        self.part.check(offset + len as u64, fin)?;
        Ok(self.part.on_stream(offset, &vec![3; len], fin, &mut self.pool))
    }

    fn reset(&mut self, code: u64, size: u64) -> Result<Option<u64>, TransportError> {
        self.part.check(size, true)?;
        self.part.on_reset(code, size, None)
    }

    fn read(&mut self, max: usize) -> Result<Option<(u64, usize, bool)>, ReadError> {
        let chunk = self.part.read(max, &mut self.pool)?;
        Ok(chunk.map(|c| (c.offset, c.data.len(), c.fin)))
    }

    /// A part in each state of RFC 9000 figure 3: 100 bytes, of which 20 were read, final size 200
    /// where it is known.
    fn in_state(state: RecvState) -> Self {
        let mut rig = Self::new();
        rig.put(0, 100, false).unwrap();
        rig.read(20).unwrap();
        match state {
            Recv => {}
            SizeKnown => {
                rig.put(200, 0, true).unwrap();
            }
            DataRecvd | DataRead => {
                rig.put(100, 100, true).unwrap();
                if state == DataRead {
                    assert_eq!(rig.read(999), Ok(Some((20, 180, true))));
                }
            }
            ResetRecvd | ResetRead => {
                assert_eq!(rig.reset(5, 200), Ok(Some(180)));
                if state == ResetRead {
                    assert_eq!(rig.read(1), Err(ReadError::Reset { code: 5, reliable_size: 0 }));
                }
            }
        }
        rig
    }
}

const ALL: [RecvState; 6] = [Recv, SizeKnown, DataRecvd, DataRead, ResetRecvd, ResetRead];

fn code<T: core::fmt::Debug>(result: Result<T, TransportError>) -> Code {
    result.unwrap_err().code
}

#[test]
fn every_state_can_be_reached() {
    for state in ALL {
        let rig = Rig::in_state(state);
        assert_eq!(rig.part.state(), state);
        assert_eq!(rig.part.is_done(), matches!(state, DataRead | ResetRead));
        assert_eq!(rig.part.wants_limit(), state == Recv);
    }
}

#[test]
fn stream_frames_in_every_state() {
    for (state, after) in
        ALL.into_iter().zip([DataRecvd, DataRecvd, DataRecvd, DataRead, ResetRecvd, ResetRead])
    {
        let mut rig = Rig::in_state(state);
        let effect = rig.put(50, 150, true).unwrap();
        assert_eq!(rig.part.state(), after);
        assert_eq!(effect.readable, matches!(state, Recv | SizeKnown));
        assert_eq!(effect.released, 0);
    }
}

#[test]
fn resets_in_every_state() {
    for (state, after) in
        ALL.into_iter().zip([ResetRecvd, ResetRecvd, DataRecvd, DataRead, ResetRecvd, ResetRead])
    {
        let mut rig = Rig::in_state(state);
        let released = matches!(state, Recv | SizeKnown).then_some(180);
        assert_eq!(rig.reset(9, 200), Ok(released));
        assert_eq!(rig.part.state(), after);
        // A reset does not take away what is all there (RFC 9000 section 3.2).
        match after {
            DataRecvd => assert_eq!(rig.read(999), Ok(Some((20, 180, true)))),
            ResetRecvd if state == ResetRecvd => {
                assert_eq!(rig.read(9), Err(ReadError::Reset { code: 5, reliable_size: 0 }));
            }
            ResetRecvd => {
                assert_eq!(rig.read(9), Err(ReadError::Reset { code: 9, reliable_size: 0 }));
            }
            _ => {}
        }
    }
}

#[test]
fn stopping_in_every_state() {
    let expected = [
        (Recv, 80, true),
        (SizeKnown, 80, true),
        (DataRead, 180, false),
        (DataRead, 0, false),
        (ResetRead, 0, false),
        (ResetRead, 0, false),
    ];
    for (state, (after, released, asks)) in ALL.into_iter().zip(expected) {
        let mut rig = Rig::in_state(state);
        // "Size Known" was reached by a frame at 200.
        let released = if state == SizeKnown { 180 } else { released };
        assert_eq!(rig.part.stop(4), released, "{state:?}");
        assert_eq!((rig.part.state(), rig.part.stop.is_pending()), (after, asks));
        assert_eq!(rig.part.stop(4), 0);
        assert!(!rig.part.wants_limit());
    }
}

/// RFC 9000 section 4.4.
#[test]
fn after_stopping_everything_is_counted_and_discarded() {
    let mut rig = Rig::in_state(Recv);
    rig.part.stop(4);
    let effect = rig.put(300, 100, false).unwrap();
    assert_eq!(effect, Effect { released: 300, ..Effect::default() });
    assert_eq!(rig.put(150, 100, false).unwrap().released, 0);
    assert_eq!(rig.read(1), Err(ReadError::Finished));
    assert_eq!(code(rig.put(WINDOW, 1, false)), Code::FLOW_CONTROL_ERROR);
    // The end settles the credit; the stream is done once the peer was asked.
    assert_eq!(rig.put(450, 0, true).unwrap().released, 50);
    assert!(!rig.part.is_done());
    rig.part.stop.on_sent();
    assert!(rig.part.is_done());

    let mut rig = Rig::in_state(Recv);
    rig.part.stop(4);
    assert_eq!(rig.reset(1, 500), Ok(Some(400)));
    assert!(rig.part.is_done() && !rig.part.stop.is_requested());
    assert_eq!(rig.part.allocated(), 0);
}

#[test]
fn the_final_size_cannot_change() {
    for state in [SizeKnown, DataRecvd, DataRead, ResetRecvd, ResetRead] {
        assert_eq!(code(Rig::in_state(state).put(150, 49, true)), Code::FINAL_SIZE_ERROR);
        assert_eq!(code(Rig::in_state(state).put(150, 51, true)), Code::FINAL_SIZE_ERROR);
        assert_eq!(code(Rig::in_state(state).put(150, 51, false)), Code::FINAL_SIZE_ERROR);
        assert_eq!(code(Rig::in_state(state).reset(0, 199)), Code::FINAL_SIZE_ERROR);
        assert_eq!(code(Rig::in_state(state).reset(0, 201)), Code::FINAL_SIZE_ERROR);
    }
    assert_eq!(code(Rig::in_state(Recv).put(0, 99, true)), Code::FINAL_SIZE_ERROR);
    assert_eq!(code(Rig::in_state(Recv).reset(0, 99)), Code::FINAL_SIZE_ERROR);
    assert!(Rig::in_state(Recv).reset(0, 100).is_ok());
}

#[test]
fn the_streams_limit_holds() {
    let mut rig = Rig::new();
    assert_eq!(code(rig.put(WINDOW, 1, false)), Code::FLOW_CONTROL_ERROR);
    assert_eq!(code(rig.reset(0, WINDOW + 1)), Code::FLOW_CONTROL_ERROR);
    assert!(rig.put(WINDOW - 1, 1, false).is_ok());
}

#[test]
fn the_bare_end_can_be_read() {
    let mut rig = Rig::in_state(Recv);
    assert_eq!(rig.read(999), Ok(Some((20, 80, false))));
    assert_eq!(rig.read(999), Ok(None));
    assert!(rig.put(100, 0, true).unwrap().readable);
    assert!(rig.part.has_more());
    assert_eq!(rig.read(999), Ok(Some((100, 0, true))));
    assert_eq!(rig.read(999), Err(ReadError::Finished));
}

#[test]
fn reading_in_place_reaches_the_end() {
    let mut rig = Rig::in_state(DataRecvd);
    let mut seen = Vec::new();
    let consumed = rig.part.read_with(&mut rig.pool, |offset, bytes| {
        seen.push((offset, bytes.len()));
        bytes.len().min(30)
    });
    assert_eq!(consumed, Ok(Consumed { bytes: 30, fin: false }));
    let consumed = rig.part.read_with(&mut rig.pool, |_, bytes| bytes.len());
    assert_eq!(consumed, Ok(Consumed { bytes: 150, fin: true }));
    assert_eq!(seen, [(20, 180)]);
    let again = rig.part.read_with(&mut rig.pool, |_, _| panic!("nothing to read"));
    assert_eq!(again, Err(ReadError::Finished));
}

#[test]
fn reading_gives_credit_back() {
    let mut rig = Rig::new();
    rig.put(0, 500, false).unwrap();
    assert!(!rig.part.window.is_due());
    rig.read(250).unwrap();
    assert!(rig.part.window.is_due());
    rig.put(500, 0, true).unwrap();
    assert!(!rig.part.wants_limit());
}

/// draft-ietf-quic-reliable-stream-reset-10 section 5.3.
#[test]
fn a_reset_waits_until_its_reliable_size_was_read() {
    let at = |rig: &mut Rig, size, reliable| rig.part.on_reset(5, size, Some(reliable));
    let reset = |reliable_size| Err(ReadError::Reset { code: 5, reliable_size });
    // 100 bytes are here, 20 of them were read.
    let mut rig = Rig::in_state(Recv);
    assert_eq!(at(&mut rig, 200, 150), Ok(None));
    assert_eq!((rig.part.state(), rig.part.unread_reset()), (SizeKnown, None));
    assert_eq!(rig.read(999), Ok(Some((20, 80, false))));
    assert_eq!((rig.part.reset_when_read(), rig.read(1)), (None, Ok(None)));
    // All of it comes, more than was promised; it has no end.
    assert!(rig.put(100, 100, true).unwrap().readable);
    assert_eq!(rig.part.state(), SizeKnown);
    assert_eq!(rig.read(60), Ok(Some((100, 60, false))));
    assert_eq!((rig.part.reset_when_read(), rig.part.unread_reset()), (Some(40), Some(5)));
    assert_eq!(rig.read(999), reset(150));
    assert_eq!(rig.part.state(), ResetRead);

    // Nothing is promised that was not read: at once.
    let mut rig = Rig::in_state(Recv);
    assert_eq!(at(&mut rig, 200, 20), Ok(Some(180)));
    assert_eq!(rig.read(1), reset(20));
    // The bare end of a stream that was all promised is a reset.
    let mut rig = Rig::in_state(Recv);
    assert_eq!(at(&mut rig, 100, 100), Ok(None));
    assert_eq!(rig.read(999), Ok(Some((20, 80, false))));
    assert_eq!(rig.part.reset_when_read(), Some(0));
    // Nobody reads.
    let mut rig = Rig::in_state(Recv);
    assert_eq!(at(&mut rig, 200, 150), Ok(None));
    assert_eq!(rig.part.stop(4), 180);
    assert_eq!(rig.part.reset_when_read(), None);
    rig.part.stop.on_sent();
    assert!(rig.part.is_done());
}

/// The same draft, section 5.2.
#[test]
fn several_resets_of_one_stream() {
    let mut rig = Rig::in_state(Recv);
    assert_eq!(rig.part.on_reset(5, 200, Some(90)), Ok(None));
    // Late.
    assert_eq!(rig.part.on_reset(5, 200, Some(100)), Ok(None));
    assert_eq!(rig.read(70), Ok(Some((20, 70, false))));
    assert_eq!(rig.part.reset_when_read(), Some(110));

    let mut rig = Rig::in_state(Recv);
    assert_eq!(rig.part.on_reset(5, 200, Some(90)), Ok(None));
    assert_eq!(rig.part.on_reset(5, 200, Some(60)), Ok(None));
    assert_eq!(rig.reset(5, 200), Ok(Some(180)));
    for reliable in [Some(0), None] {
        let mut rig = Rig::in_state(Recv);
        assert_eq!(rig.part.on_reset(5, 200, Some(90)), Ok(None));
        assert_eq!(code(rig.part.on_reset(6, 200, reliable)), Code::STREAM_STATE_ERROR);
    }
    // Without the extension nobody is asked to look (RFC 9000 section 13.3).
    let mut rig = Rig::in_state(ResetRecvd);
    assert_eq!(rig.part.on_reset(6, 200, None), Ok(None));
    assert_eq!(code(rig.part.on_reset(6, 200, Some(0))), Code::STREAM_STATE_ERROR);
}
