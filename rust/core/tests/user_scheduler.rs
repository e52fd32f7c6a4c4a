//! Schedulers of the application's own: what they are shown and told, and what their mistakes cost.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod pair;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::{Pair, content, upload};
use tquic_core::ConnectionHandle;
use tquic_core::config::TransportConfig;
use tquic_core::events::{Event, PathChange};
use tquic_core::multipath::{
    Burst, Choice, News, PathNews, PathView, Scheduler, SchedulerSource, UserScheduler,
};
use tquic_core::path::FourTuple;
use tquic_core::time::Instant;
use tquic_wire::TransportErrorCode;

const SEC: Duration = Duration::from_secs(1);

type Select = fn(&[PathView]) -> Result<Choice, String>;

/// What it was told: path ID and news.
type Heard = Arc<Mutex<Vec<(u32, News)>>>;

#[derive(Clone, Debug)]
struct Scripted {
    select: Select,
    heard: Heard,
}

impl UserScheduler for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn select(&mut self, _: Instant, paths: &[PathView], _: &Burst) -> Result<Choice, String> {
        (self.select)(paths)
    }

    fn wants(&self, _: &News) -> bool {
        true
    }

    fn tell(
        &mut self,
        _: Instant,
        paths: &[PathView],
        index: usize,
        news: News,
    ) -> Result<(), String> {
        self.heard.lock().unwrap().push((paths[index].id, news));
        Ok(())
    }
}

impl SchedulerSource for Scripted {
    fn start(&self) -> Result<Box<dyn UserScheduler>, String> {
        Ok(Box::new(self.clone()))
    }
}

/// A client with two open paths and this scheduler.
fn bonded(select: Select) -> (Pair, ConnectionHandle, Heard) {
    let heard = Heard::default();
    let source = Scripted { select, heard: heard.clone() };
    let server = TransportConfig { max_paths: Some(2), ..TransportConfig::default() };
    let client = TransportConfig { user_scheduler: Some(Arc::new(source)), ..server.clone() };
    let mut p = Pair::with(client, server, |a| a);
    let h = p.establish();
    p.run_until(SEC / 10, |_| false);
    let mut local = p.client_address;
    local.set_port(local.port() + 1);
    let (now, remote) = (p.now, p.server_address);
    p.client_conn(h).open_path(now, FourTuple { local, remote }).unwrap();
    let validated = |e: &Event| matches!(e, Event::Path { change: PathChange::Validated(_), .. });
    assert!(p.run_until(5 * SEC, |p| p.client.events.iter().any(|(_, e)| validated(e))));
    (p, h, heard)
}

/// Bytes of the client by the number of their path's port.
fn count(p: &mut Pair) -> Arc<Mutex<HashMap<u16, usize>>> {
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let (seen, first) = (counts.clone(), p.client_address.port());
    p.client.meddler = Some(Box::new(move |d, _| {
        *seen.lock().unwrap().entry(d.from.port() - first).or_insert(0) += d.data.len();
        true
    }));
    counts
}

fn transfer(p: &mut Pair, h: ConnectionHandle, bytes: usize) {
    let data = content(bytes);
    assert!(upload(p, h, &data, 60 * SEC).is_some_and(|got| got == data));
}

fn failures(p: &mut Pair) -> Vec<(String, bool)> {
    let told = p.client.take_events().into_iter().filter_map(|e| match e {
        Event::SchedulerFailed { reason, over } => Some((reason, over)),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_path_that_it_chooses_carries_everything() {
    for chosen in [0, 1] {
        let select: Select =
            if chosen == 0 { |_| Ok(Choice::Path(0)) } else { |_| Ok(Choice::Path(1)) };
        let (mut p, h, _) = bonded(select);
        assert_eq!(p.client_conn(h).scheduler_name(), "scripted");
        let counts = count(&mut p);
        transfer(&mut p, h, 3_000_000);
        let counts = counts.lock().unwrap().clone();
        assert!(counts[&chosen] > 3_000_000, "{counts:?}");
        let other = counts.get(&(1 - chosen)).copied().unwrap_or(0);
        assert!(other < 30_000, "{counts:?}");
        assert_eq!(failures(&mut p), []);
    }
}

#[test]
fn one_that_keeps_failing_is_told_twice_and_given_up() {
    let (mut p, h, _) = bonded(|_| Err("out of ideas".to_owned()));
    transfer(&mut p, h, 3_000_000);
    let reason = || "scripted: out of ideas".to_owned();
    assert_eq!(failures(&mut p), [(reason(), false), (reason(), true)]);
    assert_eq!(p.client_conn(h).stats().scheduler_failures, 16);
    assert_eq!(p.client_conn(h).scheduler_name(), "minrtt");
}

#[test]
fn mistakes_stop_nothing() {
    let mistakes: [(Select, &str); 3] = [
        // Neither a path that is not there nor one that may not be used.
        (|_| Ok(Choice::Path(99)), "path number 99"),
        // Nothing would ever be sent.
        (|_| Ok(Choice::Wait), "nothing is under way"),
        (|paths| Err(paths[0].id.to_string()), "scripted: 0"),
    ];
    for (select, reason) in mistakes {
        let (mut p, h, _) = bonded(select);
        transfer(&mut p, h, 300_000);
        let told = failures(&mut p);
        assert!(told.iter().any(|(why, _)| why.contains(reason)), "{reason}: {told:?}");
    }
}

#[test]
fn without_an_answer_the_named_scheduler_decides() {
    let (mut p, h, _) = bonded(|_| Ok(Choice::Unsaid));
    let counts = count(&mut p);
    transfer(&mut p, h, 3_000_000);
    assert_eq!(p.client_conn(h).stats().scheduler_failures, 0);
    assert!(
        counts.lock().unwrap().values().all(|bytes| *bytes > 500_000),
        "both carry: {counts:?}"
    );
    // And another takes its place while it runs.
    p.client_conn(h).set_scheduler(Scheduler::Ecf);
    assert_eq!(p.client_conn(h).scheduler_name(), "ecf");
    transfer(&mut p, h, 1_000_000);
}

#[test]
fn it_hears_of_packets_and_paths() {
    let (mut p, h, heard) = bonded(|_| Ok(Choice::Path(1)));
    let changes = |heard: &Heard| {
        let heard = heard.lock().unwrap();
        let of_path = |(id, news): &(u32, News)| match news {
            News::Path(change) => Some((*id, *change)),
            _ => None,
        };
        heard.iter().filter_map(of_path).collect::<Vec<_>>()
    };
    assert_eq!(changes(&heard), [(1, PathNews::Added), (1, PathNews::Active)]);
    let mut n = 0;
    p.client.meddler = Some(Box::new(move |_, _| {
        n += 1;
        n % 200 != 0
    }));
    transfer(&mut p, h, 1_000_000);
    p.client.meddler = None;
    p.run_until(SEC, |_| false);
    let sum = |of: fn(&News) -> u64| heard.lock().unwrap().iter().map(|(_, n)| of(n)).sum::<u64>();
    let sent = sum(|n| if let News::Sent(bytes) = n { *bytes } else { 0 });
    let acked = sum(|n| if let News::Acked(bytes, _) = n { *bytes } else { 0 });
    let lost = sum(|n| if let News::Lost(bytes) = n { *bytes } else { 0 });
    assert!(sent > 1_000_000 && lost > 0, "{sent} sent, {lost} lost");
    assert!(sent.abs_diff(acked + lost) < 60_000, "{sent} sent, {acked} acked, {lost} lost");
    let now = p.now;
    let connection = p.client_conn(h);
    connection.set_path_backup(now, 1, true).unwrap();
    connection.abandon_path(now, 1, TransportErrorCode::APPLICATION_ABANDON_PATH).unwrap();
    let ends = [(1, PathNews::Standby), (1, PathNews::Removed)];
    assert!(changes(&heard).ends_with(&ends), "{:?}", changes(&heard));
}
