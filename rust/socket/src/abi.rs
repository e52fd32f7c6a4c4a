//! The numbers of `tquic.h`. Those below 300 are those of the kernel module's public headers, the
//! others are ours. A test compares them with the header.

macro_rules! numbers {
    ($($(#[doc = $text:literal])* $name:ident: $kind:ty = $value:literal;)*) => {
        $($(#[doc = $text])* pub const $name: $kind = $value;)*
        /// Every number with its name.
        pub const ALL: &[(&str, i64)] = &[$((stringify!($name), $value)),*];
    };
}

numbers! {
    /// The protocol, as Linux numbers it.
    IPPROTO_QUIC: i32 = 261;
    /// The same in the module's headers.
    IPPROTO_TQUIC: i32 = 253;
    /// The same in the module's documentation.
    IPPROTO_TQUIC_DOC: i32 = 263;
    /// The level of options and ancillary data.
    SOL_TQUIC: i32 = 288;

    /// Read only: `struct tquic_info`.
    TQUIC_INFO: i32 = 7;
    /// Name of the congestion controller.
    TQUIC_SOCKOPT_CONGESTION: i32 = 8;
    /// Name of the scheduler of paths.
    TQUIC_SOCKOPT_SCHEDULER: i32 = 9;
    /// Whether sending is paced: int.
    TQUIC_PACING: i32 = 10;
    /// Milliseconds: u32.
    TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT: i32 = 11;
    /// Bytes: u64 or u32.
    TQUIC_SOCKOPT_INITIAL_MAX_DATA: i32 = 12;
    /// Bytes: u64 or u32.
    TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI: i32 = 13;
    /// Streams: u64 or u32.
    TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI: i32 = 14;
    /// Streams: u64 or u32.
    TQUIC_MAX_STREAMS_UNI: i32 = 15;
    /// Milliseconds that acknowledgements are held back at most: u32.
    TQUIC_ACK_DELAY: i32 = 16;
    /// Whether the peer may migrate: int.
    TQUIC_MIGRATION: i32 = 17;
    /// Whether several paths may be used: int.
    TQUIC_SOCKOPT_MULTIPATH_ENABLE: i32 = 18;
    /// Whether MSG_ZEROCOPY counts: int.
    TQUIC_SOCKOPT_ZEROCOPY: i32 = 21;
    /// Certificates of peers: 0 are not asked for or looked at, 1 may be missing, 2 must be good.
    TQUIC_CERT_VERIFY: i32 = 30;
    /// The name that the server's certificate must be for.
    TQUIC_EXPECTED_HOSTNAME: i32 = 31;
    /// Whether a client takes any certificate: int.
    TQUIC_ALLOW_SELF_SIGNED: i32 = 32;
    /// Certificate chain, PEM or DER.
    TQUIC_CERT: i32 = 33;
    /// Private key, PEM or DER.
    TQUIC_KEY: i32 = 34;
    /// CAs to trust, PEM or DER.
    TQUIC_CA: i32 = 35;
    /// A local address for another path: struct sockaddr_in or sockaddr_in6.
    TQUIC_SOCKOPT_ADD_PATH: i32 = 51;
    /// `struct tquic_path_value`: value 0 is a backup path, others are ordinary.
    TQUIC_PATH_PRIORITY: i32 = 53;
    /// `struct tquic_path_value`: the capacity in Mbit/s, 0 as measured.
    TQUIC_PATH_WEIGHT: i32 = 54;
    /// Whether unreliable datagrams are accepted: int.
    TQUIC_SO_DATAGRAM: i32 = 80;
    /// Bytes of the largest datagram that can be sent now: u32, read only.
    TQUIC_MAX_DATAGRAM: i32 = 81;
    /// Packets past the kernel's stack: 0 off, 1 copy, 2 zero copy.
    TQUIC_SOCKOPT_AF_XDP: i32 = 210;
    /// `struct tquic_qlog_args`.
    TQUIC_QLOG_ENABLE: i32 = 250;
    /// Read only: `struct tquic_qlog_stats`.
    TQUIC_QLOG_STATS: i32 = 251;
    /// Application protocols, separated by commas.
    TQUIC_SOCKOPT_ALPN: i32 = 300;
    /// `struct tquic_stream_info`: opens a stream.
    TQUIC_SOCKOPT_STREAM_OPEN: i32 = 301;
    /// Read only: `struct tquic_offload_info`.
    TQUIC_SOCKOPT_OFFLOAD_INFO: i32 = 302;
    /// The capabilities to use: int.
    TQUIC_SOCKOPT_OFFLOAD_ENABLE: i32 = 303;
    /// Session tickets: what reading gives, a later socket can be given.
    TQUIC_SESSION_TICKET: i32 = 305;
    /// Read only: why the connection ended, `struct tquic_error`.
    TQUIC_ERROR: i32 = 306;
    /// Read only: the paths, an array of `struct tquic_path_info`.
    TQUIC_PATH_INFO: i32 = 307;
    /// The folder of qlog files, or the Unix socket of a listener.
    TQUIC_QLOG_PATH: i32 = 308;
    /// Whether explicit congestion notification is used: int.
    TQUIC_ECN: i32 = 309;
    /// Connections that a listener has at most: u32.
    TQUIC_MAX_CONNECTIONS: i32 = 310;
    /// Read only: the connection's ring of qlog events, as text.
    TQUIC_QLOG_RING: i32 = 311;

    /// Ancillary data: the stream of a message, u64.
    TQUIC_STREAM_ID: i32 = 100;
    /// The urgency of the stream from now on, 0 to 7: u32.
    TQUIC_STREAM_PRIORITY: i32 = 101;
    /// Gives a stream up, or tells that the peer did: its code, u64.
    TQUIC_STREAM_RESET: i32 = 102;
    /// The message ends its stream. No data.
    TQUIC_STREAM_FIN: i32 = 103;
    /// The message is an unreliable datagram. No data.
    TQUIC_DATAGRAM: i32 = 200;
    /// What a received message is: `struct tquic_stream_info`.
    TQUIC_STREAM_INFO: i32 = 304;

    /// Flags of `tquic_stream_info`: the peer has opened the stream.
    TQUIC_STREAM_FLAG_NEW: u32 = 0x01;
    /// It goes one way.
    TQUIC_STREAM_FLAG_UNI: u32 = 0x02;
    /// It ends behind this message.
    TQUIC_STREAM_FLAG_FIN: u32 = 0x04;
    /// The peer gave it up; the code is in TQUIC_STREAM_RESET.
    TQUIC_STREAM_FLAG_RESET: u32 = 0x08;
    /// This is an unreliable datagram, not of any stream.
    TQUIC_STREAM_FLAG_DATAGRAM: u32 = 0x10;

    /// Flag of sendmsg: the message ends its stream.
    MSG_FIN: i32 = 0x200;

    /// Modes of qlog: off.
    TQUIC_QLOG_MODE_DISABLED: u32 = 0;
    /// A ring in memory, to be read with TQUIC_QLOG_RING.
    TQUIC_QLOG_MODE_RING: u32 = 1;
    /// The netlink multicast group `qlog`.
    TQUIC_QLOG_MODE_NETLINK: u32 = 2;
    /// A file for each connection, in TQUIC_QLOG_PATH or QLOGDIR.
    TQUIC_QLOG_MODE_FILE: u32 = 3;
    /// To whoever listens at the Unix socket TQUIC_QLOG_PATH.
    TQUIC_QLOG_MODE_UNIX: u32 = 4;
    /// Severities: packets, losses, measures, parameters.
    TQUIC_QLOG_SEV_CORE: u32 = 0;
    /// Also states, keys and streams.
    TQUIC_QLOG_SEV_BASE: u32 = 1;
    /// Everything there is now.
    TQUIC_QLOG_SEV_EXTRA: u32 = 2;
    /// Everything.
    TQUIC_QLOG_SEV_DEBUG: u32 = 3;

    /// Packets sealed by the network card.
    TQUIC_OFFLOAD_CAP_CRYPTO: u32 = 0x01;
    /// The same, to be enabled.
    TQUIC_OFFLOAD_CRYPTO: u32 = 0x01;
    /// Trains cut by the kernel or the card (UDP_SEGMENT).
    TQUIC_OFFLOAD_CAP_GSO: u32 = 0x02;
    /// Trains put together by them (UDP_GRO).
    TQUIC_OFFLOAD_CAP_GRO: u32 = 0x04;
    /// The CPU has AES instructions.
    TQUIC_OFFLOAD_CAP_CPU_AES: u32 = 0x08;
    /// The CPU has vector AES instructions, and they are used.
    TQUIC_OFFLOAD_CAP_CPU_VAES: u32 = 0x10;
    /// Packets may go past the kernel's network stack (AF_XDP); enabled if they do.
    TQUIC_OFFLOAD_CAP_AF_XDP: u32 = 0x20;
    /// And that without copies: known of an interface in use.
    TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY: u32 = 0x40;
}

/// Whether a protocol number is that of QUIC.
pub fn is_quic(protocol: i32) -> bool {
    matches!(protocol, IPPROTO_QUIC | IPPROTO_TQUIC | IPPROTO_TQUIC_DOC)
}

/// Reads an integer of 4 or 8 bytes, as C programs give it.
pub fn integer(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => Some(u64::from(u32::from_ne_bytes(value.try_into().ok()?))),
        8 => Some(u64::from_ne_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

/// `struct tquic_stream_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream.
    pub stream_id: u64,
    /// `TQUIC_STREAM_FLAG_...`.
    pub flags: u32,
}

impl StreamInfo {
    /// Bytes of the struct.
    pub const SIZE: usize = 16;

    /// As C programs have it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..8].copy_from_slice(&self.stream_id.to_ne_bytes());
        out[8..12].copy_from_slice(&self.flags.to_ne_bytes());
        out
    }

    /// Of at least the 12 bytes that mean something.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stream_id = integer(bytes.get(..8)?)?;
        let flags = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        Some(Self { stream_id, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_info_is_what_c_has() {
        let info = StreamInfo { stream_id: 1 << 40, flags: 5 };
        let bytes = info.to_bytes();
        assert_eq!(StreamInfo::from_bytes(&bytes), Some(info));
        assert_eq!(StreamInfo::from_bytes(&bytes[..12]), Some(info));
        assert_eq!(StreamInfo::from_bytes(&bytes[..11]), None);
        assert_eq!(integer(&7_u32.to_ne_bytes()), Some(7));
        assert_eq!(integer(&[1, 2, 3]), None);
    }

    /// `tquic.h` says the same: every number here stands there, and no other.
    #[test]
    fn the_header_has_the_same_numbers() {
        let header = include_str!("../../../python/tquic/include/tquic.h");
        let value = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        let mut found: Vec<(&str, i64)> = header
            .lines()
            .filter_map(|line| line.trim().strip_prefix('#')?.trim().strip_prefix("define "))
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, value(words.next()?)?))
            })
            .filter(|(name, _)| !name.starts_with("TQUIC_ERR_") && !name.starts_with("QLOG_"))
            .collect();
        let mut known = ALL.to_vec();
        found.sort_unstable();
        known.sort_unstable();
        assert_eq!(found, known);
    }
}
