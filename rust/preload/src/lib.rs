//! `libtquic-preload.so`: functions of the C library that know `IPPROTO_QUIC`.
//!
//! A program that runs with this in `LD_PRELOAD` gets QUIC sockets from `socket(AF_INET, SOCK_DGRAM,
//! IPPROTO_QUIC)`; calls on all other descriptors go to the C library. Only calls that mean something
//! else for QUIC are here: the descriptor of such a socket is the near end of `tquic-socket`, a real
//! one, so that `poll`, `select`, `epoll`, `dup` and `close` need no help.
#![cfg(target_os = "linux")]
#![allow(clippy::unnecessary_cast, reason = "some fields of msghdr are of another type with musl")]
#![allow(
    clippy::missing_safety_doc,
    reason = "these are functions of the C library, whose manual says what they need"
)]

mod address;
mod descriptors;
mod messages;
mod netlink;
mod real;
mod sockets;
mod table;
mod wait;
