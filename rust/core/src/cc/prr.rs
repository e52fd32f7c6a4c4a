//! Proportional Rate Reduction (RFC 9937): what may be sent while in recovery, so that the flight
//! size comes down to the slow start threshold over one round trip instead of stopping at once.

use crate::cc::math::scale_up;

/// State of one recovery period.
#[derive(Clone, Copy, Debug)]
pub struct Prr {
    /// RecoverFS: bytes in flight when recovery began.
    recover_flight: u64,
    ssthresh: u64,
    delivered: u64,
    sent: u64,
    /// SndCnt: bytes that may still be sent before the next ACK.
    quota: u64,
}

impl Prr {
    /// Recovery begins with `flight` bytes in flight, lost ones included. One packet may go at
    /// once, as a fast retransmit (RFC 9002 section 7.3.2).
    pub fn new(flight: u64, ssthresh: u64, mss: u64) -> Self {
        Self { recover_flight: flight.max(1), ssthresh, delivered: 0, sent: 0, quota: mss }
    }

    /// An ACK frame delivered `delivered` bytes and left `in_flight`. It is safe if it indicated
    /// no further loss.
    pub fn on_ack(&mut self, delivered: u64, in_flight: u64, safe: bool, mss: u64) {
        self.delivered = self.delivered.saturating_add(delivered);
        let count = if in_flight > self.ssthresh {
            scale_up(self.delivered, self.ssthresh, self.recover_flight).saturating_sub(self.sent)
        } else {
            // Conservative reduction bound: not more than was delivered. Only an ACK that shows
            // progress without loss earns the slow start reduction bound's extra packet.
            let bound = self.delivered.saturating_sub(self.sent).max(delivered);
            let bound = if safe { bound.saturating_add(mss) } else { bound };
            bound.min(self.ssthresh - in_flight)
        };
        // The fast retransmit goes out whatever the proportion, as a whole packet.
        self.quota = if self.sent == 0 { count.max(mss) } else { count };
    }

    /// `bytes` were sent.
    pub fn on_sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
        self.quota = self.quota.saturating_sub(bytes);
    }

    /// Bytes that may be sent now.
    pub fn quota(&self) -> u64 {
        self.quota
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;

    /// Runs a recovery of a flight of 100 packets with the first `lost` of them lost. Every round
    /// sends what PRR allows; returns bytes sent in it and the flight at its end.
    fn recover(lost: u64, ssthresh: u64) -> (u64, u64) {
        let mut flight = 100 * MSS - lost * MSS;
        let mut prr = Prr::new(100 * MSS, ssthresh, MSS);
        let mut sent = 0;
        for _ in lost..100 {
            flight -= MSS;
            prr.on_ack(MSS, flight, true, MSS);
            while prr.quota() >= MSS {
                prr.on_sent(MSS);
                sent += MSS;
                flight += MSS;
            }
        }
        (sent, flight)
    }

    #[test]
    fn light_loss_sends_in_proportion_and_ends_at_ssthresh() {
        let (sent, flight) = recover(1, 70 * MSS);
        assert_eq!((sent, flight), (70 * MSS, 70 * MSS));
    }

    #[test]
    fn heavy_loss_climbs_back_to_ssthresh_without_burst() {
        let (_, flight) = recover(60, 70 * MSS);
        assert_eq!(flight, 70 * MSS);
    }

    #[test]
    fn unsafe_ack_is_bounded_by_what_was_delivered() {
        let mut prr = Prr::new(20 * MSS, 14 * MSS, MSS);
        prr.on_ack(2 * MSS, 5 * MSS, false, MSS);
        assert_eq!(prr.quota(), 2 * MSS);
        prr.on_ack(2 * MSS, 3 * MSS, true, MSS);
        assert_eq!(prr.quota(), 5 * MSS, "delivered so far, plus one for the safe ACK");
    }

    #[test]
    fn one_packet_goes_out_even_when_proportion_says_none() {
        let mut prr = Prr::new(100 * MSS, 50 * MSS, MSS);
        assert_eq!(prr.quota(), MSS);
        prr.on_ack(0, 99 * MSS, false, MSS);
        assert_eq!(prr.quota(), MSS);
        prr.on_sent(MSS);
        prr.on_ack(0, 99 * MSS, false, MSS);
        assert_eq!(prr.quota(), 0);
    }
}
