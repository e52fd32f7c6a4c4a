//! What the server sends to addresses that have not shown that they want it, counted from outside
//! (RFC 9000 section 8.1).
//!
//! The observer knows more than the server: which datagrams the client has received. An address can
//! only be proved by a datagram that went to it, reached the client, and was followed by one from
//! the client that shows it. Each datagram carries what its sender has heard in its label, which no
//! endpoint reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Label of a client's datagram whose connection presents a token: the token proves the IP address
/// if it was heard of before.
pub const TOKEN: u64 = 1 << 63;
/// Addresses that fit the label.
const MAX_ADDRESSES: usize = 62;

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    index: usize,
    received: u64,
    sent: u64,
    heard: bool,
}

/// The server's side of the matter.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<SocketAddr, Account>,
    heard_hosts: BTreeSet<IpAddr>,
}

impl Ledger {
    fn account(&mut self, address: SocketAddr) -> &mut Account {
        let index = self.accounts.len();
        self.accounts.entry(address).or_insert(Account { index, ..Account::default() })
    }

    /// A datagram of `bytes` with this label arrived from `address`. The answer to what was sent
    /// elsewhere counts as well (RFC 9000 section 8.2.3).
    pub fn on_received(&mut self, address: SocketAddr, bytes: u64, label: u64) {
        let token = label & TOKEN != 0 && self.heard_hosts.contains(&address.ip());
        let account = self.account(address);
        account.received += bytes;
        account.heard |= token;
        for (address, account) in &mut self.accounts {
            account.heard |= account.index < MAX_ADDRESSES && label & (1 << account.index) != 0;
            if account.heard {
                self.heard_hosts.insert(address.ip());
            }
        }
    }

    /// A datagram of `bytes` goes to `address`: its label, or what is wrong with it.
    pub fn on_sent(&mut self, address: SocketAddr, bytes: u64) -> Result<u64, String> {
        let account = self.account(address);
        account.sent += bytes;
        let Account { index, received, sent, heard } = *account;
        if !heard && sent > 3 * received {
            return Err(format!(
                "{sent} bytes sent to {address}, which sent {received} and never answered"
            ));
        }
        Ok(if index < MAX_ADDRESSES { 1 << index } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_lifts_the_limit() {
        let [a, b] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 1)));
        let mut ledger = Ledger::default();
        ledger.on_received(a, 1200, 0);
        let to_a = ledger.on_sent(a, 3600).unwrap();
        assert!(ledger.on_sent(a, 1).is_err());
        ledger.on_received(b, 100, to_a);
        assert!(ledger.on_sent(b, 301).is_err(), "the answer proves another address");
        assert!(ledger.on_sent(a, 1 << 20).is_ok());
        let other_port = SocketAddr::from(([10, 0, 0, 1], 9));
        ledger.on_received(other_port, 10, 0);
        assert!(ledger.on_sent(other_port, 31).is_err());
        ledger.on_received(other_port, 10, TOKEN);
        assert!(ledger.on_sent(other_port, 3100).is_ok());
    }
}
