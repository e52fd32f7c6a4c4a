//! Tests of BBR: the example test cases of the draft, the defects that other stacks shipped, and how
//! the versions should behave over simple links.

mod bands;
mod draft;
mod flow;
mod traps;
