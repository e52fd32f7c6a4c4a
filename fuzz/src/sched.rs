//! Schedulers compiled to eBPF: any object, and objects with programs drawn from the input.

use super::generate::{Source, exercise, program};

/// Whatever an object holds, it is refused or safe to run, and both backends agree.
pub fn sched_object(data: &[u8]) {
    // Refused is as good.
    let _ = exercise(data, &mut Source(data));
}

/// As `sched_object`, for objects that are whole: the verifier and the backends do the work.
pub fn sched_program(data: &[u8]) {
    let mut source = Source(data);
    let object = program::object(&mut source);
    let _ = exercise(&object, &mut Source(data));
}
