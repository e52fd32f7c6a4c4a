//! Tests of BBR: the example test cases of the draft, and the defects that other stacks shipped.

mod draft;
mod flow;
mod traps;
