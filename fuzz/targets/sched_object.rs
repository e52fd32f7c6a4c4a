#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tquic_fuzz::sched_object(data));
