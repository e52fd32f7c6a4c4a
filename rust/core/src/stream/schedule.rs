//! Which stream is served next: urgency, incremental or not (RFC 9218 sections 4 and 10), in
//! constant time per packet.
//!
//! Only streams with something to send are in a list. Two kinds of work are kept apart: *owed*
//! work (lost bytes, a bare FIN) needs no flow-control credit and goes first within an urgency;
//! *fresh* work needs connection credit, so that without any none of these streams is looked at.
//!
//! Within one urgency the incremental streams take turns of several packets. All others together
//! count as one more participant, which serves its streams one by one in the order of opening, so
//! that neither kind starves the other.

use std::collections::BTreeSet;

/// Urgencies 0 (first) to 7 (RFC 9218 section 4.1).
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;

/// The priority of a stream (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is served first, 7 last; 3 is the default of RFC 9218.
    pub urgency: u8,
    /// Whether the stream shares its turn with others of its urgency.
    pub incremental: bool,
}

impl Default for Priority {
    /// Urgency 3. Incremental: without word from the application no stream waits for another.
    fn default() -> Self {
        Self { urgency: 3, incremental: true }
    }
}

/// The two kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Lost bytes or a bare FIN.
    Owed,
    /// Bytes sent for the first time.
    Fresh,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

const UNLINKED: Link = Link { prev: NONE, next: NONE };

#[derive(Clone, Copy, Debug)]
struct Node {
    links: [Link; 2],
    order: u64,
    priority: Priority,
    queued: [bool; 2],
}

impl Node {
    fn new(order: u64, priority: Priority) -> Self {
        Self { links: [UNLINKED; 2], order, priority, queued: [false; 2] }
    }
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

#[derive(Debug)]
struct Level {
    owed: List,
    /// Incremental streams, and this level's own node if `in_order` has any stream.
    ring: List,
    /// The streams that are not incremental, by order of opening.
    in_order: BTreeSet<(u64, u32)>,
    /// Frames that the head of the ring has been given.
    turn: u32,
}

/// The ready lists. Streams are known by their slot.
#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Node `i < LEVELS` stands for the streams in order of level `i`; the others are streams.
    nodes: Vec<Node>,
    levels: [Level; LEVELS],
    /// One bit for each level with such work.
    masks: [u8; 2],
    /// Frames of one incremental stream before the next has its turn.
    batch: u32,
}

fn node_of(slot: usize) -> u32 {
    (slot + LEVELS) as u32
}

impl Scheduler {
    /// Every incremental stream is given `batch` frames in a row.
    pub(crate) fn new(batch: u32) -> Self {
        let empty = List { head: NONE, tail: NONE };
        Self {
            nodes: vec![Node::new(0, Priority::default()); LEVELS],
            levels: core::array::from_fn(|_| Level {
                owed: empty,
                ring: empty,
                in_order: BTreeSet::new(),
                turn: 0,
            }),
            masks: [0; 2],
            batch: batch.max(1),
        }
    }

    /// A stream comes into being; `order` is its place among those that are not incremental.
    pub(crate) fn register(&mut self, slot: usize, order: u64, priority: Priority) {
        let node = Node::new(order, clamped(priority));
        let index = slot + LEVELS;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, node);
        }
        self.nodes[index] = node;
    }

    /// The stream is gone.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.set(slot, Work::Owed, false);
        self.set(slot, Work::Fresh, false);
    }

    /// No stream is left: gives memory back.
    pub(crate) fn shrink(&mut self) {
        self.nodes.truncate(LEVELS);
        self.nodes.shrink_to_fit();
    }

    /// Changes a stream's place.
    pub(crate) fn set_priority(&mut self, slot: usize, priority: Priority) {
        let queued = self.nodes[slot + LEVELS].queued;
        self.forget(slot);
        self.nodes[slot + LEVELS].priority = clamped(priority);
        self.set(slot, Work::Owed, queued[Work::Owed as usize]);
        self.set(slot, Work::Fresh, queued[Work::Fresh as usize]);
    }

    /// Whether any stream has work of this kind.
    pub(crate) fn has(&self, work: Work) -> bool {
        self.masks[work as usize] != 0
    }

    /// Says whether the stream has work of this kind.
    #[inline]
    pub(crate) fn set(&mut self, slot: usize, work: Work, ready: bool) {
        let index = node_of(slot);
        if self.nodes[index as usize].queued[work as usize] != ready {
            self.change(index, work, ready);
        }
    }

    fn change(&mut self, index: u32, work: Work, ready: bool) {
        let node = &mut self.nodes[index as usize];
        node.queued[work as usize] = ready;
        let (order, Priority { urgency, incremental }) = (node.order, node.priority);
        let level = usize::from(urgency);
        if work == Work::Owed || incremental {
            if ready {
                self.push_back(level, work, index);
            } else {
                self.unlink(level, work, index);
            }
        } else {
            let in_order = &mut self.levels[level].in_order;
            let was_empty = in_order.is_empty();
            if ready {
                in_order.insert((order, index));
            } else {
                in_order.remove(&(order, index));
            }
            if was_empty {
                self.push_back(level, work, u32::from(urgency));
            } else if self.levels[level].in_order.is_empty() {
                self.unlink(level, work, u32::from(urgency));
            }
        }
        let level = &self.levels[level];
        let list = if work == Work::Owed { &level.owed } else { &level.ring };
        if list.head == NONE {
            self.masks[work as usize] &= !(1 << urgency);
        } else {
            self.masks[work as usize] |= 1 << urgency;
        }
    }

    /// The stream to serve now, and with what. Without `credit` fresh bytes cannot be sent.
    #[inline]
    pub(crate) fn pick(&self, credit: bool) -> Option<(usize, Work)> {
        let [owed, fresh] = self.masks;
        let ready = if credit { owed | fresh } else { owed };
        let urgency = ready.trailing_zeros() as usize;
        let level = self.levels.get(urgency)?;
        if owed & (1 << urgency) != 0 {
            return Some((level.owed.head as usize - LEVELS, Work::Owed));
        }
        let head = level.ring.head as usize;
        let index = if head < LEVELS { level.in_order.first()?.1 as usize } else { head };
        Some((index - LEVELS, Work::Fresh))
    }

    /// The streams with fresh bytes, most urgent first.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().flat_map(move |level| {
            let at = |index: u32| (index != NONE).then_some(index);
            let next = move |i: &u32| at(self.nodes[*i as usize].links[Work::Fresh as usize].next);
            let ring = core::iter::successors(at(level.ring.head), next);
            let in_order = level.in_order.iter().map(|(_, index)| *index);
            // The level's own node stands for those in order.
            in_order.chain(ring).filter(|i| *i >= LEVELS as u32).map(|i| i as usize - LEVELS)
        })
    }

    /// The stream that `pick` gave for fresh work was given a frame and stays ready.
    #[inline]
    pub(crate) fn took(&mut self, slot: usize) {
        let urgency = usize::from(self.nodes[slot + LEVELS].priority.urgency);
        let level = &mut self.levels[urgency];
        level.turn += 1;
        if level.turn >= self.batch {
            level.turn = 0;
            let head = level.ring.head;
            if head != level.ring.tail {
                self.unlink(urgency, Work::Fresh, head);
                self.push_back(urgency, Work::Fresh, head);
            }
        }
    }

    fn list(&mut self, level: usize, work: Work) -> &mut List {
        match work {
            Work::Owed => &mut self.levels[level].owed,
            Work::Fresh => &mut self.levels[level].ring,
        }
    }

    fn push_back(&mut self, level: usize, work: Work, index: u32) {
        let list = self.list(level, work);
        let tail = core::mem::replace(&mut list.tail, index);
        if tail == NONE {
            list.head = index;
        } else {
            self.nodes[tail as usize].links[work as usize].next = index;
        }
        self.nodes[index as usize].links[work as usize] = Link { prev: tail, next: NONE };
    }

    fn unlink(&mut self, level: usize, work: Work, index: u32) {
        let kind = work as usize;
        let Link { prev, next } =
            core::mem::replace(&mut self.nodes[index as usize].links[kind], UNLINKED);
        if prev == NONE {
            self.list(level, work).head = next;
            if work == Work::Fresh {
                // The next head starts a turn of its own.
                self.levels[level].turn = 0;
            }
        } else {
            self.nodes[prev as usize].links[kind].next = next;
        }
        if next == NONE {
            self.list(level, work).tail = prev;
        } else {
            self.nodes[next as usize].links[kind].prev = prev;
        }
    }
}

fn clamped(priority: Priority) -> Priority {
    Priority { urgency: priority.urgency.min(LEVELS as u8 - 1), ..priority }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
