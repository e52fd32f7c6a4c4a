//! Paths come and go: opened by the client, accepted by the server, abandoned by either.

use core::fmt;
use core::num::NonZeroU32;

use tquic_wire::{ConnectionId, Side, Space, TransportErrorCode};

use crate::connection::{Connection, new_tuple};
use crate::error::TransportError;
use crate::events::{EndpointEvent, Event, PathChange};
use crate::multipath::{Multipath, News, PathNews, SPARE_CIDS};
use crate::path::{FourTuple, Path, PathLabel, Stage, Standing, Tuple};
use crate::recovery::{Recovery, RecoveryConfig};
use crate::rx::Arrival;
use crate::space::AckTracker;
use crate::time::Instant;

/// Why a path cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenPathError {
    /// One of the two ends does not want several paths.
    NotNegotiated,
    /// Not before the handshake is confirmed.
    NotConfirmed,
    /// Only clients open paths.
    NotClient,
    /// The server's transport parameters forbid it.
    Forbidden,
    /// As many paths as either end allows are open, or were.
    Limit,
    /// The peer has given no connection ID to use there (yet).
    NoConnectionId,
}

impl fmt::Display for OpenPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNegotiated => "multipath was not negotiated: both ends must enable it",
            Self::NotConfirmed => "the handshake is not confirmed yet",
            Self::NotClient => "only a client can open paths",
            Self::Forbidden => "the server forbids other paths (disable_active_migration)",
            Self::Limit => "no path ID is left: as many paths as both ends allow are open",
            Self::NoConnectionId => "the server has given no connection ID for another path yet",
        })
    }
}

impl std::error::Error for OpenPathError {}

/// Why nothing can be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// There is no open path with this ID.
    Unknown,
    /// It is the only one: close the connection instead.
    Last,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "there is no open path with this ID",
            Self::Last => "this is the only path: close the connection instead",
        })
    }
}

impl std::error::Error for PathError {}

/// What a path ID stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// The path with this index.
    Path(usize),
    /// It could be opened.
    Spare(u32),
    /// It was, or never will be: frames about it are ignored (section 4).
    Closed,
}

impl Connection {
    /// Whether both ends want several paths.
    pub fn is_multipath(&self) -> bool {
        self.multipath.is_some()
    }

    /// All paths, abandoned ones that are not forgotten yet among them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter()
    }

    /// Client: opens another path. It carries data once `Event::Path` says that it is validated.
    pub fn open_path(&mut self, now: Instant, addresses: FourTuple) -> Result<u32, OpenPathError> {
        if self.ids.side == Side::Server {
            return Err(OpenPathError::NotClient);
        }
        // Known from the server's transport parameters on: who waits for more waits in vain.
        let known = self.config.max_paths.is_none() || self.handshake.parameters_seen;
        if self.multipath.is_none() && known {
            return Err(OpenPathError::NotNegotiated);
        }
        if !self.handshake.is_confirmed() {
            return Err(OpenPathError::NotConfirmed);
        }
        let handshakes = self.paths[0].active().addresses.remote;
        let open = self.paths.iter().filter(|p| p.standing.may_send()).count();
        let Some(multipath) = &mut self.multipath else {
            return Err(OpenPathError::NotNegotiated);
        };
        // Section 2.2: no paths to the address of the handshake then.
        if self.peer.disable_active_migration && addresses.remote == handshakes {
            return Err(OpenPathError::Forbidden);
        }
        let taken = |id: &u32| self.paths.iter().any(|p| p.id == *id);
        let Some(id) = multipath.usable().find(|id| !taken(id)) else {
            multipath.blocked();
            return Err(OpenPathError::Limit);
        };
        if open >= multipath.width as usize {
            return Err(OpenPathError::Limit);
        }
        let ready = multipath.find_spare(id).filter(|s| s.local.iter().next().is_some());
        let Some(cid) = ready.and_then(|s| s.remote.take_unused()) else {
            multipath.cids_blocked(id, 0);
            return Err(OpenPathError::NoConnectionId);
        };
        let mut tuple = new_tuple(&self.config, addresses, cid);
        tuple.ledger.validate();
        self.add_path(now, id, tuple);
        Ok(id)
    }

    /// Server: a packet came on a path that is not open yet. `None` if it may not be opened.
    pub(crate) fn accept_path(&mut self, arrival: &Arrival, id: u32) -> Option<usize> {
        let open = self.paths.iter().filter(|p| p.standing.may_send()).count();
        let multipath = self.multipath.as_mut()?;
        if self.ids.side == Side::Client {
            return None;
        }
        if open >= multipath.width as usize {
            let code = TransportErrorCode::PATH_RESOURCE_LIMIT_REACHED.0;
            self.abandon_unopened(id, code);
            return None;
        }
        // Without one nothing can be sent there; it may be in this very packet.
        let cid = multipath.find_spare(id)?.remote.take_unused();
        let mut tuple = new_tuple(&self.config, arrival.addresses, cid.unwrap_or(Tuple::NO_CID));
        tuple.ledger.on_received(arrival.bytes);
        if cid.is_none() {
            multipath.cids_blocked(id, 0);
        }
        let known = |t: &Tuple| t.ledger.is_validated() && t.addresses.matches(&arrival.addresses);
        if self.paths.iter().any(|p| p.tuples().iter().any(known)) {
            tuple.ledger.validate();
        }
        self.add_path(arrival.now, id, tuple);
        Some(self.paths.len() - 1)
    }

    fn add_path(&mut self, now: Instant, id: u32, mut tuple: Tuple) {
        let Some(spare) = self.multipath.as_mut().and_then(|m| m.take_spare(id)) else { return };
        tuple.mtu.lower_limit(self.peer_payload_limit());
        let settings = RecoveryConfig {
            side: self.ids.side,
            seed: self.rng.u64(),
            // It may have been changed since the connection began.
            congestion: self.paths[0].recovery.chosen_congestion(),
            ..self.config.recovery
        };
        let mut recovery = Recovery::new(&settings, now);
        recovery.set_max_datagram(tuple.mtu.current());
        let acks = [Space::Initial, Space::Handshake, Space::Data]
            .map(|space| AckTracker::new(space, self.config.max_ack_delay));
        let addresses = tuple.addresses;
        let mut path = Path::new(id, recovery, acks, (spare.local, spare.remote), tuple);
        path.standing = Standing::validating(spare.theirs);
        path.heard = now;
        let (_, give_up) = path.challenge_times(self.peer_max_ack_delay());
        path.active_mut().challenges.start(now, give_up);
        self.paths.push(path);
        self.replenish_cids();
        self.tell(id, PathChange::Added(addresses));
        self.tell_scheduler(now, self.paths.len() - 1, News::Path(PathNews::Added));
    }

    /// A new path has been validated.
    pub(crate) fn on_path_open(&mut self, now: Instant, path: usize) {
        self.join_turns(path);
        let one = &mut self.paths[path];
        one.standing.stage = Stage::Open;
        let (id, addresses) = (one.id, one.active().addresses);
        self.tell(id, PathChange::Validated(addresses));
        self.tell_scheduler_of_use(now, path);
    }

    /// Tells a scheduler that is not ours whether a path is a backup.
    fn tell_scheduler_of_use(&mut self, now: Instant, path: usize) {
        let backup = self.paths[path].standing.is_backup();
        let news = if backup { PathNews::Standby } else { PathNews::Active };
        self.tell_scheduler(now, path, News::Path(news));
    }

    /// Ends a path: nothing more is sent there, what was is sent again elsewhere. `error_code` is a
    /// transport error code for the peer.
    pub fn abandon_path(
        &mut self,
        now: Instant,
        id: u32,
        error_code: TransportErrorCode,
    ) -> Result<(), PathError> {
        let path = self.paths.iter().position(|p| p.id == id && p.standing.may_send());
        let path = path.ok_or(PathError::Unknown)?;
        if !self.has_other_path(path) {
            return Err(PathError::Last);
        }
        self.abandon(now, path, error_code.0, false);
        Ok(())
    }

    /// Tells the peer whether to use a path only when no other can be used, and does so as well.
    pub fn set_path_backup(
        &mut self,
        now: Instant,
        id: u32,
        backup: bool,
    ) -> Result<(), PathError> {
        let path = self.paths.iter().position(|p| p.id == id && p.standing.may_send());
        let path = path.ok_or(PathError::Unknown)?;
        if self.multipath.is_some() {
            self.paths[path].standing.advise(backup);
            self.tell_scheduler_of_use(now, path);
        }
        Ok(())
    }

    /// The capacity of a path in Mbit/s, for schedulers that go by weights; 0 to measure it.
    pub fn set_path_weight(&mut self, id: u32, weight: u32) -> Result<(), PathError> {
        let mut paths = self.paths.iter_mut().filter(|p| p.standing.may_send());
        let path = paths.find(|p| p.id == id).ok_or(PathError::Unknown)?;
        path.turns.weight = NonZeroU32::new(weight);
        Ok(())
    }

    /// Whether data could go on without this path.
    pub(crate) fn has_other_path(&self, path: usize) -> bool {
        self.paths.iter().enumerate().any(|(i, p)| i != path && p.standing.stage == Stage::Open)
    }

    /// Whether there is another path that works, or may work yet.
    pub(crate) fn has_other_hope(&self, path: usize) -> bool {
        self.paths.iter().enumerate().any(|(i, p)| i != path && p.standing.may_send())
    }

    pub(crate) fn abandon(&mut self, now: Instant, path: usize, error_code: u64, by_peer: bool) {
        self.hand_over(now, path);
        let at = path;
        let path = &mut self.paths[path];
        path.standing.stage = Stage::Abandoned(None);
        path.standing.serves = false;
        path.remote_cids.abandon();
        path.stop_validation();
        let id = path.id;
        if let Some(multipath) = &mut self.multipath {
            multipath.abandon(id, error_code);
        }
        self.tell(id, PathChange::Abandoned { error_code, by_peer });
        self.tell_scheduler(now, at, News::Path(PathNews::Removed));
        self.sync_datagram_room();
    }

    /// A path ID that was never opened will not be.
    fn abandon_unopened(&mut self, id: u32, error_code: u64) {
        let Some(multipath) = &mut self.multipath else { return };
        let spare = multipath.take_spare(id);
        multipath.abandon(id, error_code);
        multipath.close(id);
        for cid in spare.iter().flat_map(|s| s.local.iter()) {
            self.events.push_endpoint(EndpointEvent::CidRetired(*cid));
        }
        self.replenish_cids();
    }

    /// Everything in flight on a path is sent on others as well.
    pub(super) fn hand_over(&mut self, now: Instant, path: usize) {
        let (recovery, mut router) = self.recovery_and_router(now, path);
        recovery.hand_over(Space::Data, &mut router);
    }

    /// An abandoned path is forgotten (section 3.4).
    pub(crate) fn forget_path(&mut self, now: Instant, path: usize) {
        // Section 3.4.3: what is not acknowledged by now is lost.
        let (recovery, mut router) = self.recovery_and_router(now, path);
        recovery.requeue(Space::Data, &mut router);
        let gone = self.paths.remove(path);
        for cid in gone.local_cids.iter() {
            self.events.push_endpoint(EndpointEvent::CidRetired(*cid));
        }
        if let Some(keys) = &mut self.keys.one_rtt {
            keys.forget_path(gone.id);
        }
        if let Some(multipath) = &mut self.multipath {
            multipath.close(gone.id);
        }
        if let [only] = self.paths.as_mut_slice() {
            only.standing.serves = true;
        }
        self.replenish_cids();
    }

    // ---- Frames ----

    /// What a path ID in a frame stands for.
    pub(crate) fn locate(&self, id: u64) -> Result<Located, TransportError> {
        if let Some(path) = self.paths.iter().position(|p| u64::from(p.id) == id) {
            return Ok(Located::Path(path));
        }
        let multipath = self.multipath.as_ref();
        // Section 4: a path ID above what we announced is a PROTOCOL_VIOLATION.
        let small =
            u32::try_from(id).ok().filter(|_| multipath.is_some_and(|m| id <= m.local_max()));
        match small {
            None => Err(TransportError::violation("a path ID above the limit that was announced")),
            Some(_) if multipath.is_some_and(|m| m.is_closed(id)) => Ok(Located::Closed),
            Some(id) => Ok(Located::Spare(id)),
        }
    }

    pub(crate) fn on_path_abandon(
        &mut self,
        now: Instant,
        id: u64,
        error_code: u64,
    ) -> Result<(), TransportError> {
        let path = match self.locate(id)? {
            Located::Closed => return Ok(()),
            Located::Spare(id) => {
                // Section 3.4: not an error, and it is answered as any other.
                self.abandon_unopened(id, TransportErrorCode::NO_ERROR.0);
                return Ok(());
            }
            Located::Path(path) => path,
        };
        if self.paths[path].standing.may_send() {
            if !self.has_other_hope(path) {
                // Section 3.4: nothing is left to go on with.
                let code = TransportErrorCode::NO_VIABLE_PATH;
                return Err(TransportError::new(code, "the peer abandoned the only path"));
            }
            self.abandon(now, path, error_code, true);
        }
        let until = now + self.pto() * 3;
        let stage = &mut self.paths[path].standing.stage;
        if *stage == Stage::Abandoned(None) {
            *stage = Stage::Abandoned(Some(until));
        }
        Ok(())
    }

    pub(crate) fn on_path_status(
        &mut self,
        now: Instant,
        id: u64,
        sequence: u64,
        backup: bool,
    ) -> Result<(), TransportError> {
        match self.locate(id)? {
            Located::Path(path) => {
                let one = &mut self.paths[path];
                if one.standing.theirs.on_status(sequence, backup) {
                    let id = one.id;
                    self.tell(id, PathChange::Advised { backup });
                    self.tell_scheduler_of_use(now, path);
                    if backup {
                        self.on_set_aside(now, path);
                    }
                }
            }
            Located::Spare(id) => {
                if let Some(multipath) = &mut self.multipath {
                    multipath.spare_mut(id).theirs.on_status(sequence, backup);
                }
            }
            Located::Closed => {}
        }
        Ok(())
    }

    pub(crate) fn on_max_path_id(&mut self, max: u64) -> Result<(), TransportError> {
        let least = self.peer.initial_max_path_id.unwrap_or(0);
        // Section 4.6: beyond what the nonce can hold, or less than the transport parameter.
        let valid = u32::try_from(max).ok().filter(|_| max >= least);
        let Some(max) = valid else {
            return Err(TransportError::violation("an impossible MAX_PATH_ID"));
        };
        if self.multipath.as_mut().is_some_and(|m| m.on_max_path_id(max)) {
            self.replenish_cids();
            self.events.push(Event::PathsAvailable);
        }
        Ok(())
    }

    pub(crate) fn on_paths_blocked(&self, max: u64) -> Result<(), TransportError> {
        // Section 4.7. There are as many path IDs as there may be paths: nothing to add.
        if self.multipath.as_ref().is_some_and(|m| max > m.local_max()) {
            return Err(TransportError::violation("PATHS_BLOCKED above the limit"));
        }
        Ok(())
    }

    pub(crate) fn on_path_cids_blocked(
        &mut self,
        id: u64,
        next_sequence: u64,
    ) -> Result<(), TransportError> {
        let issued = match self.locate(id)? {
            Located::Path(path) => self.paths[path].local_cids.next_sequence(),
            Located::Spare(id) => {
                let spare = self.multipath.as_mut().and_then(|m| m.find_spare(id));
                spare.map_or(0, |s| s.local.next_sequence())
            }
            Located::Closed => return Ok(()),
        };
        // Section 4.7.
        if next_sequence > issued {
            return Err(TransportError::violation("PATH_CIDS_BLOCKED above the sequence number"));
        }
        self.replenish_cids();
        Ok(())
    }

    /// The path ID above 0 that is not open and whose packets have this Destination Connection ID.
    pub(crate) fn spare_of(&self, dcid: &ConnectionId) -> Option<u32> {
        let spares = self.multipath.as_ref()?.spares();
        spares.iter().find(|s| s.local.contains(dcid.as_slice())).map(|s| s.id)
    }

    /// How frames name a path.
    pub(crate) fn label(&self, path: usize) -> PathLabel {
        PathLabel { id: self.paths[path].id, told: self.multipath.is_some() }
    }

    /// Issues connection IDs for paths that could be opened (section 3.2.1).
    pub(crate) fn replenish_spares(&mut self) {
        let Self { multipath: Some(multipath), paths, factory, rng, events, .. } = self else {
            return;
        };
        for id in multipath.usable().filter(|id| !paths.iter().any(|p| p.id == *id)) {
            let local = &mut multipath.spare_mut(id).local;
            for cid in local.replenish(SPARE_CIDS, factory, rng) {
                events.push_endpoint(EndpointEvent::CidIssued(cid));
            }
        }
    }

    /// Both ends announced initial_max_path_id (section 2).
    pub(crate) fn negotiate_multipath(&mut self) -> Result<(), TransportError> {
        let (Some(width), Some(theirs)) = (self.config.max_paths, self.peer.initial_max_path_id)
        else {
            return Ok(());
        };
        // Section 2.1: connection IDs tell the paths apart.
        if self.ids.peer.is_none_or(|p| p.is_empty()) {
            return Err(TransportError::violation("multipath with an empty connection ID"));
        }
        // Decoding has checked that it fits.
        let theirs = u32::try_from(theirs).unwrap_or(u32::MAX);
        let limit = self.config.active_connection_id_limit;
        let mut multipath = Multipath::new(width, theirs, limit);
        multipath.scheduler = self.config.scheduler;
        self.multipath = Some(Box::new(multipath));
        self.start_user_scheduler();
        Ok(())
    }

    fn tell(&mut self, id: u32, change: PathChange) {
        self.events.push(Event::Path { id, change });
    }
}
