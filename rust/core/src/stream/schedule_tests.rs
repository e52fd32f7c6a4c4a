use super::*;
use proptest::prelude::*;

const fn priority(urgency: u8, incremental: bool) -> Priority {
    Priority { urgency, incremental }
}

fn with(batch: u32, priorities: &[Priority]) -> Scheduler {
    let mut s = Scheduler::new(batch);
    for (slot, &p) in priorities.iter().enumerate() {
        s.register(slot, slot as u64, p);
    }
    s
}

fn serve(s: &mut Scheduler, frames: usize) -> Vec<usize> {
    let mut served = Vec::new();
    for _ in 0..frames {
        let Some((slot, work)) = s.pick(true) else { break };
        if work == Work::Fresh {
            s.took(slot);
        }
        served.push(slot);
    }
    served
}

#[test]
fn urgency_comes_first() {
    let mut s = with(1, &[priority(5, true), priority(0, true), priority(7, false)]);
    for slot in [2, 0, 1] {
        s.set(slot, Work::Fresh, true);
    }
    assert_eq!(serve(&mut s, 2), [1, 1]);
    s.set(1, Work::Fresh, false);
    assert_eq!(serve(&mut s, 2), [0, 0]);
    s.set(0, Work::Fresh, false);
    assert_eq!(serve(&mut s, 1), [2]);
    s.set(2, Work::Fresh, false);
    assert_eq!(s.pick(true), None);
}

#[test]
fn incremental_streams_take_turns_of_a_batch() {
    let mut s = with(3, &[Priority::default(); 3]);
    for slot in 0..3 {
        s.set(slot, Work::Fresh, true);
    }
    assert_eq!(serve(&mut s, 10), [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]);
    // Who leaves in mid-turn leaves no debt to the next.
    s.set(0, Work::Fresh, false);
    assert_eq!(serve(&mut s, 7), [1, 1, 1, 2, 2, 2, 1]);
}

#[test]
fn others_are_served_one_by_one_in_order_of_opening() {
    let mut s = with(2, &[priority(3, false); 4]);
    for slot in [3, 1, 2] {
        s.set(slot, Work::Fresh, true);
    }
    assert_eq!(serve(&mut s, 5), [1; 5]);
    s.set(0, Work::Fresh, true);
    assert_eq!(serve(&mut s, 2), [0; 2]);
    s.set(0, Work::Fresh, false);
    s.set(1, Work::Fresh, false);
    assert_eq!(serve(&mut s, 2), [2; 2]);
}

#[test]
fn neither_kind_starves_the_other() {
    let mut s =
        with(2, &[priority(3, false), priority(3, false), priority(3, true), priority(3, true)]);
    for slot in 0..4 {
        s.set(slot, Work::Fresh, true);
    }
    assert_eq!(serve(&mut s, 8), [0, 0, 2, 2, 3, 3, 0, 0]);
}

#[test]
fn owed_work_goes_first_and_needs_no_credit() {
    let mut s = with(2, &[priority(3, true), priority(6, true)]);
    s.set(0, Work::Fresh, true);
    s.set(1, Work::Owed, true);
    assert_eq!(s.pick(true), Some((0, Work::Fresh)));
    assert_eq!(s.pick(false), Some((1, Work::Owed)));
    s.set_priority(1, priority(3, true));
    assert_eq!(s.pick(true), Some((1, Work::Owed)));
    s.forget(1);
    s.forget(0);
    assert!(!s.has(Work::Owed) && !s.has(Work::Fresh));
}

proptest! {
    /// Whatever happens, `pick` gives a stream of the lowest ready urgency, and every ready
    /// incremental stream of it is served within one round.
    #[test]
    fn lists_agree_with_a_scan(
        ops in prop::collection::vec((0usize..12, 0u8..4, 0u8..9, any::<bool>()), 1..200),
        batch in 1u32..4,
    ) {
        let mut s = with(batch, &[Priority::default(); 12]);
        let mut model = [(Priority::default(), [false; 2]); 12];
        for (slot, op, urgency, flag) in ops {
            match op {
                0 => { s.set(slot, Work::Owed, flag); model[slot].1[0] = flag }
                1 => { s.set(slot, Work::Fresh, flag); model[slot].1[1] = flag }
                2 => {
                    s.set_priority(slot, priority(urgency, flag));
                    model[slot].0 = priority(urgency.min(7), flag);
                }
                _ => if let Some((slot, Work::Fresh)) = s.pick(true) { s.took(slot) },
            }
            for credit in [true, false] {
                let ready = |w: &[bool; 2]| w[0] || (credit && w[1]);
                let best = model.iter().filter(|m| ready(&m.1)).map(|m| m.0.urgency).min();
                let picked = s.pick(credit);
                prop_assert_eq!(picked.map(|(slot, _)| model[slot].0.urgency), best);
                if let Some((slot, work)) = picked {
                    prop_assert!(model[slot].1[work as usize]);
                }
            }
        }
        for (slot, m) in model.iter_mut().enumerate() {
            s.set(slot, Work::Owed, false);
            m.1[0] = false;
        }
        let ready: Vec<_> = (0..12).filter(|&m| model[m].1[1]).collect();
        let best = ready.iter().map(|&m| model[m].0.urgency).min();
        let served = serve(&mut s, 13 * batch as usize);
        for m in ready {
            if Some(model[m].0.urgency) == best && model[m].0.incremental {
                prop_assert!(served.contains(&m));
            }
        }
    }
}
