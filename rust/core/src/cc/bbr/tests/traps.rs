//! Defects that other stacks shipped.
