//! Plays many trials, one after another, and tells what went wrong in which.

use lexopt::prelude::{Long, Short, ValueExt};
use std::process::ExitCode;
use std::time::Instant as Clock;
use tquic_sim::trial::{self, Failure, draw, plan::Plan, record::Counts, run};

const HELP: &str = "\
Plays connections between two endpoints in virtual time, with faults by chance, and checks each.

  --runs N         how many trials (default 1000)
  --seed S         seed of the first; each next has the next (default 1)
  --scenario NAME  this scenario only (default: the seed chooses)
  --multipath N    of a hundred seeds in a row, how many play the scenario multipath whatever they
                   would choose (default 50)
  --failures N     stop after so many failures (default 20)
  --every N        play every Nth trial twice and compare (default 16, 0 for never); not
                   those with corruption, which may hit what TLS draws at random
  --courses        tell the course of each trial, as a hash; not of those with corruption
  --list           list the scenarios

With TQUIC_SIM_TRACE=1 in the environment every datagram and event is printed.
";

struct Options {
    runs: u64,
    seed: u64,
    scenario: Option<String>,
    multipath: u64,
    failures: usize,
    every: u64,
    courses: bool,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        runs: 1000,
        seed: 1,
        scenario: None,
        multipath: 50,
        failures: 20,
        every: 16,
        courses: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("scenario") => options.scenario = Some(parser.value()?.string()?),
            Long("multipath") => options.multipath = parser.value()?.parse()?,
            Long("failures") => options.failures = parser.value()?.parse()?,
            Long("every") => options.every = parser.value()?.parse()?,
            Long("courses") => options.courses = true,
            Long("list") => {
                trial::scenarios().for_each(|(name, about)| println!("{name:<12} {about}"));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

/// The trial of a seed.
fn plan(options: &Options, seed: u64) -> Option<Plan> {
    let multipath = (seed % 100 < options.multipath).then_some("multipath");
    draw(options.scenario.as_deref().or(multipath), seed)
}

/// Plays one trial, twice if asked to.
fn one(options: &Options, plan: Plan, twice: bool) -> Result<Counts, Failure> {
    let (name, seed) = (plan.scenario, plan.seed);
    let told = options.courses && plan.is_repeatable();
    let again = (twice && plan.is_repeatable()).then(|| plan.clone());
    let first = run(plan)?;
    if told {
        println!("{seed} {name} {:016x} {:?}", first.hash, first.counts);
    }
    if let Some(Ok(second)) = again.map(run)
        && second != first
    {
        let what = vec![format!("took another course the second time: {first:?}, {second:?}")];
        return Err(Failure { scenario: name, seed, what, state: String::new() });
    }
    Ok(first.counts)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    // A panic is a failure like others: told once, with its seed.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let started = Clock::now();
    let (mut counts, mut failures, mut done, mut multipath) = (Counts::default(), 0, 0, 0);
    for number in 0..options.runs {
        let seed = options.seed.wrapping_add(number);
        let twice = options.every > 0 && number % options.every == 0;
        let Some(plan) = plan(&options, seed) else {
            eprintln!("no such scenario; see --list");
            return ExitCode::from(2);
        };
        done += 1;
        multipath += u64::from(plan.scenario == "multipath");
        match one(&options, plan, twice) {
            Ok(more) => counts.add(&more),
            Err(failure) => {
                println!("FAILED {failure}\n");
                failures += 1;
                if failures == options.failures {
                    break;
                }
            }
        }
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "{done} trials from seed {}, {multipath} of them multipath, {failures} failed, {:.1} s, {:.0} trials/s: {counts:?}",
        options.seed,
        took,
        done as f64 / took.max(1e-9)
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
