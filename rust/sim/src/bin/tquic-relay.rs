//! `tquic-relay`: a UDP relay between clients and a server that plays a network in real time.

use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use tquic_sim::Duration;
use tquic_sim::link::{
    CodelConfig, DualPi2Config, Jitter, Limit, LinkConfig, Loss, QueueConfig, Rate, StepConfig,
};
use tquic_sim::random::Probability;
use tquic_sim::relay::{Relay, RelayConfig, Summary};
use tquic_sim::scenario::{self, Scenario};

const USAGE: &str = "\
tquic-relay --listen ADDR --to ADDR [options]

Relays UDP datagrams between clients and the server at --to, through a link for each direction.
Prints \"listening on ADDR\" first and, when SIGTERM or SIGINT ends it, a summary in JSON.

  --link NAME          a scenario (default: clean); see --list
  --seed N             seed of all chance (default: 1)
  --summary FILE       writes the summary there instead of to standard output
  --list               lists the scenarios

Changes to the scenario, for both directions unless said otherwise:
  --rate BITS          bits per second, e.g. 10M, 1G
  --delay TIME         one way, e.g. 15ms, 750us, 1s
  --jitter TIME        random extra delay, without reordering
  --loss PERCENT       of packets, each on its own, e.g. 1 or 0.5%
  --duplicate PERCENT  of packets
  --mtu BYTES          larger datagrams are dropped
  --queue PACKETS      how many packets the queue holds
  --aqm NAME           droptail, codel, dualpi2 or step
  --drop-to-server N,N,...  --drop-to-client N,N,...   packets to drop, counted from 1
";

struct Options {
    config: RelayConfig,
    summary: Option<OsString>,
}

enum Command {
    Relay(Box<Options>),
    Print(String),
}

fn main() -> ExitCode {
    let options = match parse(Parser::from_env()) {
        Ok(Command::Relay(options)) => options,
        Ok(Command::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("tquic-relay: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match relay(options.config).and_then(|summary| report(&summary, options.summary.as_ref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tquic-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn relay(config: RelayConfig) -> io::Result<Summary> {
    let relay = Relay::bind(config)?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, relay.stopper()?)?;
    }
    println!("listening on {}", relay.local_addr()?);
    io::stdout().flush()?;
    relay.run()
}

fn report(summary: &Summary, file: Option<&OsString>) -> io::Result<()> {
    let text = format!("{:#}\n", summary.to_json());
    match file {
        Some(file) => std::fs::write(file, text),
        None => io::stdout().write_all(text.as_bytes()),
    }
}

fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let (mut listen, mut server, mut seed, mut summary) = (None, None, 1, None);
    let mut scenario = None;
    let mut changes: Vec<(String, String)> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("listen") => listen = Some(parser.value()?.parse::<SocketAddr>()?),
            Arg::Long("to") => server = Some(parser.value()?.parse::<SocketAddr>()?),
            Arg::Long("seed") => seed = parser.value()?.parse()?,
            Arg::Long("summary") => summary = Some(parser.value()?),
            Arg::Long("link") => {
                let name = parser.value()?.string()?;
                let known = scenario::named(&name);
                scenario = Some(known.ok_or_else(|| format!("no scenario \"{name}\""))?);
            }
            Arg::Long("list") => {
                let line = |(name, about): &(&str, &str)| format!("{name:20} {about}\n");
                return Ok(Command::Print(scenario::ALL.iter().map(line).collect()));
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Print(USAGE.to_owned())),
            Arg::Long(
                name @ ("rate" | "delay" | "jitter" | "loss" | "duplicate" | "mtu" | "queue"
                | "aqm" | "drop-to-server" | "drop-to-client"),
            ) => {
                let name = name.to_owned();
                changes.push((name, parser.value()?.string()?));
            }
            other => return Err(other.unexpected()),
        }
    }
    // In a fixed order: the discipline of a queue keeps the size that --queue gave.
    changes.sort_by_key(|(name, _)| name == "aqm");
    let mut scenario = scenario.or_else(|| scenario::named("clean")).ok_or("no scenario")?;
    for (name, value) in &changes {
        change(&mut scenario, name, value)
            .map_err(|reason| format!("--{name} {value}: {reason}"))?;
    }
    let listen = listen.ok_or("--listen is missing")?;
    let server = server.ok_or("--to is missing")?;
    let config = RelayConfig { listen, server, scenario, seed };
    Ok(Command::Relay(Box::new(Options { config, summary })))
}

fn change(scenario: &mut Scenario, name: &str, value: &str) -> Result<(), String> {
    match name {
        "drop-to-server" => scenario.to_server.loss.push(Loss::Listed(numbers(value)?)),
        "drop-to-client" => scenario.to_client.loss.push(Loss::Listed(numbers(value)?)),
        _ => {
            change_link(&mut scenario.to_server, name, value)?;
            change_link(&mut scenario.to_client, name, value)?;
        }
    }
    Ok(())
}

fn change_link(link: &mut LinkConfig, name: &str, value: &str) -> Result<(), String> {
    match name {
        "rate" => link.rate = Some(Rate::bps(rate(value)?)),
        "delay" => link.delay = time(value)?,
        "jitter" => link.jitter = Jitter { max: time(value)?, may_reorder: false },
        "loss" => link.loss.push(Loss::Random(percent(value)?)),
        "duplicate" => link.duplicate = percent(value)?,
        "mtu" => link.mtu = Some(value.parse().map_err(|_| "not a number of bytes")?),
        "queue" => {
            let packets = value.parse().map_err(|_| "not a number of packets")?;
            link.queue = QueueConfig::DropTail(Limit::Packets(packets));
        }
        "aqm" => {
            let limit = match link.queue {
                QueueConfig::DropTail(limit) => limit,
                _ => Limit::Packets(1000),
            };
            let start = Duration::from_millis(1);
            link.queue = match value {
                "droptail" => QueueConfig::DropTail(limit),
                "codel" => QueueConfig::Codel(CodelConfig::new(limit)),
                "dualpi2" => QueueConfig::DualPi2(DualPi2Config::new(limit)),
                "step" => QueueConfig::Step(StepConfig { limit, start, range: Duration::ZERO }),
                _ => return Err("not a discipline we know".to_owned()),
            };
        }
        _ => return Err("not an option of a link".to_owned()),
    }
    Ok(())
}

/// Splits a number from its unit.
fn split_unit(value: &str) -> Result<(f64, &str), String> {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let number = number.parse().map_err(|_| "not a number".to_owned())?;
    Ok((number, unit.trim_start()))
}

fn rate(value: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(value)?;
    let factor = match unit.trim_end_matches("bps").trim_end_matches("bit") {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        "g" | "G" => 1e9,
        _ => return Err("unknown unit; use K, M or G".to_owned()),
    };
    Ok((number * factor) as u64)
}

fn time(value: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(value)?;
    let nanos = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => return Err("unknown unit; use us, ms, s or m".to_owned()),
    };
    Ok(Duration::from_nanos((number * nanos) as u64))
}

fn percent(value: &str) -> Result<Probability, String> {
    match split_unit(value)? {
        (number, "" | "%") if number <= 100.0 => Ok(Probability::fraction(number / 100.0)),
        _ => Err("not a percentage".to_owned()),
    }
}

fn numbers(value: &str) -> Result<Vec<u64>, String> {
    let number = |text: &str| text.trim().parse().map_err(|_| format!("\"{text}\" is no number"));
    value.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &str) -> Result<Box<Options>, String> {
        let words = arguments.split_whitespace();
        match parse(Parser::from_args(words)).map_err(|error| error.to_string())? {
            Command::Relay(options) => Ok(options),
            Command::Print(text) => Err(text),
        }
    }

    const ENDS: &str = "--listen 127.0.0.1:0 --to 127.0.0.1:4433";

    #[test]
    fn flags_change_the_scenario() {
        let flags = "--link interop --seed 7 --aqm codel --queue 50 --rate 2.5Mbps --delay 750us \
                     --loss 0.5% --drop-to-client 1,3";
        let config = options(&format!("{ENDS} {flags}")).unwrap().config;
        assert_eq!((config.seed, config.server.port()), (7, 4433));
        let link = &config.scenario.to_server;
        assert_eq!(link.rate, Some(Rate::bps(2_500_000)));
        assert_eq!(link.delay, Duration::from_micros(750));
        assert_eq!(link.queue, QueueConfig::Codel(CodelConfig::new(Limit::Packets(50))));
        assert_eq!(link.loss, [Loss::Random(Probability::fraction(0.005))]);
        assert_eq!(link.mtu, Some(1472));
        assert_eq!(config.scenario.to_client.loss[1], Loss::Listed(vec![1, 3]));
    }

    #[test]
    fn wrong_usage_is_explained() {
        let reason = |flags: &str| options(flags).map(|_| ()).unwrap_err();
        assert!(reason("--listen 127.0.0.1:0").contains("--to is missing"));
        assert!(reason("--link nowhere").contains("nowhere"));
        assert!(reason(&format!("{ENDS} --delay 5")).contains("unknown unit"));
        assert!(reason(&format!("{ENDS} --loss 101")).contains("percentage"));
        assert!(reason("--list").contains("handshakeloss"));
    }
}
