//! Path schedulers of applications, as connections ask them: programs in eBPF, which run in the
//! shard, and planners in another language, which answer ahead from a thread of their own.

mod ebpf;
mod planned;

pub use ebpf::Ebpf;
pub use planned::{Batch, Board, Plan, Report};
