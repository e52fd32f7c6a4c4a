use super::*;
use crate::cid::remote::zero_length_error;
use crate::error::{TransportError, TransportErrorCode};
use crate::path::PathLabel;
use crate::recovery::{Token, Tokens};
use crate::tx::FrameWriter;
use tquic_wire::{Frame, FrameIter};

const LIMIT: u64 = 4;

fn cid(n: u8) -> ConnectionId {
    ConnectionId::new(&[n; CID_LEN]).unwrap()
}

fn token(n: u8) -> ResetToken {
    ResetToken::new([n; 16])
}

fn factory(shard: u8, shards: u8) -> CidFactory {
    CidFactory::new(shard, shards, std::sync::Arc::new(ResetKey::new(&[1; 32])))
}

fn rng() -> Rng {
    Rng::from_seed([3; 32])
}

/// Frames that `write` puts into `room` bytes, as their sequence numbers, and their tokens.
fn frames(room: usize, write: impl FnOnce(&mut FrameWriter<'_>)) -> (Vec<u64>, Tokens) {
    let (mut buf, mut tokens) = (vec![0; room], Tokens::new());
    let mut fw = FrameWriter::new(&mut buf, &mut tokens);
    write(&mut fw);
    let len = fw.position();
    let sequences = FrameIter::new(&buf[..len])
        .map(|frame| match frame.unwrap() {
            Frame::NewConnectionId { sequence, retire_prior_to: 0, .. }
            | Frame::RetireConnectionId { sequence, .. } => sequence,
            other => panic!("{other:?}"),
        })
        .collect();
    (sequences, tokens)
}

fn issued(local: &mut LocalCids, room: usize) -> Vec<u64> {
    frames(room, |fw| local.write(PathLabel::default(), fw)).0
}

fn retired(remote: &mut RemoteCids, room: usize) -> Vec<u64> {
    frames(room, |fw| remote.write(PathLabel::default(), fw)).0
}

/// NEW_CONNECTION_ID with values that follow from the sequence number.
fn offer(remote: &mut RemoteCids, sequence: u8, prior_to: u8) -> Result<Vec<u64>, TransportError> {
    remote.on_new(sequence.into(), prior_to.into(), cid(sequence), token(sequence))
}

#[test]
fn ids_name_their_shard() {
    for (shard, shards) in [(0, 1), (2, 3), (254, 255)] {
        let (factory, mut rng) = (factory(shard, shards), rng());
        let ids: Vec<_> = (0..500).map(|_| factory.generate(&mut rng)).collect();
        assert!(ids.iter().all(|id| id.len() == CID_LEN && factory.is_ours(id.as_slice())));
        let mut firsts: Vec<_> = ids.iter().map(|id| id.as_slice()[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() >= usize::from(200 / shards), "as many as can be: {}", firsts.len());
    }
    let two = factory(1, 2);
    assert!(two.is_ours(&[7]) && !two.is_ours(&[8]) && !two.is_ours(&[]));
    assert!(factory(0, 0).is_ours(&[9]), "no shards are one");
}

#[test]
fn reset_tokens_belong_to_ids() {
    let factory = factory(0, 1);
    assert!(factory.reset_token(&cid(1)) == ResetKey::new(&[1; 32]).token_for(&cid(1)));
    assert!(factory.reset_token(&cid(1)) != factory.reset_token(&cid(2)));
}

/// RFC 9000 section 5.1.1.
#[test]
fn no_more_ids_are_issued_than_the_peer_stores() {
    let (factory, mut rng) = (factory(0, 1), rng());
    for (limit, fresh) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (100, 3)] {
        let mut local = LocalCids::new(cid(9), token(9));
        let ids = local.replenish(limit, &factory, &mut rng);
        assert_eq!(ids.len(), fresh, "{limit}");
        assert_eq!(local.has_pending(), fresh > 0);
        assert_eq!(local.next_sequence(), 1 + fresh as u64);
        let all: Vec<_> = local.iter().copied().collect();
        assert_eq!(all, [&[cid(9)][..], &ids].concat());
        assert!(all.iter().all(|id| local.contains(id.as_slice())) && !local.contains(&[1]));
        assert_eq!(issued(&mut local, 1200), (1..=fresh as u64).collect::<Vec<_>>());
        assert!(!local.has_pending());
        assert!(local.replenish(limit, &factory, &mut rng).is_empty());
    }
}

/// RFC 9000 section 5.1.1: the ID of a preferred address has sequence number 1, and is known
/// from the transport parameters.
#[test]
fn ids_of_preferred_addresses_are_not_sent_again() {
    let mut local = LocalCids::new(cid(0), token(0));
    local.add_preferred(cid(1), token(1));
    assert!(local.contains(cid(1).as_slice()) && !local.has_pending());
    assert_eq!(local.replenish(3, &factory(0, 1), &mut rng()).len(), 1);
    assert_eq!(issued(&mut local, 1200), [2]);
    assert_eq!(local.retire(1, &cid(0)), Ok(Some(cid(1))));
}

/// RFC 9000 section 19.16.
#[test]
fn retirements_by_the_peer() {
    let mut local = LocalCids::new(cid(0), token(0));
    let ids = local.replenish(4, &factory(0, 1), &mut rng());
    for (sequence, packet_dcid) in [(4, cid(0)), (u64::MAX, cid(0)), (0, cid(0)), (2, ids[1])] {
        let error = local.retire(sequence, &packet_dcid).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(error.frame, Some(0x19));
    }
    assert_eq!(local.retire(0, &ids[0]), Ok(Some(cid(0))));
    assert!(!local.contains(cid(0).as_slice()));
    assert_eq!(local.retire(0, &ids[0]), Ok(None), "told again");
    assert_eq!(local.retire(3, &ids[0]), Ok(Some(ids[2])), "before it was sent");
    assert_eq!(issued(&mut local, 1200), [1, 2]);
    assert_eq!(local.replenish(4, &factory(0, 1), &mut rng()).len(), 2);
    assert_eq!(issued(&mut local, 1200), [4, 5]);
}

#[test]
fn lost_ids_are_sent_again_while_they_are_valid() {
    let mut local = LocalCids::new(cid(0), token(0));
    local.replenish(3, &factory(0, 1), &mut rng());
    local.on_lost(1);
    assert_eq!(issued(&mut local, 1200), [1, 2], "once, as it waits anyway");
    local.on_lost(1);
    local.on_lost(2);
    local.retire(2, &cid(0)).unwrap();
    local.on_lost(2);
    local.on_lost(7);
    assert_eq!(issued(&mut local, 1200), [1]);
    local.on_lost(2);
    assert!(!local.has_pending(), "it was retired");
}

#[test]
fn frames_tell_the_id_and_its_token() {
    let (factory, mut local) = (factory(0, 1), LocalCids::new(cid(0), token(0)));
    let ids = local.replenish(3, &factory, &mut rng());
    let (mut buf, mut tokens) = ([0; 1200], Tokens::new());
    let mut fw = FrameWriter::new(&mut buf, &mut tokens);
    local.write(PathLabel::default(), &mut fw);
    let len = fw.position();
    let told: Vec<_> = FrameIter::new(&buf[..len]).map(Result::unwrap).collect();
    let expected = [(1, ids[0]), (2, ids[1])].map(|(sequence, cid)| Frame::NewConnectionId {
        path: None,
        sequence,
        retire_prior_to: 0,
        cid,
        reset_token: factory.reset_token(&cid),
    });
    assert_eq!(told, expected);
}

/// A frame that does not fit waits for the next packet.
#[test]
fn ids_are_sent_as_room_permits() {
    let mut local = LocalCids::new(cid(0), token(0));
    local.replenish(4, &factory(0, 1), &mut rng());
    assert_eq!(issued(&mut local, 10), []);
    assert_eq!(issued(&mut local, 50), [1]);
    let label = PathLabel { id: 5, told: true };
    let (sequences, tokens) = frames(1200, |fw| local.write(label, fw));
    assert_eq!(sequences, [2, 3]);
    let expected = [2, 3].map(|sequence| Token::NewConnectionId { path: 5, sequence });
    assert_eq!(tokens.as_slice(), expected);
}

#[test]
fn ids_of_the_peer_are_used_in_order_and_never_again() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    assert_eq!((remote.take_unused(), remote.unused()), (None, 0));
    for sequence in [2, 1, 3] {
        assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![]));
    }
    assert_eq!((remote.unused(), remote.next_sequence()), (3, 4));
    assert_eq!(remote.take_unused(), Some(1));
    assert!(remote.take(3) && !remote.take(4));
    assert_eq!((remote.unused(), remote.cid(1), remote.cid(7)), (1, Some(cid(1)), None));
    assert!(!remote.has_pending());
    remote.retire(1).unwrap();
    remote.retire(1).unwrap();
    assert!(remote.has_pending());
    assert_eq!((remote.cid(1), retired(&mut remote, 1200)), (None, vec![1]));
    // RFC 9000 section 9.5: a late duplicate does not bring it back.
    assert_eq!(offer(&mut remote, 1, 0), Ok(vec![]));
    assert_eq!((remote.cid(1), remote.unused()), (None, 1));
    assert!(!remote.has_pending());
}

/// RFC 9000 section 7.2.
#[test]
fn the_first_id_changes_in_the_handshake() {
    let mut remote = RemoteCids::new(cid(8), LIMIT);
    remote.replace_initial(cid(9));
    assert_eq!(remote.cid(0), Some(cid(9)));
    remote.set_initial_token(token(9));
    assert!(remote.is_reset(&token(9)));
    remote.add_preferred(cid(1), token(1));
    assert_eq!((remote.cid(1), remote.unused()), (Some(cid(1)), 1));
    remote.retire(0).unwrap();
    remote.replace_initial(cid(7));
    remote.set_initial_token(token(7));
    assert_eq!((remote.cid(0), remote.cid(1)), (None, Some(cid(1))));
    assert!(remote.take(1) && remote.is_reset(&token(1)));
}

/// RFC 9000 section 10.3.1.
#[test]
fn only_tokens_of_ids_in_use_reset() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    remote.set_initial_token(token(0));
    offer(&mut remote, 1, 0).unwrap();
    assert!(remote.is_reset(&token(0)) && !remote.is_reset(&token(1)));
    remote.take_unused();
    assert!(remote.is_reset(&token(0)) && remote.is_reset(&token(1)));
    assert!(!remote.is_reset(&token(2)));
    // The peer may have given one token to two IDs.
    remote.on_new(2, 0, cid(2), token(1)).unwrap();
    remote.take_unused();
    assert!(remote.is_reset(&token(1)));
    remote.abandon();
    assert!(!remote.is_reset(&token(1)));
    assert_eq!((remote.next_sequence(), remote.has_pending()), (0, false));
    // The limit is still what we told the peer.
    (0..4).for_each(|sequence| assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![])));
    assert!(offer(&mut remote, 4, 0).is_err());
}

/// RFC 9000 section 19.15.
#[test]
fn an_id_may_be_repeated_but_not_changed() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    offer(&mut remote, 1, 0).unwrap();
    assert_eq!(offer(&mut remote, 1, 0), Ok(vec![]));
    assert_eq!(remote.unused(), 1);
    for (sequence, id, reset) in [(1, 2, 1), (2, 1, 1), (1, 1, 2), (2, 0, 2), (0, 0, 0)] {
        let error = remote.on_new(sequence, 0, cid(id), token(reset)).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(error.frame, Some(0x18));
    }
    let error = zero_length_error();
    assert_eq!((error.code, error.frame), (TransportErrorCode::PROTOCOL_VIOLATION, Some(0x18)));
}

/// RFC 9000 section 5.1.1.
#[test]
fn ids_beyond_the_limit_are_an_error() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    (1..4).for_each(|sequence| assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![])));
    let mut other = RemoteCids::empty(LIMIT);
    (0..4).for_each(|sequence| assert_eq!(offer(&mut other, sequence, 0), Ok(vec![])));
    for remote in [&mut remote, &mut other] {
        let error = offer(remote, 4, 0).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::CONNECTION_ID_LIMIT_ERROR);
        assert_eq!(error.frame, Some(0x18));
    }
    // What the frame itself retires does not count.
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    (1..4).for_each(|sequence| assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![])));
    assert_eq!(offer(&mut remote, 4, 1), Ok(vec![0]));
}

/// RFC 9000 section 5.1.2.
#[test]
fn the_peer_retires_ids() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    offer(&mut remote, 1, 0).unwrap();
    offer(&mut remote, 2, 0).unwrap();
    assert_eq!(offer(&mut remote, 4, 2), Ok(vec![0]), "of those in use");
    assert_eq!(retired(&mut remote, 1200), [0, 1]);
    assert_eq!((remote.cid(1), remote.cid(2)), (None, Some(cid(2))));
    // Neither smaller values nor the same do anything again.
    assert_eq!(offer(&mut remote, 5, 2), Ok(vec![]));
    assert_eq!(offer(&mut remote, 6, 1), Ok(vec![]));
    assert!(!remote.has_pending());
    // One that comes late is retired at once, and told once.
    assert_eq!(offer(&mut remote, 8, 4), Ok(vec![]));
    assert_eq!(retired(&mut remote, 1200), [2]);
    assert_eq!(offer(&mut remote, 3, 0), Ok(vec![]));
    assert_eq!((remote.cid(3), retired(&mut remote, 1200)), (None, vec![3]));
    assert_eq!(offer(&mut remote, 3, 0), Ok(vec![]));
    assert!(!remote.has_pending());
    assert_eq!(remote.next_sequence(), 9);
}

/// CVE-2024-22189, RFC 9000 section 5.1.2: what waits and what is not acknowledged is bounded.
#[test]
fn retirements_that_nobody_acknowledges_are_bounded() {
    for (limit, bound) in [(LIMIT, 16), (8, 16), (9, 18), (20, 40)] {
        let mut remote = RemoteCids::new(cid(0), limit);
        for sequence in 1..=bound {
            let displaced = offer(&mut remote, sequence, sequence).unwrap();
            assert_eq!(displaced, if sequence == 1 { vec![0] } else { vec![] });
            if sequence % 2 == 0 {
                assert_eq!(retired(&mut remote, 1200).len(), 2);
            }
        }
        let error = offer(&mut remote, bound + 1, bound + 1).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::CONNECTION_ID_LIMIT_ERROR);
        assert!(remote.cid(bound.into()).is_some(), "an ID is left for CONNECTION_CLOSE");
        remote.on_acked();
        assert!(offer(&mut remote, bound + 1, bound + 1).is_ok());
        assert!(remote.retire((bound + 1).into()).is_err());
    }
}

#[test]
fn lost_retirements_are_told_again() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    (1..4).for_each(|sequence| assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![])));
    (0..3).for_each(|sequence| remote.retire(sequence).unwrap());
    assert_eq!(retired(&mut remote, 3), [0], "as room permits");
    let label = PathLabel { id: 5, told: true };
    let (sequences, tokens) = frames(1200, |fw| remote.write(label, fw));
    assert_eq!(sequences, [1, 2]);
    let expected = [1, 2].map(|sequence| Token::RetireConnectionId { path: 5, sequence });
    assert_eq!(tokens.as_slice(), expected);
    remote.on_lost(1);
    assert!(remote.has_pending());
    assert_eq!(retired(&mut remote, 1200), [1]);
    // Those that are lost do not count twice towards the bound of 16: 3 are on their way.
    for _ in 0..20 {
        remote.on_lost(1);
        assert_eq!(retired(&mut remote, 1200), [1]);
    }
    (4..=16).for_each(|sequence| assert!(offer(&mut remote, sequence, sequence).is_ok()));
    assert!(offer(&mut remote, 17, 17).is_err());
}

/// A retirement is remembered for as long as 64 others.
#[test]
fn retirements_are_remembered() {
    let mut remote = RemoteCids::new(cid(0), LIMIT);
    for sequence in 1..=64 {
        assert_eq!(offer(&mut remote, sequence, 0), Ok(vec![]));
        remote.retire(u64::from(sequence) - 1).unwrap();
        assert_eq!(retired(&mut remote, 1200).len(), 1);
        remote.on_acked();
    }
    assert_eq!(offer(&mut remote, 0, 0), Ok(vec![]));
    assert_eq!(remote.cid(0), None);
    // No longer, or a peer could fill the memory: RFC 9000 section 5.1.2 has Retire Prior To for it.
    remote.retire(64).unwrap();
    assert_eq!(offer(&mut remote, 0, 0), Ok(vec![]));
    assert_eq!(remote.cid(0), Some(cid(0)));
}
