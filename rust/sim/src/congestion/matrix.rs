//! Every controller in every scenario with several seeds, on all cores.

use super::run::{Run, run};
use super::scenario::{Expectation, Family, Quantity, Scenario};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tquic_core::cc::Congestion;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Selection {
    /// How many seeds.
    pub seeds: u64,
    /// The first seed.
    pub first_seed: u64,
    /// Scenarios with this in their name.
    pub scenario: Option<String>,
    /// This controller only.
    pub controller: Option<String>,
    /// Whether to play also what nothing is expected of.
    pub all: bool,
}

/// A controller in a scenario.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The controller.
    pub controller: Congestion,
    /// What was measured, for each seed.
    pub outcomes: Vec<Outcome>,
    /// The course of the first seed, if the scenario is drawn.
    pub course: Option<Run>,
}

/// What one seed gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Everything measured.
    pub values: BTreeMap<Quantity, f64>,
    /// A hash over all that happened.
    pub hash: u64,
    /// Packets that the bottleneck was offered.
    pub packets: u64,
}

impl Cell<'_> {
    /// What is expected of this controller here.
    pub fn expectations(&self) -> impl Iterator<Item = &Expectation> {
        self.scenario.expect.iter().filter(|e| e.of.iter().any(|of| of == self.controller.name()))
    }

    /// The seeds' values of a quantity.
    pub fn values(&self, what: Quantity) -> Vec<f64> {
        self.outcomes.iter().filter_map(|outcome| outcome.values.get(&what).copied()).collect()
    }

    /// Whether a band holds: for the mean over the seeds, or for each of them.
    pub fn holds(&self, expectation: &Expectation) -> bool {
        let values = self.values(expectation.what);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        expectation.admits(mean) && (!expectation.each || self.misses(expectation).is_empty())
    }

    /// The seeds outside a band, with their values.
    pub fn misses(&self, expectation: &Expectation) -> Vec<(u64, f64)> {
        let value = |outcome: &Outcome| outcome.values.get(&expectation.what).copied();
        let miss = |outcome: &Outcome| match value(outcome) {
            Some(value) if expectation.admits(value) => None,
            other => Some((outcome.seed, other.unwrap_or(f64::NAN))),
        };
        self.outcomes.iter().filter_map(miss).collect()
    }
}

/// The cells of a selection, not played yet, family by family.
pub fn cells<'a>(families: &'a [Family], selection: &Selection) -> Vec<Cell<'a>> {
    let scenarios = families.iter().flat_map(|family| &family.scenarios);
    let chosen = scenarios
        .filter(|s| selection.scenario.as_ref().is_none_or(|part| s.name.contains(part.as_str())));
    let of = |scenario: &'a Scenario| {
        let wanted = |kind: &Congestion| {
            selection.controller.as_ref().is_none_or(|name| name == kind.name())
                && (selection.all && !scenario.expected_only || scenario.expects(kind.name()))
        };
        let chosen = Congestion::SINGLE.into_iter().filter(wanted);
        chosen.map(move |controller| Cell {
            scenario,
            controller,
            outcomes: Vec::new(),
            course: None,
        })
    };
    chosen.flat_map(of).collect()
}

/// Plays all cells with all seeds.
pub fn play(cells: &mut [Cell<'_>], selection: &Selection) {
    let mut jobs: Vec<(usize, u64)> = (0..cells.len())
        .flat_map(|cell| (0..selection.seeds).map(move |n| (cell, n)))
        .map(|(cell, n)| (cell, selection.first_seed + n))
        .collect();
    // The longest first, so that no core waits for another at the end.
    jobs.sort_by_key(|&(cell, _)| core::cmp::Reverse(weight(cells[cell].scenario)));
    let done = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let (shared, jobs) = (&*cells, &jobs);
    let work = || {
        while let Some(&(cell, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (outcome, course) = one(&shared[cell], seed, seed == selection.first_seed);
            if let Ok(mut done) = done.lock() {
                done.push((cell, outcome, course));
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, NonZero::get)).for_each(|_| {
            scope.spawn(work);
        });
    });
    for (cell, outcome, course) in done.into_inner().unwrap_or_default() {
        let cell = &mut cells[cell];
        cell.outcomes.push(outcome);
        cell.course = cell.course.take().or(course);
    }
    cells.iter_mut().for_each(|cell| cell.outcomes.sort_by_key(|outcome| outcome.seed));
}

fn one(cell: &Cell<'_>, seed: u64, first: bool) -> (Outcome, Option<Run>) {
    let scenario = cell.scenario;
    let run = run(scenario, cell.controller, seed);
    let value = |what| run.quantity(scenario, what).map(|value| (what, value));
    let outcome = Outcome {
        seed,
        values: Quantity::ALL.into_iter().filter_map(value).collect(),
        hash: run.hash,
        packets: run.packets,
    };
    (outcome, (first && scenario.plot).then_some(run))
}

/// About how many bits a run carries.
fn weight(scenario: &Scenario) -> u64 {
    scenario.rate.0.as_bps().saturating_mul(scenario.time.0.as_secs())
}
