"""The numbers of `tquic.h`; `rust/socket/src/abi.rs` says where they come from."""

from __future__ import annotations

from typing import Final

IPPROTO_QUIC: Final = 261
"""The protocol, as Linux numbers it."""
IPPROTO_TQUIC: Final = 253
"""The same in the module's headers."""
IPPROTO_TQUIC_DOC: Final = 263
"""The same in the module's documentation."""
SOL_TQUIC: Final = 288
"""The level of options and ancillary data."""
TQUIC_INFO: Final = 7
"""Read only: `struct tquic_info`."""
TQUIC_SOCKOPT_CONGESTION: Final = 8
"""Name of the congestion controller."""
TQUIC_SOCKOPT_SCHEDULER: Final = 9
"""Name of the scheduler of paths."""
TQUIC_PACING: Final = 10
"""Whether sending is paced: int."""
TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT: Final = 11
"""Milliseconds: u32."""
TQUIC_SOCKOPT_INITIAL_MAX_DATA: Final = 12
"""Bytes: u64 or u32."""
TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI: Final = 13
"""Bytes: u64 or u32."""
TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI: Final = 14
"""Streams: u64 or u32."""
TQUIC_MAX_STREAMS_UNI: Final = 15
"""Streams: u64 or u32."""
TQUIC_ACK_DELAY: Final = 16
"""Milliseconds that acknowledgements are held back at most: u32."""
TQUIC_MIGRATION: Final = 17
"""Whether the peer may migrate: int."""
TQUIC_SOCKOPT_MULTIPATH_ENABLE: Final = 18
"""Whether several paths may be used: int."""
TQUIC_SOCKOPT_ZEROCOPY: Final = 21
"""Whether MSG_ZEROCOPY counts: int."""
TQUIC_CERT_VERIFY: Final = 30
"""Certificates of peers: 0 are not asked for or looked at, 1 may be missing, 2 must be good."""
TQUIC_EXPECTED_HOSTNAME: Final = 31
"""The name that the server's certificate must be for."""
TQUIC_ALLOW_SELF_SIGNED: Final = 32
"""Whether a client takes any certificate: int."""
TQUIC_CERT: Final = 33
"""Certificate chain, PEM or DER."""
TQUIC_KEY: Final = 34
"""Private key, PEM or DER."""
TQUIC_CA: Final = 35
"""CAs to trust, PEM or DER."""
TQUIC_SOCKOPT_ADD_PATH: Final = 51
"""A local address for another path: struct sockaddr_in or sockaddr_in6."""
TQUIC_PATH_PRIORITY: Final = 53
"""`struct tquic_path_value`: value 0 is a backup path, others are ordinary."""
TQUIC_PATH_WEIGHT: Final = 54
"""`struct tquic_path_value`: the capacity in Mbit/s, 0 as measured."""
TQUIC_SO_DATAGRAM: Final = 80
"""Whether unreliable datagrams are accepted: int."""
TQUIC_MAX_DATAGRAM: Final = 81
"""Bytes of the largest datagram that can be sent now: u32, read only."""
TQUIC_SOCKOPT_AF_XDP: Final = 210
"""Packets past the kernel's stack: 0 off, 1 copy, 2 zero copy."""
TQUIC_QLOG_ENABLE: Final = 250
"""`struct tquic_qlog_args`."""
TQUIC_QLOG_STATS: Final = 251
"""Read only: `struct tquic_qlog_stats`."""
TQUIC_SOCKOPT_ALPN: Final = 300
"""Application protocols, separated by commas."""
TQUIC_SOCKOPT_STREAM_OPEN: Final = 301
"""`struct tquic_stream_info`: opens a stream."""
TQUIC_SOCKOPT_OFFLOAD_INFO: Final = 302
"""Read only: `struct tquic_offload_info`."""
TQUIC_SOCKOPT_OFFLOAD_ENABLE: Final = 303
"""The capabilities to use: int."""
TQUIC_SESSION_TICKET: Final = 305
"""Session tickets: what reading gives, a later socket can be given."""
TQUIC_ERROR: Final = 306
"""Read only: why the connection ended, `struct tquic_error`."""
TQUIC_PATH_INFO: Final = 307
"""Read only: the paths, an array of `struct tquic_path_info`."""
TQUIC_QLOG_PATH: Final = 308
"""The folder of qlog files, or the Unix socket of a listener."""
TQUIC_ECN: Final = 309
"""Whether explicit congestion notification is used: int."""
TQUIC_MAX_CONNECTIONS: Final = 310
"""Connections that a listener has at most: u32."""
TQUIC_QLOG_RING: Final = 311
"""Read only: the connection's ring of qlog events, as text."""
TQUIC_STREAM_ID: Final = 100
"""Ancillary data: the stream of a message, u64."""
TQUIC_STREAM_PRIORITY: Final = 101
"""The urgency of the stream from now on, 0 to 7: u32."""
TQUIC_STREAM_RESET: Final = 102
"""Gives a stream up, or tells that the peer did: its code, u64."""
TQUIC_STREAM_FIN: Final = 103
"""The message ends its stream. No data."""
TQUIC_DATAGRAM: Final = 200
"""The message is an unreliable datagram. No data."""
TQUIC_STREAM_INFO: Final = 304
"""What a received message is: `struct tquic_stream_info`."""
TQUIC_STREAM_FLAG_NEW: Final = 0x01
"""Flags of `tquic_stream_info`: the peer has opened the stream."""
TQUIC_STREAM_FLAG_UNI: Final = 0x02
"""It goes one way."""
TQUIC_STREAM_FLAG_FIN: Final = 0x04
"""It ends behind this message."""
TQUIC_STREAM_FLAG_RESET: Final = 0x08
"""The peer gave it up; the code is in TQUIC_STREAM_RESET."""
TQUIC_STREAM_FLAG_DATAGRAM: Final = 0x10
"""This is an unreliable datagram, not of any stream."""
MSG_FIN: Final = 0x200
"""Flag of sendmsg: the message ends its stream."""
TQUIC_QLOG_MODE_DISABLED: Final = 0
"""Modes of qlog: off."""
TQUIC_QLOG_MODE_RING: Final = 1
"""A ring in memory, to be read with TQUIC_QLOG_RING."""
TQUIC_QLOG_MODE_NETLINK: Final = 2
"""The netlink multicast group `qlog`."""
TQUIC_QLOG_MODE_FILE: Final = 3
"""A file for each connection, in TQUIC_QLOG_PATH or QLOGDIR."""
TQUIC_QLOG_MODE_UNIX: Final = 4
"""To whoever listens at the Unix socket TQUIC_QLOG_PATH."""
TQUIC_QLOG_SEV_CORE: Final = 0
"""Severities: packets, losses, measures, parameters."""
TQUIC_QLOG_SEV_BASE: Final = 1
"""Also states, keys and streams."""
TQUIC_QLOG_SEV_EXTRA: Final = 2
"""Everything there is now."""
TQUIC_QLOG_SEV_DEBUG: Final = 3
"""Everything."""
TQUIC_OFFLOAD_CAP_CRYPTO: Final = 0x01
"""Packets sealed by the network card."""
TQUIC_OFFLOAD_CRYPTO: Final = 0x01
"""The same, to be enabled."""
TQUIC_OFFLOAD_CAP_GSO: Final = 0x02
"""Trains cut by the kernel or the card (UDP_SEGMENT)."""
TQUIC_OFFLOAD_CAP_GRO: Final = 0x04
"""Trains put together by them (UDP_GRO)."""
TQUIC_OFFLOAD_CAP_CPU_AES: Final = 0x08
"""The CPU has AES instructions."""
TQUIC_OFFLOAD_CAP_CPU_VAES: Final = 0x10
"""The CPU has vector AES instructions, and they are used."""
TQUIC_OFFLOAD_CAP_AF_XDP: Final = 0x20
"""Packets may go past the kernel's network stack (AF_XDP); enabled if they do."""
TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY: Final = 0x40
"""And that without copies: known of an interface in use."""
QLOG_MASK_ALL: Final = 0x31FC1FFFC3F
"""All events of `QlogArgs.event_mask`."""
MSG_ZEROCOPY: Final = 0x4000000
"""Flag of sendmsg: the buffer is lent until a notification; see `socket.recvmsg`."""
