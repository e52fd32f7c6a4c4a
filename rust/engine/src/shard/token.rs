//! What the poller calls its sources: sockets count from 0, all others from the top down.

use tquic_net::os::RESERVED_TOKEN;
use tquic_net::xdp::MAX_QUEUES;

/// News of interfaces.
pub(super) const LINKS: usize = RESERVED_TOKEN - 1;
/// The first queue of the interface; the others follow.
const QUEUES: usize = LINKS - 1;

/// The token for a queue of the interface.
pub(crate) fn queue_token(queue: usize) -> usize {
    QUEUES - queue
}

/// The queue that a token is for.
pub(super) fn queue_of(token: usize) -> Option<usize> {
    QUEUES.checked_sub(token).filter(|queue| *queue < MAX_QUEUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_name_of_its_own() {
        for queue in 0..MAX_QUEUES {
            assert_eq!(queue_of(queue_token(queue)), Some(queue));
        }
        for other in [0, 1_000_000, queue_token(0) - MAX_QUEUES, LINKS, RESERVED_TOKEN] {
            assert_eq!(queue_of(other), None);
        }
    }
}
