use std::sync::{Arc, Mutex};

use super::*;

/// Names of the events told, to be looked at from outside.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Scribe(Notes, Mask);

impl Tracer for (Notes, Mask) {
    fn observe(&self, _: &Subject) -> Option<Box<dyn Observer>> {
        Some(Box::new(Scribe(self.0.clone(), self.1)))
    }
}

impl Observer for Scribe {
    fn mask(&self) -> Mask {
        self.1
    }

    fn on_event(&mut self, _: Instant, event: &Event<'_>) {
        let text = format!("{event:?}");
        let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
        self.0.0.lock().unwrap().push(name);
    }
}

fn subject() -> Subject {
    let address = "192.0.2.1:443".parse().unwrap();
    Subject {
        side: Side::Client,
        version: Version::V1,
        original_dcid: ConnectionId::default(),
        local_cid: ConnectionId::default(),
        addresses: FourTuple { local: address, remote: address },
        began: Instant::ZERO,
    }
}

#[test]
fn masks_have_the_numbers_that_programs_know() {
    assert_eq!(Mask::SERVER_LISTENING.0, 1);
    assert_eq!(Mask::PACKET_SENT.0, 1 << 14);
    assert_eq!(Mask::DATA_MOVED.0, 1 << 24);
    assert_eq!(Mask::ECN_STATE_UPDATED.0, 1 << 36);
    assert_eq!(Mask::KEY_DISCARDED.0, 1 << 41);
    assert_eq!(Mask::KINDS.len() as u32, Mask::ALL.0.count_ones());
}

#[test]
fn only_what_is_wanted_is_told() {
    let notes = Notes::default();
    let mut trace = Trace::new(Instant::ZERO);
    assert!(!trace.is_on() && !trace.wants(Mask::ALL));
    trace.refresh(&(notes.clone(), Mask::SPIN_BIT_UPDATED), &subject());
    assert!(trace.is_on() && !trace.wants(Mask::PACKET_SENT));
    for state in [false, true, true, false] {
        trace.on_spin_bit(Instant::ZERO, state);
    }
    assert_eq!(*notes.0.lock().unwrap(), ["SpinBitUpdated", "SpinBitUpdated"]);
}
