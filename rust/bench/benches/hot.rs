//! Times of the operations: `cargo bench -p tquic-bench [-- NAME]`.

use criterion::Criterion;
use tquic_bench::OPERATIONS;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for operation in &OPERATIONS {
        let mut act = (operation.make)();
        criterion.bench_function(operation.name, |bencher| bencher.iter(&mut act));
    }
    criterion.final_summary();
}
