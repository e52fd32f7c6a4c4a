//! Address translation: what a host inside is called outside, and since when.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Bindings of a translator that stands before the hosts inside. Hosts without a binding are called
/// outside as they are inside.
#[derive(Clone, Debug, Default)]
pub(super) struct Nat {
    outward: BTreeMap<SocketAddr, SocketAddr>,
    inward: BTreeMap<SocketAddr, Binding>,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    inside: SocketAddr,
    open: bool,
}

impl Nat {
    /// From now on `inside` is called `outside`. What is sent to its old name is lost.
    pub(super) fn rebind(&mut self, inside: SocketAddr, outside: SocketAddr) {
        let old = self.outward.insert(inside, outside).unwrap_or(inside);
        self.inward.insert(old, Binding { inside, open: false });
        self.inward.insert(outside, Binding { inside, open: true });
    }

    /// What `inside` is called outside.
    pub(super) fn outside(&self, inside: SocketAddr) -> SocketAddr {
        self.outward.get(&inside).copied().unwrap_or(inside)
    }

    /// Who is or was called `outside`: packets are routed there even if the binding has expired,
    /// because only the translator at the end knows.
    pub(super) fn inside(&self, outside: SocketAddr) -> SocketAddr {
        self.inward.get(&outside).map_or(outside, |binding| binding.inside)
    }

    /// Who gets what arrives for `outside`; `None` if the binding has expired.
    pub(super) fn admit(&self, outside: SocketAddr) -> Option<SocketAddr> {
        match self.inward.get(&outside) {
            Some(binding) => binding.open.then_some(binding.inside),
            None => Some(outside),
        }
    }
}
