//! USDT probes of the provider `tquic`: bpftrace, perf and SystemTap can attach to them.
//!
//! A probe is a `nop` and a note that says where it is, where its arguments are, and where its
//! semaphore: a counter that the kernel (or the tool) raises while somebody is attached. Nobody is,
//! most of the time: then the core does not even gather the arguments. The names and the order of the
//! arguments are those of the TQUIC kernel module's tracepoints.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod absent;
mod fire;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stapsdt;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use absent as site;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use stapsdt as site;

pub use fire::Probes;

use tquic_core::trace::Mask;

macro_rules! probes {
    ($($name:ident($($arg:ident),*) on $mask:expr;)*) => {
        /// The probes, in the order of their semaphores.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(non_camel_case_types, reason = "the names that tools use")]
        pub(crate) enum Probe {
            $($name,)*
        }

        impl Probe {
            const ALL: [(Self, Mask); probes!(@count $($name)*)] =
                [$((Self::$name, $mask)),*];
        }

        /// Each probe's name and the names of its arguments, in order.
        pub const NAMES: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$(stringify!($arg)),*])),*];

        $(
            #[inline(never)]
            pub(crate) fn $name($($arg: u64),*) {
                site::site!($name, $($arg),*);
            }
        )*
    };
    (@count $($name:ident)*) => { <[&str]>::len(&[$(stringify!($name)),*]) };
}

probes! {
    connection_new(conn_id, is_server, version, scid, scid_len, dcid, dcid_len)
        on Mask::CONNECTION_STARTED;
    connection_established(conn_id, handshake_time_us, version, cipher_suite, early_data)
        on Mask::CONNECTION_STATE_UPDATED
            .union(Mask::PARAMETERS_SET)
            .union(Mask::VERSION_INFORMATION);
    connection_closed(conn_id, error_code, is_app_error, bytes_sent, bytes_received)
        on Mask::CONNECTION_CLOSED;
    packet_sent(conn_id, pkt_num, pkt_type, size, path_id, bytes_in_flight, cwnd)
        on Mask::PACKET_SENT;
    packet_received(conn_id, pkt_num, pkt_type, size, path_id, ecn) on Mask::PACKET_RECEIVED;
    packet_dropped(conn_id, pkt_type, size, reason) on Mask::PACKET_DROPPED;
    packet_lost(conn_id, pkt_num, size, trigger, path_id, total_lost) on Mask::PACKET_LOST;
    stream_opened(conn_id, stream_id, is_bidi, is_local) on Mask::STREAM_STATE_UPDATED;
    stream_closed(conn_id, stream_id, error_code, bytes_sent, bytes_received)
        on Mask::STREAM_STATE_UPDATED;
    stream_data(conn_id, stream_id, offset, length, is_fin, is_send) on Mask::DATA_MOVED;
    cc_state_changed(conn_id, old_state, new_state, cwnd, ssthresh, path_id)
        on Mask::CONGESTION_STATE_UPDATED;
    cc_metrics_updated(conn_id, cwnd, bytes_in_flight, smoothed_rtt, min_rtt, pacing_rate, path_id)
        on Mask::METRICS_UPDATED;
    path_created(conn_id, path_id, local_addr, remote_addr, local_port, remote_port)
        on Mask::PATH_UPDATED;
    path_validated(conn_id, path_id, validation_time_us) on Mask::PATH_UPDATED;
    path_closed(conn_id, path_id, reason) on Mask::PATH_UPDATED;
    scheduler_decision(conn_id, selected_path, reason, candidate_count)
        on Mask::SCHEDULER_DECISION;
    migration(conn_id, old_path_id, new_path_id, migration_type) on Mask::PATH_UPDATED;
}

/// The kinds of events that somebody attached to a probe waits for. Cheap enough to ask again and
/// again.
pub fn wanted() -> Mask {
    let of = |mask: Mask, (probe, kinds): &(Probe, Mask)| match is_attached(*probe) {
        true => mask.union(*kinds),
        false => mask,
    };
    Probe::ALL.iter().fold(Mask::NONE, of)
}

/// Whether somebody is attached to this probe.
pub(crate) fn is_attached(probe: Probe) -> bool {
    site::is_attached(probe as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_attached_to_a_test_and_names_are_complete() {
        assert!(wanted().is_empty());
        assert_eq!((NAMES.len(), Probe::ALL.len()), (17, 17));
        assert_eq!(NAMES[3].0, "packet_sent");
        assert_eq!(Probe::packet_sent as usize, 3);
    }
}
