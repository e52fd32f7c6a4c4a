//! The results as text for people and as JSON for programs.

use super::matrix::Cell;
use super::run::{Run, STEP};
use super::scenario::{Expectation, Family, Quantity, Scenario};
use serde_json::{Value, json};
use std::fmt::Write;

/// Points of a drawn course at most; more than a picture of that width shows.
const POINTS: usize = 200;

/// Lines for a terminal: every band that does not hold, those known for it or the others.
pub fn failures(cells: &[Cell<'_>], open: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in cells {
        for expectation in cell.expectations() {
            if cell.holds(expectation) || expectation.open.is_some() != open {
                continue;
            }
            let misses = cell.misses(expectation);
            let seeds: Vec<_> =
                misses.iter().map(|(seed, value)| format!("{seed}: {}", number(*value))).collect();
            lines.push(format!(
                "{} {} {}: mean {}, {} of {} seeds outside {} ({}); by seed: {}",
                cell.scenario.name,
                cell.controller.name(),
                expectation.what.name(),
                mean(&cell.values(expectation.what)).map_or_else(|| "-".to_owned(), number),
                misses.len(),
                cell.outcomes.len(),
                band(expectation),
                expectation.source,
                seeds.join(", ")
            ));
        }
    }
    lines
}

/// How many bands there are.
pub fn bands(cells: &[Cell<'_>]) -> usize {
    cells.iter().map(|cell| cell.expectations().count()).sum()
}

/// Tables for the documentation.
pub fn markdown(families: &[Family], cells: &[Cell<'_>]) -> String {
    let mut text = String::new();
    for family in families {
        let of = |cell: &&Cell<'_>| family.scenarios.iter().any(|s| s.name == cell.scenario.name);
        let cells: Vec<_> = cells.iter().filter(of).collect();
        if cells.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {}\n\n{}\n", family.title, family.text);
        for scenario in &family.scenarios {
            let cells: Vec<_> =
                cells.iter().filter(|cell| cell.scenario.name == scenario.name).copied().collect();
            if !cells.is_empty() {
                scenario_text(&mut text, scenario, &cells);
            }
        }
    }
    text
}

fn scenario_text(text: &mut String, scenario: &Scenario, cells: &[&Cell<'_>]) {
    let _ =
        write!(text, "\n### {}\n\n{}: {}.\n\n", scenario.name, setting(scenario), scenario.about);
    if scenario.plot {
        let name = &scenario.name;
        let _ = write!(text, "![{name}](congestion/{name}.svg)\n\n");
    }
    if cells.iter().any(|cell| cell.expectations().next().is_some()) {
        text.push_str(
            "| controller | quantity | expected | mean | least, most | seeds inside | source |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|\n");
        for cell in cells {
            for expectation in cell.expectations() {
                band_row(text, cell, expectation);
            }
        }
        text.push('\n');
    }
    text.push_str("| controller | utilisation | queue, ms | p99, ms | loss | share | Jain |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for cell in cells {
        let of = |what| mean(&cell.values(what)).map_or_else(|| "-".to_owned(), number);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            cell.controller.name(),
            of(Quantity::Utilization),
            of(Quantity::QueueMs),
            of(Quantity::QueueP99Ms),
            of(Quantity::Loss),
            of(Quantity::Share),
            of(Quantity::Jain)
        );
    }
}

fn band_row(text: &mut String, cell: &Cell<'_>, expectation: &Expectation) {
    let values = cell.values(expectation.what);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let inside = cell.outcomes.len() - cell.misses(expectation).len();
    let verdict = match (cell.holds(expectation), &expectation.open) {
        (true, _) => "pass".to_owned(),
        (false, None) => "**FAIL**".to_owned(),
        (false, Some(why)) => format!("**open** ({why})"),
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {}, {} | {verdict}, {inside} of {} | {} |",
        cell.controller.name(),
        expectation.what.label(),
        band(expectation),
        mean(&values).map_or_else(|| "-".to_owned(), number),
        number(least),
        number(most),
        cell.outcomes.len(),
        expectation.source
    );
}

/// The path in a few words.
fn setting(scenario: &Scenario) -> String {
    let megabits = scenario.rate.0.as_bps() as f64 / 1e6;
    let (rtt, time) = (scenario.rtt.0, scenario.time.0);
    format!(
        "{} Mbit/s, {rtt:?}, {time:?} of which {:?} warm-up",
        number(megabits),
        scenario.warm_up.0
    )
}

fn band(expectation: &Expectation) -> String {
    match (expectation.min, expectation.max) {
        (Some(min), Some(max)) => format!("{} to {}", number(min), number(max)),
        (Some(min), None) => format!("at least {}", number(min)),
        (None, Some(max)) => format!("at most {}", number(max)),
        (None, None) => String::new(),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.digits$}")
}

/// Everything measured.
pub fn json(cells: &[Cell<'_>]) -> Value {
    let cells = cells.iter().map(|cell| {
        let runs = cell.outcomes.iter().map(|outcome| {
            let values: serde_json::Map<_, _> =
                outcome.values.iter().map(|(what, v)| (what.name().to_owned(), json!(v))).collect();
            json!({
                "seed": outcome.seed,
                "hash": format!("{:016x}", outcome.hash),
                "packets": outcome.packets,
                "values": values,
            })
        });
        let bands = cell.expectations().map(|e| {
            json!({
                "quantity": e.what.name(),
                "min": e.min,
                "max": e.max,
                "each": e.each,
                "open": e.open,
                "source": e.source,
                "holds": cell.holds(e),
                "seeds_outside": cell.misses(e).iter().map(|(seed, _)| *seed).collect::<Vec<_>>(),
            })
        });
        json!({
            "scenario": cell.scenario.name,
            "controller": cell.controller.name(),
            "bands": bands.collect::<Vec<_>>(),
            "runs": runs.collect::<Vec<_>>(),
        })
    });
    json!({ "cells": cells.collect::<Vec<_>>() })
}

/// The courses of drawn scenarios.
pub fn courses(cells: &[Cell<'_>]) -> Value {
    let drawn = cells.iter().filter_map(|cell| Some((cell, cell.course.as_ref()?)));
    let courses = drawn.map(|(cell, run)| {
        json!({
            "scenario": cell.scenario.name,
            "about": cell.scenario.about,
            "controller": cell.controller.name(),
            "rate_mbps": cell.scenario.rate.0.as_bps() as f64 / 1e6,
            "course": course(cell.scenario, run),
        })
    });
    json!({ "courses": courses.collect::<Vec<_>>() })
}

fn course(scenario: &Scenario, run: &Run) -> Value {
    let every = run.looks.len().div_ceil(POINTS).max(1);
    let flows = run.looks.first().map_or(0, |look| look.flows.len());
    let times: Vec<_> = (0..run.looks.len()).step_by(every).collect();
    let packet = f64::from(scenario.packet);
    let line = |f: &dyn Fn(usize) -> f64| -> Vec<f64> {
        times.iter().map(|&look| (f(look) * 1000.0).round() / 1000.0).collect()
    };
    let flow = |index: usize| {
        let rates = run.rates(index);
        let state = |look: usize| run.looks[look].flows[index];
        json!({
            "rate_mbps": line(&|look| rates[look] / 1e6),
            "window_packets": line(&|look| state(look).window as f64 / packet),
            "rtt_ms": line(&|look| state(look).rtt.as_secs_f64() * 1e3),
        })
    };
    let queue_ms = |look: usize| {
        run.looks[look].backlog as f64 / super::run::rate_at(scenario, run.looks[look].at) * 1e3
    };
    json!({
        "time_s": line(&|look| look as f64 * STEP.as_secs_f64()),
        "queue_ms": line(&queue_ms),
        "flows": (0..flows).map(flow).collect::<Vec<_>>(),
    })
}
