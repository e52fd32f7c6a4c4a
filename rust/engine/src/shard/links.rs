//! Interfaces that go down and come up: connections with several paths hear of it at once, instead of
//! waiting for what is not acknowledged.

use smallvec::SmallVec;
use tquic_core::path::FourTuple;
use tquic_net::os::{self, Link, LinkWatch};
use tquic_net::udp::UdpSocket;

use super::Shard;
use super::token::LINKS;

/// Whether what leaves through a socket can leave. `None`: it is bound neither to an interface nor to
/// an address of one, and routes decide.
fn is_carried(socket: &UdpSocket, links: &[Link]) -> Option<bool> {
    let ip = socket.local_addr().ip().to_canonical();
    match socket.interface() {
        Some(name) => Some(links.iter().any(|l| l.name == name && l.up)),
        None if ip.is_unspecified() => None,
        None => Some(links.iter().any(|l| l.address == Some(ip) && l.up)),
    }
}

impl Shard {
    /// From the first socket that a connection has for itself on. Without this, what is not
    /// acknowledged tells in the end.
    pub(super) fn watch_links(&mut self) {
        if self.links.is_none() {
            self.links = LinkWatch::new(&mut self.poller, LINKS).ok();
        }
    }

    /// The system says that something has changed.
    pub(super) fn on_links(&mut self) {
        if !self.links.as_ref().is_some_and(LinkWatch::take) {
            return;
        }
        let Ok(links) = os::links() else { return };
        for (_, service) in &mut self.services {
            for handle in service.endpoint.handles() {
                let Some(slot) = service.table.get_mut(handle) else { continue };
                for socket in slot.sockets.iter().filter_map(|at| self.sockets.get(*at)) {
                    let Some(up) = is_carried(&socket.socket, &links) else { continue };
                    let Some(connection) = service.endpoint.connection(handle) else { continue };
                    let port = socket.local.port();
                    let mine = |t: &FourTuple| t.local.port() == port;
                    let tuples = connection.paths().map(|path| path.active().addresses);
                    for tuple in tuples.filter(mine).collect::<SmallVec<[_; 2]>>() {
                        match up {
                            true => connection.on_local_up(&tuple),
                            false => connection.on_local_down(self.now, &tuple),
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_net::udp::SocketOptions;

    #[test]
    fn sockets_follow_their_interface_or_their_address() {
        let bind = |address: &str| {
            UdpSocket::bind(address.parse().unwrap(), &SocketOptions::default()).unwrap()
        };
        let link = |up| {
            let address = Some([127, 0, 0, 1].into());
            [Link { name: "lo".to_owned(), address, up }]
        };
        let (any, own) = (bind("0.0.0.0:0"), bind("127.0.0.1:0"));
        assert_eq!(is_carried(&any, &link(false)), None);
        assert_eq!(is_carried(&own, &link(true)), Some(true));
        assert_eq!(is_carried(&own, &link(false)), Some(false));
        assert_eq!(is_carried(&own, &[]), Some(false));
    }
}
