//! debug
use tquic_sim::congestion::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let fs = families();
    let s = fs.iter().flat_map(|f| &f.scenarios).find(|s| s.name == a[1]).unwrap();
    let c = tquic_core::cc::Congestion::from_name(&a[2]).unwrap();
    for seed in 1..=a[3].parse().unwrap() {
        let r = run(s, c, seed);
        let last = r.looks.last().unwrap();
        for (f, goodput) in last.flows.iter().zip(&last.goodput) {
            println!(
                "seed {seed} goodput {:.1} Mb/s, lost {} events {} undone {} spurious {} lost/MB {:.2} events/min {:.1}",
                *goodput as f64 * 8e-6 / s.time.0.as_secs_f64(),
                f.stats.lost_packets,
                f.stats.congestion_events,
                f.stats.undone_events,
                f.stats.spurious_losses,
                f.stats.lost_packets as f64 / (*goodput as f64 / 1e6),
                f.stats.congestion_events as f64 / s.time.0.as_secs_f64() * 60.
            );
        }
    }
}
