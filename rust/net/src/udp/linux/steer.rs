//! Which shard gets a datagram: the connection ID names it, the kernel reads it.

use std::io;
use std::os::fd::AsFd;

use libc::sock_filter;

use super::UdpSocket;
use super::sockopt::attach_reuseport;

/// Has the kernel give each datagram to the socket number *first byte of its destination
/// connection ID mod `shards`* in the `SO_REUSEPORT` group of `socket`. Sockets count in the order
/// in which they were bound; so bind all of them first, and replace all when one goes.
///
/// The ID starts at byte 6 behind a long header's first byte, version and length (RFC 8999 section
/// 5.1), at byte 1 of a short header (section 5.2). A client's first ID is random, which spreads
/// new connections; the IDs a shard issues must then begin with a byte that leads back to it. A
/// datagram too short to have the byte goes to shard 0, and a coalesced train follows its first
/// datagram.
pub fn reuseport_by_cid(socket: &UdpSocket, shards: u32) -> io::Result<()> {
    if shards == 0 || shards > 256 {
        let why = "the first byte of a connection ID names 1 to 256 shards";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    attach_reuseport(socket.as_fd(), &mut program(shards))
}

/// Offsets count from the UDP payload: the kernel skips the UDP header before it runs a
/// reuseport program. Loading beyond the end ends the program with 0.
fn program(shards: u32) -> [sock_filter; 7] {
    use libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JA, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET,
    };
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let load_byte = BPF_LD | BPF_B | BPF_ABS;
    [
        op(load_byte, 0, 0, 0),
        // RFC 8999 section 5: the most significant bit tells long (on) from short (two ahead).
        op(BPF_JMP | BPF_JSET | BPF_K, 0, 2, 0x80),
        op(load_byte, 0, 0, 6),
        op(BPF_JMP | BPF_JA, 0, 0, 1),
        op(load_byte, 0, 0, 1),
        op(BPF_ALU | BPF_MOD | BPF_K, 0, 0, shards),
        op(BPF_RET | BPF_A, 0, 0, 0),
    ]
}
