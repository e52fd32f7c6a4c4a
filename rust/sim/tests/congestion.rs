//! Congestion scenarios: the data is sound, the simulator obeys its symmetries, both tiers agree.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use tquic_core::cc::Congestion;
use tquic_sim::congestion::matrix::{Cell, Outcome, Selection, cells};
use tquic_sim::congestion::scenario::parse;
use tquic_sim::congestion::{Expectation, Quantity, Scenario, Tier, families, run, run_on};

/// A scenario of 20 seconds, half of them measured. `text` are lines of TOML.
fn scenario(text: &str) -> Scenario {
    let text = format!(
        "title = 'x'\ntext = 'x'\n[[scenario]]\nname = 'x'\nabout = 'x'\ntime = '20s'\n\
         warm-up = '10s'\nexpect = []\n{text}"
    );
    parse(&text).unwrap().scenarios.remove(0)
}

fn measure(scenario: &Scenario, congestion: Congestion, what: Quantity) -> f64 {
    run(scenario, congestion, 1).quantity(scenario, what).unwrap()
}

#[test]
fn names_are_unique_and_every_controller_has_bands() {
    let families = families();
    let scenarios: Vec<_> = families.iter().flat_map(|family| &family.scenarios).collect();
    let names: BTreeSet<_> = scenarios.iter().map(|scenario| &scenario.name).collect();
    assert_eq!(names.len(), scenarios.len());
    for congestion in Congestion::SINGLE {
        assert!(scenarios.iter().any(|s| s.expects(congestion.name())), "{}", congestion.name());
    }
}

#[test]
fn all_controllers_play_but_where_only_the_expected_ones_do() {
    let families = families();
    let controllers = |scenario: &str, all: bool| {
        let scenario = Some(scenario.to_owned());
        let selection = Selection { seeds: 1, first_seed: 1, scenario, controller: None, all };
        cells(&families, &selection).iter().map(|cell| cell.controller.name()).collect::<Vec<_>>()
    };
    assert_eq!(controllers("cubic-loss-1e-2", false), ["cubic"]);
    assert_eq!(controllers("cubic-loss-1e-2", true), ["cubic"]);
    assert_eq!(controllers("late-joiner-deep", false), [""; 0]);
    assert_eq!(controllers("late-joiner-deep", true).len(), Congestion::SINGLE.len());
}

#[test]
fn wrong_data_is_refused_with_its_name() {
    let right = "title = 't'\ntext = 't'\n[[scenario]]\nname = 'n'\nabout = 'a'\nrate = '1Mbps'\n\
                 rtt = '1ms'\nbuffer = '1bdp'\ntime = '2s'\nwarm-up = '1s'\n";
    assert!(parse(&format!("{right}flows = [{{}}]\nexpect = []\n")).is_ok());
    for (wrong, why) in [
        ("flows = []\nexpect = []\n", "flows"),
        ("flows = [{ controller = 'none' }]\nexpect = []\n", "`none` is no controller"),
        ("flows = [{}]\nexpect = []\nspeed = 3\n", "speed"),
        ("flows = [{}]\nexpect = [{ of = ['cubic'], what = 'jain', source = '' }]\n", "band"),
        ("flows = [{}]\nexpect = []\nhost = { ack-every = 0 }\n", "0 packets"),
        (
            "flows = [{}]\nexpect = []\nhost = { stalls = { every = '0ms', most = '0ms' } }\n",
            "never move",
        ),
    ] {
        let error = parse(&format!("{right}{wrong}")).unwrap_err();
        assert!(error.starts_with("n: ") && error.contains(why), "{error}");
    }
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let scenario = scenario(
        "rate = '5Mbps'\nrtt = '40ms'\nbuffer = '1bdp'\nloss = 0.001\nflows = [{}, {}]\n\
         cross = [{ rate = '1Mbps' }]\nhost = { jitter = '1ms', lateness = '1ms', \
         stalls = { every = '50ms', most = '10ms' } }\n",
    );
    for congestion in Congestion::SINGLE {
        let course = |seed| run(&scenario, congestion, seed);
        let (first, again) = (course(7), course(7));
        assert_eq!(first.hash, again.hash, "{}", congestion.name());
        assert_eq!(first.looks, again.looks);
        assert_ne!(first.hash, course(8).hash);
    }
}

/// Twice the rate and half the times is the same network seen through a faster clock. Controllers
/// without times of their own must share it alike.
#[test]
fn a_faster_clock_changes_no_share() {
    let at = |rate: &str, times: [&str; 4]| {
        let [short, long, jitter, bdp] = times;
        scenario(&format!(
            "rate = '{rate}'\nrtt = '{bdp}'\nbuffer = '2bdp'\nhost = {{ jitter = '{jitter}' }}\n\
             flows = [{{ rtt = '{short}' }}, {{ rtt = '{long}' }}]\n"
        ))
    };
    let slow = at("10Mbps", ["20ms", "80ms", "2ms", "40ms"]);
    let fast = at("20Mbps", ["10ms", "40ms", "1ms", "20ms"]);
    let share = |scenario, seed| {
        let run = run(scenario, Congestion::NewReno, seed);
        run.quantity(scenario, Quantity::Share).unwrap()
    };
    let mean = |scenario| (1..=5).map(|seed| share(scenario, seed)).sum::<f64>() / 5.0;
    let (slow, fast) = (mean(&slow), mean(&fast));
    assert!((slow - fast).abs() < 0.08, "{slow} {fast}");
    assert!(slow > 0.6, "a short round trip grows faster: {slow}");
}

/// Who is named first makes no difference.
#[test]
fn flows_may_change_places() {
    let of = |flows: &str| {
        let path = "rate = '10Mbps'\nrtt = '40ms'\nbuffer = '1bdp'\nhost = { jitter = '1ms' }\n";
        scenario(&format!("{path}flows = [{flows}]\n"))
    };
    let cubic_first = of("{ controller = 'cubic' }, { controller = 'newreno' }");
    let reno_first = of("{ controller = 'newreno' }, { controller = 'cubic' }");
    let cubic_share = |scenario: &Scenario, flow: usize, seed| {
        let looks = run(scenario, Congestion::Cubic, seed).looks;
        let goodput = &looks.last().unwrap().goodput;
        goodput[flow] as f64 / goodput.iter().sum::<u64>() as f64
    };
    let mean =
        |scenario, flow| (1..=5).map(|seed| cubic_share(scenario, flow, seed)).sum::<f64>() / 5.0;
    let (first, second) = (mean(&cubic_first, 0), mean(&reno_first, 1));
    assert!((first - second).abs() < 0.1, "{first} {second}");
}

#[test]
fn nobody_gets_more_than_the_link_has() {
    for queue in ["droptail", "codel", "dualpi2"] {
        let scenario = scenario(&format!(
            "rate = '5Mbps'\nrtt = '30ms'\nbuffer = '2bdp'\nqueue = {{ kind = '{queue}' }}\n\
             flows = [{{ count = 3 }}]\n"
        ));
        for congestion in Congestion::SINGLE {
            let used = measure(&scenario, congestion, Quantity::Utilization);
            assert!((0.6..=1.001).contains(&used), "{} {queue}: {used}", congestion.name());
        }
    }
}

/// Recovery alone and whole connections, with all that they do besides, come to the same.
#[test]
fn both_tiers_agree() {
    let scenario = scenario(
        "rate = '10Mbps'\nrtt = '40ms'\nbuffer = '1bdp'\nflows = [{}]\nhost = { ack-every = 2 }\n",
    );
    for congestion in Congestion::SINGLE {
        let of =
            |tier, what| run_on(tier, &scenario, congestion, 1).quantity(&scenario, what).unwrap();
        let name = congestion.name();
        let used = [Tier::Recovery, Tier::Connection].map(|tier| of(tier, Quantity::Utilization));
        assert!((used[0] - used[1]).abs() < 0.05, "{name}: {used:?}");
        let queue = [Tier::Recovery, Tier::Connection].map(|tier| of(tier, Quantity::QueueBdp));
        assert!((queue[0] - queue[1]).abs() < 0.25, "{name}: {queue:?}");
    }
}

#[test]
fn a_band_judges_the_mean_or_each_seed() {
    let scenario = scenario("rate = '5Mbps'\nrtt = '30ms'\nbuffer = '2bdp'\nflows = [{}]\n");
    let outcome = |(seed, share)| Outcome {
        seed,
        values: [(Quantity::Share, share)].into(),
        hash: 0,
        packets: 0,
    };
    let cell = Cell {
        scenario: &scenario,
        controller: Congestion::Cubic,
        outcomes: [(1, 0.2), (2, 0.5)].map(outcome).into(),
        course: None,
    };
    let mut band = Expectation {
        of: vec!["cubic".to_owned()],
        what: Quantity::Share,
        min: Some(0.3),
        max: None,
        each: false,
        open: None,
        source: String::new(),
    };
    assert!(cell.holds(&band));
    assert_eq!(cell.misses(&band), [(1, 0.2)]);
    band.each = true;
    assert!(!cell.holds(&band));
    band.what = Quantity::Jain;
    assert!(!cell.holds(&band), "what was not measured holds no band");
}
