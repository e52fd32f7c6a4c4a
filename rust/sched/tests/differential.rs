//! Programs drawn at random: what is accepted runs alike in the interpreter and as machine code.

mod generate;

use generate::{Source, exercise, program};
use proptest::prelude::*;
use tquic_sched::Program;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn backends_agree(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut source = Source(&bytes);
        let object = program::object(&mut source);
        // Rejected is as good: what is looked for is a difference, or a fault of the verifier.
        let _ = exercise(&object, &mut Source(&bytes));
    }
}

/// The test above would be worth nothing if most programs were rejected.
#[test]
fn most_programs_are_accepted() {
    let mut state = 1u64;
    let mut bytes = vec![0u8; 400];
    let (mut accepted, mut why) = (0, std::collections::BTreeMap::new());
    for _ in 0..400 {
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        match Program::load(&program::object(&mut Source(&bytes))) {
            Ok(_) => accepted += 1,
            Err(error) => *why.entry(error.to_string()).or_insert(0) += 1,
        }
    }
    assert!(accepted > 200, "{accepted} of 400; {why:#?}");
}
