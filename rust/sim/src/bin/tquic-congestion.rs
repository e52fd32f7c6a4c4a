//! Plays congestion controllers in scenarios and compares what is measured with what is expected.

use lexopt::prelude::{Long, Short, ValueExt};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant as Clock;
use tquic_core::cc::Congestion;
use tquic_sim::congestion::matrix::{self, Selection};
use tquic_sim::congestion::{families, report};

const HELP: &str = "\
Plays every controller in every scenario with several seeds in virtual time, and compares what is
measured with the bands of the scenarios' data.

  --seeds N          how many seeds (default 3)
  --seed S           the first (default 1)
  --scenario PART    scenarios with this in their name only
  --controller NAME  this controller only
  --all              also controllers of which a scenario expects nothing, unless it is not for them
  --json FILE        write everything measured
  --courses FILE     write rate, window, queue and RTT over time of the scenarios that are drawn
  --markdown FILE    replace what follows the line `<!-- results -->` of FILE by the tables
  --list             list the scenarios and controllers
";

struct Options {
    selection: Selection,
    json: Option<PathBuf>,
    courses: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

/// The line of a page behind which the tables stand.
const MARK: &str = "<!-- results -->\n";

fn options() -> Result<Option<Options>, lexopt::Error> {
    let selection =
        Selection { seeds: 3, first_seed: 1, scenario: None, controller: None, all: false };
    let mut options = Options { selection, json: None, courses: None, markdown: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => options.selection.seeds = parser.value()?.parse()?,
            Long("seed") => options.selection.first_seed = parser.value()?.parse()?,
            Long("scenario") => options.selection.scenario = Some(parser.value()?.string()?),
            Long("controller") => options.selection.controller = Some(parser.value()?.string()?),
            Long("all") => options.selection.all = true,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("courses") => options.courses = Some(parser.value()?.into()),
            Long("markdown") => options.markdown = Some(parser.value()?.into()),
            Long("list") => {
                for scenario in families().iter().flat_map(|family| &family.scenarios) {
                    println!("{:<20} {}", scenario.name, scenario.about);
                }
                Congestion::SINGLE.iter().for_each(|kind| println!("{}", kind.name()));
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

fn run(options: &Options) -> std::io::Result<bool> {
    let started = Clock::now();
    let families = families();
    let mut cells = matrix::cells(&families, &options.selection);
    matrix::play(&mut cells, &options.selection);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report::json(&cells)))?;
    }
    if let Some(path) = &options.courses {
        std::fs::write(path, format!("{}\n", report::courses(&cells)))?;
    }
    if let Some(path) = &options.markdown {
        let page = std::fs::read_to_string(path)?;
        let head = page.split_once(MARK).map_or(page.as_str(), |(head, _)| head);
        std::fs::write(path, format!("{head}{MARK}{}", report::markdown(&families, &cells)))?;
    }
    let open = report::failures(&cells, true);
    open.iter().for_each(|line| println!("OPEN {line}"));
    let failures = report::failures(&cells, false);
    failures.iter().for_each(|line| println!("FAILED {line}"));
    let (bands, seeds) = (report::bands(&cells), options.selection.seeds);
    let packets: u64 = cells.iter().flat_map(|cell| &cell.outcomes).map(|o| o.packets).sum();
    let took = started.elapsed().as_secs_f64();
    println!(
        "{} of {bands} bands hold over {seeds} seeds, {} are open, {} fail; {} cells, {:.0} million \
         packets in {took:.0} s",
        bands - open.len() - failures.len(),
        open.len(),
        failures.len(),
        cells.len(),
        packets as f64 / 1e6
    );
    Ok(failures.is_empty() && !cells.is_empty())
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
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
