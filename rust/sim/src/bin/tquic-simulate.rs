//! Plays many trials, one after another on each processor, and tells what went wrong in which.

use lexopt::prelude::{Long, Short, ValueExt};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
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
  --jobs N         play so many trials at a time (default: one for each processor)
  --courses        tell the course of each trial, as a hash; not of those with corruption;
                   one trial at a time
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
    jobs: usize,
    courses: bool,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        jobs: thread::available_parallelism().map_or(1, Into::into),
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
            Long("jobs") => options.jobs = parser.value()?.parse()?,
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

/// What one thread has played.
#[derive(Default)]
struct Played {
    trials: u64,
    multipath: u64,
    counts: Counts,
}

/// What is left to be played, for all threads.
struct Course<'a> {
    options: &'a Options,
    next: AtomicU64,
    failures: AtomicUsize,
}

impl Course<'_> {
    /// Plays one trial after another until all are played or too many have failed.
    fn play(&self) -> Played {
        let (options, mut played) = (self.options, Played::default());
        while self.failures.load(Relaxed) < options.failures {
            let number = self.next.fetch_add(1, Relaxed);
            let Some(plan) = (number < options.runs)
                .then(|| plan(options, options.seed.wrapping_add(number)))
                .flatten()
            else {
                break;
            };
            played.trials += 1;
            played.multipath += u64::from(plan.scenario == "multipath");
            let twice = options.every > 0 && number.is_multiple_of(options.every);
            match one(options, plan, twice) {
                Ok(more) => played.counts.add(&more),
                Err(failure) => {
                    println!("FAILED {failure}\n");
                    self.failures.fetch_add(1, Relaxed);
                }
            }
        }
        played
    }
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
    if plan(&options, options.seed).is_none() {
        eprintln!("no such scenario; see --list");
        return ExitCode::from(2);
    }
    // A panic is a failure like others: told once, with its seed.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let started = Clock::now();
    let course =
        Course { options: &options, next: AtomicU64::new(0), failures: AtomicUsize::new(0) };
    let jobs = if options.courses { 1 } else { options.jobs.max(1) };
    let mut all = Played::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(|| course.play())).collect();
        for thread in threads {
            // What a trial panics with is caught where it is played.
            let played = thread.join().expect("the thread ends");
            all.trials += played.trials;
            all.multipath += played.multipath;
            all.counts.add(&played.counts);
        }
    });
    let took = started.elapsed().as_secs_f64();
    let failures = course.failures.into_inner();
    println!(
        "{} trials from seed {}, {} of them multipath, {failures} failed, {took:.1} s, {:.0} trials/s: {:?}",
        all.trials,
        options.seed,
        all.multipath,
        all.trials as f64 / took.max(1e-9),
        all.counts
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
