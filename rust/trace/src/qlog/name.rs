//! Names of events in both versions of the drafts, and how important they are.

use tquic_core::trace::Mask;

use super::Form;

/// What an event is called.
#[derive(Clone, Copy)]
pub(super) struct Name {
    new: &'static str,
    old: &'static str,
}

impl Name {
    pub fn of(self, form: Form) -> &'static str {
        match form {
            Form::New => self.new,
            Form::Old => self.old,
        }
    }
}

macro_rules! names {
    ($($name:ident = $new:literal, $old:literal;)*) => {
        $(pub(super) const $name: Name = Name { new: $new, old: $old };)*
    };
}

names! {
    SERVER_LISTENING = "quic:server_listening", "connectivity:server_listening";
    CONNECTION_STARTED = "quic:connection_started", "connectivity:connection_started";
    CONNECTION_CLOSED = "quic:connection_closed", "connectivity:connection_closed";
    CONNECTION_ID_UPDATED = "quic:connection_id_updated", "connectivity:connection_id_updated";
    SPIN_BIT_UPDATED = "quic:spin_bit_updated", "connectivity:spin_bit_updated";
    CONNECTION_STATE_UPDATED =
        "quic:connection_state_updated", "connectivity:connection_state_updated";
    TUPLE_ASSIGNED = "quic:tuple_assigned", "connectivity:path_updated";
    MIGRATION_STATE_UPDATED =
        "quic:migration_state_updated", "connectivity:migration_state_updated";
    MTU_UPDATED = "quic:mtu_updated", "connectivity:mtu_updated";
    VERSION_INFORMATION = "quic:version_information", "transport:version_information";
    ALPN_INFORMATION = "quic:alpn_information", "transport:alpn_information";
    PARAMETERS_SET = "quic:parameters_set", "transport:parameters_set";
    PARAMETERS_RESTORED = "quic:parameters_restored", "transport:parameters_restored";
    PACKET_SENT = "quic:packet_sent", "transport:packet_sent";
    PACKET_RECEIVED = "quic:packet_received", "transport:packet_received";
    PACKET_DROPPED = "quic:packet_dropped", "transport:packet_dropped";
    PACKET_BUFFERED = "quic:packet_buffered", "transport:packet_buffered";
    PACKETS_ACKED = "quic:packets_acked", "transport:packets_acked";
    DATAGRAMS_SENT = "quic:udp_datagrams_sent", "transport:datagrams_sent";
    DATAGRAMS_RECEIVED = "quic:udp_datagrams_received", "transport:datagrams_received";
    DATAGRAM_DROPPED = "quic:udp_datagram_dropped", "transport:datagram_dropped";
    STREAM_STATE_UPDATED = "quic:stream_state_updated", "transport:stream_state_updated";
    FRAMES_PROCESSED = "quic:frames_processed", "transport:frames_processed";
    DATA_MOVED = "quic:stream_data_moved", "transport:data_moved";
    RECOVERY_PARAMETERS_SET = "quic:recovery_parameters_set", "recovery:parameters_set";
    METRICS_UPDATED = "quic:recovery_metrics_updated", "recovery:metrics_updated";
    CONGESTION_STATE_UPDATED =
        "quic:congestion_state_updated", "recovery:congestion_state_updated";
    LOSS_TIMER_UPDATED = "quic:timer_updated", "recovery:loss_timer_updated";
    PACKET_LOST = "quic:packet_lost", "recovery:packet_lost";
    MARKED_FOR_RETRANSMIT = "quic:marked_for_retransmit", "recovery:marked_for_retransmit";
    ECN_STATE_UPDATED = "quic:ecn_state_updated", "recovery:ecn_state_updated";
    KEY_UPDATED = "quic:key_updated", "security:key_updated";
    KEY_DISCARDED = "quic:key_discarded", "security:key_discarded";
    SCHEDULER_DECISION = "tquic:scheduler_decision", "tquic:scheduler_decision";
    WARNING = "loglevel:warning", "loglevel:warning";
}

/// How important an event is (main-schema section 8.3), by the numbers that C programs put into
/// `tquic_qlog_args.severity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Severity {
    /// Without these a file says little: packets, losses, metrics, parameters.
    Core = 0,
    /// What explains them: states, keys, drops.
    Base = 1,
    /// Details: datagrams, timers, acknowledged packets.
    #[default]
    Extra = 2,
    /// Everything; at present nothing more than `Extra`.
    Debug = 3,
}

impl Severity {
    /// By its number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Core, Self::Base, Self::Extra, Self::Debug].into_iter().find(|s| *s as u32 == number)
    }

    /// The kinds of events that are at least so important, as the table in section 2 of quic-events
    /// has it.
    pub fn mask(self) -> Mask {
        const CORE: Mask = Mask::VERSION_INFORMATION
            .union(Mask::ALPN_INFORMATION)
            .union(Mask::PARAMETERS_SET)
            .union(Mask::PACKET_SENT)
            .union(Mask::PACKET_RECEIVED)
            .union(Mask::METRICS_UPDATED)
            .union(Mask::PACKET_LOST);
        const BASE: Mask = CORE
            .union(Mask::CONNECTION_STARTED)
            .union(Mask::CONNECTION_CLOSED)
            .union(Mask::CONNECTION_ID_UPDATED)
            .union(Mask::SPIN_BIT_UPDATED)
            .union(Mask::CONNECTION_STATE_UPDATED)
            .union(Mask::PATH_UPDATED)
            .union(Mask::PARAMETERS_RESTORED)
            .union(Mask::PACKET_DROPPED)
            .union(Mask::PACKET_BUFFERED)
            .union(Mask::STREAM_STATE_UPDATED)
            .union(Mask::DATA_MOVED)
            .union(Mask::KEY_UPDATED)
            .union(Mask::KEY_DISCARDED)
            .union(Mask::RECOVERY_PARAMETERS_SET)
            .union(Mask::CONGESTION_STATE_UPDATED);
        match self {
            Self::Core => CORE,
            Self::Base => BASE,
            Self::Extra | Self::Debug => Mask::ALL,
        }
    }
}
