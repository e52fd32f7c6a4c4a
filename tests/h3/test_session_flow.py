"""Flow control of WebTransport sessions without sockets (section numbers:
draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3 import ErrorCode, H3Error
from tquic.h3._codec import decode_varint, encode_varint
from tquic.h3._session_flow import FLOW_CAPSULES, PROHIBITED, SessionFlow, StreamAccount
from tquic.h3._webtransport import Close, Limited, SessionCapsules, encode_drain
from tquic.h3.capsules import CapsuleDecoder, encode_capsule
from tquic.h3.errors import FlowControlError, SessionErrorCode
from tquic.h3.settings import (
    PeerSettings,
    SessionLimits,
    SettingId,
    Settings,
)

MAX_DATA = 0x190B4D3D
MAX_STREAMS = (0x190B4D3F, 0x190B4D40)
DATA_BLOCKED = 0x190B4D41
STREAMS_BLOCKED = (0x190B4D43, 0x190B4D44)

SMALL = SessionLimits(data=100, bidi_streams=2, uni_streams=8)
WITH = Settings(h3_datagram=True, webtransport=1, session_limits=SMALL)
BEFORE = Settings(h3_datagram=True, webtransport=1)


def integer(value: int) -> bytes:
    return encode_varint(value)


def said(flow: SessionFlow) -> list[tuple[int, int]]:
    """What it has for the peer, as (type, value)."""
    capsules = CapsuleDecoder().read(flow.take_output())
    return [(kind, (decode_varint(payload) or (0, 0))[0]) for kind, payload in capsules]


def parse(settings: Settings) -> PeerSettings:
    return PeerSettings.parse(settings.payload(grease=True))


# ---- Settings ----


def test_what_is_announced() -> None:
    peer = parse(WITH)
    assert peer.webtransport == 16
    assert peer.session_limits == SMALL
    # By their numbers in section 9.2.
    assert (peer.values[0x2C7CF000], peer.values[0x2B61]) == (1, 100)
    assert (peer.values[0x2B64], peer.values[0x2B65]) == (8, 2)
    # The older ones are there as well.
    assert {SettingId.ENABLE_WEBTRANSPORT, SettingId.WEBTRANSPORT_MAX_SESSIONS} <= set(peer.values)
    assert not parse(BEFORE).session_limits


def test_the_newest_version_that_both_know() -> None:
    """Section 7.1"""
    assert WITH.session_version(parse(WITH)) == 16
    assert BEFORE.session_version(parse(WITH)) == 7
    assert WITH.session_version(parse(BEFORE)) == 7
    assert WITH.session_version(parse(Settings())) == 0
    assert Settings().session_version(parse(WITH)) == 0
    assert WITH.session_version(None) == 0


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs webtransport"):
        Settings(session_limits=SMALL)
    with pytest.raises(ValueError, match=r"2\^60"):
        SessionLimits(uni_streams=(1 << 60) + 1)
    with pytest.raises(H3Error, match="WT_ENABLED is 2") as caught:
        PeerSettings.parse(encode_varint(0x2C7CF000) + integer(2))
    assert caught.value.code is ErrorCode.H3_SETTINGS_ERROR
    # Nobody can use as many, so they mean as many as can be.
    peer = PeerSettings.parse(encode_varint(0x2B64) + integer((1 << 62) - 1))
    assert peer.session_limits.uni_streams == 1 << 60


# ---- What the peer allows ----


def test_limits_go_up() -> None:
    flow = SessionFlow(SMALL, SMALL)
    assert (flow.data.left, flow.streams[0].left, flow.streams[1].left) == (100, 2, 8)
    flow.receive(MAX_DATA, integer(150))
    flow.receive(MAX_STREAMS[0], integer(5))
    flow.receive(MAX_STREAMS[1], integer(9))
    assert (flow.data.left, flow.streams[0].left, flow.streams[1].left) == (150, 5, 9)


@pytest.mark.parametrize("again", [0, 99, 100])
def test_a_data_limit_that_does_not_go_up(again: int) -> None:
    flow = SessionFlow(SMALL, SMALL)
    with pytest.raises(FlowControlError) as caught:
        flow.receive(MAX_DATA, integer(again))
    assert caught.value.code is SessionErrorCode.WT_FLOW_CONTROL_ERROR
    flow = SessionFlow(SMALL, SessionLimits(data=1))
    flow.receive(MAX_DATA, integer(100))
    with pytest.raises(FlowControlError, match="from 100 to"):
        flow.receive(MAX_DATA, integer(again))


@pytest.mark.parametrize("unidirectional", [False, True])
def test_limits_of_streams_that_cannot_be(unidirectional: bool) -> None:
    """Sections 5.6.2 and 5.6.3"""
    flow = SessionFlow(SMALL, SMALL)
    for kind in (MAX_STREAMS[unidirectional], STREAMS_BLOCKED[unidirectional]):
        with pytest.raises(FlowControlError, match="too large"):
            flow.receive(kind, integer((1 << 60) + 1))
    with pytest.raises(FlowControlError, match="of streams goes from"):
        flow.receive(MAX_STREAMS[unidirectional], integer(2 - unidirectional))
    flow.receive(MAX_STREAMS[unidirectional], integer(1 << 60))


@pytest.mark.parametrize("kind", sorted(FLOW_CAPSULES))
@pytest.mark.parametrize("payload", [b"", b"\x40", b"\x00\x00", integer(300) + b"\x00"])
def test_capsules_that_are_not_one_integer(kind: int, payload: bytes) -> None:
    flow = SessionFlow(SMALL, SMALL)
    with pytest.raises(H3Error) as caught:
        flow.receive(kind, payload)
    assert caught.value.code is ErrorCode.H3_MESSAGE_ERROR


def test_what_is_in_the_way_is_told_once_for_each_limit() -> None:
    flow = SessionFlow(SMALL, SMALL)
    flow.data.want()
    flow.streams[1].want()
    assert said(flow) == [(DATA_BLOCKED, 100), (STREAMS_BLOCKED[1], 8)]
    flow.data.want()
    assert said(flow) == []
    flow.receive(MAX_DATA, integer(200))
    assert said(flow) == []
    flow.data.want()
    assert said(flow) == [(DATA_BLOCKED, 200)]


def test_blocked_peers_need_not_say_so() -> None:
    flow = SessionFlow(SMALL, SMALL)
    flow.receive(DATA_BLOCKED, integer(1 << 61))
    flow.receive(STREAMS_BLOCKED[0], integer(2))
    assert said(flow) == []


def test_blocked_peers_get_what_there_is() -> None:
    """They may hold what is not seen here; otherwise a quarter comes at a time."""
    flow = SessionFlow(SMALL, SMALL)
    flow.data_came(10)
    flow.data_went(10)
    flow.stream_came(unidirectional=True)
    flow.stream_went(unidirectional=True)
    assert said(flow) == []
    flow.receive(DATA_BLOCKED, integer(100))
    flow.receive(STREAMS_BLOCKED[1], integer(8))
    assert said(flow) == [(MAX_DATA, 110), (MAX_STREAMS[1], 9)]
    flow.data_came(10)
    flow.data_went(10)
    # About the limit before, which has been raised.
    flow.receive(DATA_BLOCKED, integer(100))
    assert said(flow) == []


# ---- What the peer may send ----


@pytest.mark.parametrize("unidirectional", [False, True])
def test_too_many_streams(unidirectional: bool) -> None:
    flow = SessionFlow(SMALL, SMALL)
    for _ in range(8 if unidirectional else 2):
        flow.stream_came(unidirectional=unidirectional)
    with pytest.raises(FlowControlError, match="streams are more than the limit"):
        flow.stream_came(unidirectional=unidirectional)


def test_too_much_data() -> None:
    flow = SessionFlow(SMALL, SMALL)
    flow.data_came(100)
    with pytest.raises(FlowControlError, match="101 bytes are more than the limit of 100"):
        flow.data_came(1)


def test_limits_come_back_by_the_quarter_and_without_being_asked_for() -> None:
    flow = SessionFlow(SMALL, SMALL)
    flow.data_came(60)
    flow.data_went(24)
    assert said(flow) == []
    flow.data_went(1)
    assert said(flow) == [(MAX_DATA, 125)]
    for _ in range(8):
        flow.stream_came(unidirectional=True)
    flow.stream_went(unidirectional=True)
    # All were used: one is worth telling.
    assert said(flow) == [(MAX_STREAMS[1], 9)]
    flow.stream_came(unidirectional=True)


def test_there_are_no_limits_beyond_the_largest() -> None:
    flow = SessionFlow(SessionLimits(data=(1 << 62) - 1, bidi_streams=1 << 60), SMALL)
    flow.data_came(1000)
    flow.data_went(1000)
    flow.stream_came(unidirectional=False)
    flow.stream_went(unidirectional=False)
    assert said(flow) == []


# ---- One stream ----


def test_headers_do_not_count() -> None:
    flow = SessionFlow(SMALL, SMALL)
    account = StreamAccount(flow, sent_header=5, received_header=3)
    assert account.room(0) == 0
    account.open = True
    assert account.room(0) == 5 + 50
    account.sent(3)
    account.sent(4)
    assert (account.left, flow.data.used) == (98, 2)
    account.received(10)
    with pytest.raises(FlowControlError):
        account.received(91)


def test_a_reset_gives_back_what_was_never_sent() -> None:
    flow = SessionFlow(SMALL, SMALL)
    account = StreamAccount(flow, sent_header=5)
    account.open = True
    account.sent(105)
    flow.data.want()
    assert (account.room(0), said(flow)) == (0, [(DATA_BLOCKED, 100)])
    account.settle_sent(45)
    assert flow.data.left == 60
    account.settle_sent(0)
    account.settle_sent(0)
    assert flow.data.left == 100


def test_nobody_holds_all_of_it() -> None:
    """Where some streams are stuck, there is some for another; one that is not gets all of it."""
    flow = SessionFlow(SMALL, SessionLimits(data=8 << 20, bidi_streams=100, uni_streams=100))
    for _ in range(10):
        stuck, held = StreamAccount(flow), 0
        while room := stuck.room(held):
            stuck.sent(room)
            held += room
    assert flow.data.left == 8 << 10
    free = StreamAccount(flow)
    while room := free.room(0):
        free.sent(room)
    assert flow.data.left == 0


def test_what_was_lost_with_a_stream_counts_as_well() -> None:
    flow = SessionFlow(SMALL, SMALL)
    account = StreamAccount(flow, received_header=3)
    account.received(10)
    account.consumed(10)
    # All of the 90 others were sent, and nobody will read them.
    account.settle_received(103)
    account.settle_received(103)
    assert said(flow) == [(MAX_DATA, 200)]
    with pytest.raises(FlowControlError):
        StreamAccount(flow).settle_received(101)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60))
def test_two_ends_never_disagree(steps: list[tuple[int, bool]]) -> None:
    """Whatever is sent, read or given up, the receiver finds nothing wrong, and at the end the
    sender has its whole window again."""
    sending, receiving = SessionFlow(SMALL, SMALL), SessionFlow(SMALL, SMALL)

    def talk() -> None:
        for kind, payload in CapsuleDecoder().read(receiving.take_output()):
            sending.receive(kind, payload)

    for size, given_up in steps:
        out, into = (
            StreamAccount(sending, sent_header=2),
            StreamAccount(receiving, received_header=2),
        )
        out.open = True
        taken = min(size + 2, out.room(0))
        out.sent(taken)
        arrived = max(0, taken - 2)
        if given_up:
            # Only a part was sent, and of that only a part came.
            final = 2 + arrived // 2
            into.received(arrived // 4)
            out.settle_sent(final)
            into.settle_received(final)
            into.consumed(arrived // 4)
        else:
            into.received(arrived)
            into.consumed(arrived)
        talk()
    assert sending.data.left > SMALL.data * 3 // 4


# ---- The CONNECT stream ----


def test_capsules_change_the_limits() -> None:
    flow = SessionFlow(SMALL, SMALL)
    capsules = SessionCapsules(version=16, flow=flow)
    data = encode_capsule(MAX_DATA, integer(500)) + encode_capsule(DATA_BLOCKED, integer(5))
    events = [event for byte in data for event in capsules.receive(bytes([byte]))]
    assert events == [Limited(), Limited()]
    assert flow.data.left == 500


def test_without_flow_control_they_mean_nothing() -> None:
    capsules = SessionCapsules(version=16)
    for kind in FLOW_CAPSULES:
        assert capsules.receive(encode_capsule(kind, b"no integer")) == []
    assert capsules.receive(b"", True) == [Close(0, "")]


@pytest.mark.parametrize("kind", sorted(PROHIBITED))
def test_capsules_of_another_protocol(kind: int) -> None:
    data = encode_capsule(kind, integer(4) + integer(100))
    with pytest.raises(FlowControlError, match="a single stream"):
        SessionCapsules(version=16).receive(data)
    # Before version 16 they are unknown, and skipped.
    assert SessionCapsules(version=7).receive(data) == []


def test_an_end_that_is_asked_for_with_more_words() -> None:
    with pytest.raises(H3Error) as caught:
        SessionCapsules().receive(encode_capsule(0x78AE, b"x"))
    assert caught.value.code is ErrorCode.H3_MESSAGE_ERROR
    assert len(SessionCapsules().receive(encode_drain())) == 1
