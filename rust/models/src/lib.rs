//! Model checks of what threads share without a lock, by loom: it plays every order in which they
//! can meet, and every value that a relaxed or stale read may give.
//!
//! The tests include the very files that the product compiles. Those take their atomics from
//! `crate::sync`: there they are the standard library's, here loom's.
