//! Judges a run by what was written down.

use super::plan::{Ending, Plan, What};
use super::record::{EndRecord, Record, seconds};
use crate::simulation::Outcome;
use tquic_core::events::ConnectionError;
use tquic_core::time::Instant;
use tquic_wire::{Side, TransportErrorCode};

/// Everything that is wrong; empty if the run is as it must be.
pub fn judge(record: &Record, outcome: Outcome, served: Instant) -> Vec<String> {
    let mut wrong: Vec<String> =
        record.violations.iter().map(|(at, what)| format!("{} {what}", seconds(*at))).collect();
    match outcome {
        Outcome::Done => {}
        Outcome::Idle => wrong.push("nothing more happens, and not all is done".to_owned()),
        Outcome::TimeOver => wrong.push(format!(
            "not over after {} s (applications: {})",
            record.plan.limit.as_secs(),
            seconds(served).trim()
        )),
        Outcome::Spinning(host) => {
            wrong.push(format!("{host:?} wants to be woken at once, for ever"));
        }
    }
    for index in 0..record.ends.len() {
        for side in [Side::Client, Side::Server] {
            wrong.extend(judge_end(record, index, side));
        }
    }
    let counts = &record.counts;
    // Most timeouts send something, or come from an application that waits.
    let patience = 1_000 + 300 * record.ends.len() as u64 + 8 * counts.packets;
    if counts.timeouts > patience {
        wrong.push(format!("{} timeouts for {} datagrams", counts.timeouts, counts.packets));
    }
    wrong
}

fn judge_end(record: &Record, index: usize, side: Side) -> Option<String> {
    let plan = &record.plan;
    let [mine, other] = match side {
        Side::Client => [&record.ends[index][0], &record.ends[index][1]],
        Side::Server => [&record.ends[index][1], &record.ends[index][0]],
    };
    let (at, error) = mine.over.as_ref()?;
    let who = format!("{} {side:?} end of connection {index}", seconds(*at));
    if !explained(plan, index, side, (*at, error), (mine, other)) {
        return Some(format!("{who}: {error}"));
    }
    let complete = matches!(plan.connections[index].ending, Ending::Close(_) | Ending::Idle)
        && !plan.may_die
        && plan.restart.is_none()
        && has_version(plan)
        && !stranded(mine)
        && !stranded(other);
    (complete && !mine.done).then(|| format!("{who}: over before all was done ({error})"))
}

/// Whether it has closed because no path was left; whether it should have, is judged by itself.
fn stranded(end: &EndRecord) -> bool {
    matches!(&end.over, Some((_, ConnectionError::Local(e))) if e.code == TransportErrorCode::NO_VIABLE_PATH)
}

fn has_version(plan: &Plan) -> bool {
    plan.client.versions.iter().any(|v| plan.server.versions.contains(v))
}

/// Whether the plan explains that an end of a connection ended so.
fn explained(
    plan: &Plan,
    index: usize,
    side: Side,
    (at, error): (Instant, &ConnectionError),
    (mine, other): (&EndRecord, &EndRecord),
) -> bool {
    let connection = &plan.connections[index];
    if !has_version(plan) {
        return match error {
            ConnectionError::VersionMismatch { .. } => side == Side::Client,
            ConnectionError::LocalClose { .. } => mine.closed.is_some(),
            _ => false,
        };
    }
    let code = match connection.ending {
        Ending::Abort { code, .. } => code,
        Ending::Close(_) | Ending::Idle => 0,
    };
    let other_closed = other.closed.is_some_and(|closed| closed <= at);
    // The other end is gone, and its last words may have been lost.
    let other_gone = other.over.as_ref().is_some_and(|(over, _)| *over <= at);
    let rebinds = connection.acts.iter().any(|act| matches!(act.what, What::Rebind { .. }));
    let deaf = other_gone && (rebinds || !plan.network.is_faithful());
    let restarted = plan.restart.is_some_and(|time| Instant::ZERO + time <= at);
    // An application abandoned one path while the other did not work. If each is done at another
    // end, none can know in time (draft-ietf-quic-multipath-21 section 3.4).
    let abandons = connection.acts.iter().any(|act| matches!(act.what, What::AbandonPath(_)));
    let crossed = abandons && (mine.gave_up_path || other.gave_up_path);
    match error {
        ConnectionError::LocalClose { code: said, .. } => mine.closed.is_some() && *said == code,
        ConnectionError::PeerClose { code: said, .. } => other_closed && *said == code,
        // RFC 9000 section 10.2.3: in the handshake the application's code is not told.
        ConnectionError::Peer(e) if e.code == TransportErrorCode::APPLICATION_ERROR => other_closed,
        ConnectionError::Peer(e) => e.code == TransportErrorCode::NO_VIABLE_PATH && stranded(other),
        ConnectionError::IdleTimeout => {
            connection.ending == Ending::Idle || deaf || restarted || plan.may_die
        }
        ConnectionError::HandshakeTimeout => {
            deaf || restarted || plan.may_die || (other_closed && side == Side::Server)
        }
        ConnectionError::StatelessReset => deaf || restarted,
        ConnectionError::Local(e) => {
            e.code == TransportErrorCode::NO_VIABLE_PATH && (plan.may_die || deaf || crossed)
        }
        ConnectionError::VersionMismatch { .. } | ConnectionError::Refused(_) => false,
    }
}
