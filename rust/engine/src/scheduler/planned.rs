//! Schedulers that answer ahead, from a thread of their own: a shard never waits for them.
//!
//! The shard lays down what happened and how the paths are; the thread answers with a plan, paths for
//! the next bursts in turn. The plan is gone through again and again until there is a new one.
//! Between two questions there is some time, or a thread would do nothing but plan.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tquic_core::multipath::{Burst, Choice, News, PathNews, PathView, UserScheduler};
use tquic_core::time::Instant;

/// Questions are at least so far apart.
const INTERVAL: Duration = Duration::from_millis(1);
/// After so long without an answer the plan before does not hold any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// Changes of a path that wait to be told at most; the oldest go.
const MAX_CHANGES: usize = 64;
/// Bursts of a plan at most.
const MAX_PLAN: usize = 256;

/// What happened on a path since the batch before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The path as it is, or was last.
    pub path: PathView,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes acknowledged.
    pub acked: u64,
    /// The newest round-trip time.
    pub rtt: Option<Duration>,
    /// Bytes declared lost.
    pub lost: u64,
    /// What became of it, in order.
    pub changes: Vec<PathNews>,
}

/// What a planner is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What happened.
    pub reports: Vec<Report>,
    /// The paths, and what is about to be sent, if a plan is wanted.
    pub question: Option<(Vec<PathView>, Burst)>,
}

/// What a planner answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Path IDs for the next bursts in turn; where there is none, nothing is sent until the next plan.
    Paths(Vec<Option<u32>>),
    /// Something went wrong, for a person.
    Failed(String),
}

#[derive(Default)]
struct State {
    reports: Vec<Report>,
    question: Option<(Vec<PathView>, Burst)>,
    /// A question was laid down and is not answered.
    asked: Option<Instant>,
    last_asked: Option<Instant>,
    plan: Vec<Option<u32>>,
    /// The next of the plan.
    cursor: usize,
    failure: Option<String>,
    /// Nothing is sent before there is another plan.
    waits: bool,
    closed: bool,
}

/// Where the shard and the planner's thread meet.
#[derive(Default)]
pub struct Board {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Board {
    /// For a planner of this name. The second is the connection's end.
    #[must_use]
    pub fn new(name: String) -> (Arc<Self>, Box<dyn UserScheduler>) {
        let board = Arc::new(Self { name, ..Self::default() });
        let planned = Planned(Arc::clone(&board));
        (board, Box::new(planned))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch; `None` once the connection does not ask any more.
    pub fn wait(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let changes = state.reports.iter().any(|report| !report.changes.is_empty());
            if state.question.is_some() || changes {
                let reports = std::mem::take(&mut state.reports);
                return Some(Batch { reports, question: state.question.take() });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Answers the question of the last batch. True if the shard waits for it and is to be woken.
    pub fn answer(&self, plan: Plan) -> bool {
        let mut state = self.lock();
        state.asked = None;
        state.cursor = 0;
        match plan {
            Plan::Paths(mut paths) => {
                paths.truncate(MAX_PLAN);
                state.plan = paths;
            }
            Plan::Failed(reason) => {
                state.plan.clear();
                state.failure = Some(reason);
            }
        }
        std::mem::take(&mut state.waits)
    }
}

/// The connection's end of a board.
#[derive(Debug)]
struct Planned(Arc<Board>);

impl UserScheduler for Planned {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn select(
        &mut self,
        now: Instant,
        paths: &[PathView],
        burst: &Burst,
    ) -> Result<Choice, String> {
        let mut state = self.0.lock();
        if let Some(reason) = state.failure.take() {
            return Err(reason);
        }
        match state.asked {
            Some(asked) if now.saturating_since(asked) > PATIENCE && !state.plan.is_empty() => {
                state.plan.clear();
                return Err("there was no answer for a second".to_owned());
            }
            Some(_) => {}
            None if state.last_asked.is_some_and(|at| now.saturating_since(at) < INTERVAL) => {}
            None => {
                (state.asked, state.last_asked) = (Some(now), Some(now));
                state.question = Some((paths.to_vec(), *burst));
                self.0.changed.notify_all();
            }
        }
        Ok(state.next(paths))
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
        let Some(path) = paths.get(index) else { return Ok(()) };
        let mut state = self.0.lock();
        let known = state.reports.iter().position(|report| report.path.id == path.id);
        let at = known.unwrap_or_else(|| {
            state.reports.push(Report::default());
            state.reports.len() - 1
        });
        let Some(report) = state.reports.get_mut(at) else { return Ok(()) };
        report.path = *path;
        match news {
            News::Sent(bytes) => report.sent += bytes,
            News::Acked(bytes, rtt) => {
                report.acked += bytes;
                report.rtt = Some(rtt);
            }
            News::Lost(bytes) => report.lost += bytes,
            News::Path(change) => {
                if report.changes.len() == MAX_CHANGES {
                    report.changes.remove(0);
                }
                report.changes.push(change);
                self.0.changed.notify_all();
            }
        }
        Ok(())
    }
}

impl State {
    /// The next of the plan that has room; else the next that can be used, for whose room the burst
    /// waits.
    fn next(&mut self, paths: &[PathView]) -> Choice {
        let find = |id: u32| paths.iter().position(|path| path.id == id && path.is_usable);
        let mut full = None;
        for step in 0..self.plan.len() {
            let at = (self.cursor + step) % self.plan.len();
            match self.plan.get(at).copied().flatten() {
                None => {
                    self.waits = true;
                    return Choice::Wait;
                }
                Some(id) => match find(id) {
                    Some(path) if paths.get(path).is_some_and(|path| path.has_room) => {
                        self.cursor = at + 1;
                        return Choice::Path(path);
                    }
                    Some(path) => full = full.or(Some(path)),
                    None => {}
                },
            }
        }
        full.map_or(Choice::Unsaid, Choice::Path)
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn view(id: u32) -> PathView {
        PathView { id, is_usable: true, has_room: true, in_flight: 1, ..PathView::default() }
    }

    fn pair() -> (Arc<Board>, Box<dyn UserScheduler>, [PathView; 2]) {
        let (board, planned) = Board::new("test".to_owned());
        (board, planned, [view(0), view(7)])
    }

    #[test]
    fn a_plan_is_gone_through_in_turn_until_the_next() {
        let (board, mut planned, mut paths) = pair();
        let burst = Burst::default();
        let mut now = Instant::ZERO;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Unsaid), "no plan yet");
        let batch = board.wait().unwrap();
        assert_eq!(batch.question, Some((paths.to_vec(), burst)));
        assert!(!board.answer(Plan::Paths(vec![Some(7), Some(0), Some(0)])));
        for expected in [1, 0, 0, 1, 0] {
            assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Path(expected)));
        }
        now += MS;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Path(0)));
        assert!(board.wait().unwrap().question.is_some(), "asked again after a while");
        // What has no room is passed over; if nothing has, the burst waits for the first.
        paths[0].has_room = false;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Path(1)));
        paths[1].has_room = false;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Path(0)));
        paths.iter_mut().for_each(|path| path.is_usable = false);
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Unsaid));
    }

    #[test]
    fn waiting_ends_with_the_next_plan() {
        let (board, mut planned, paths) = pair();
        let burst = Burst::default();
        planned.select(Instant::ZERO, &paths, &burst).unwrap();
        board.wait().unwrap();
        board.answer(Plan::Paths(vec![None]));
        let later = Instant::ZERO + MS;
        assert_eq!(planned.select(later, &paths, &burst), Ok(Choice::Wait));
        board.wait().unwrap();
        assert!(board.answer(Plan::Paths(vec![Some(0)])), "the shard is to be woken");
        assert_eq!(planned.select(later, &paths, &burst), Ok(Choice::Path(0)));
    }

    #[test]
    fn failures_and_silence_are_told_once() {
        let (board, mut planned, paths) = pair();
        let burst = Burst::default();
        let mut now = Instant::ZERO;
        planned.select(now, &paths, &burst).unwrap();
        board.wait().unwrap();
        board.answer(Plan::Failed("KeyError".to_owned()));
        assert_eq!(planned.select(now, &paths, &burst), Err("KeyError".to_owned()));
        now += MS;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Unsaid));
        board.wait().unwrap();
        board.answer(Plan::Paths(vec![Some(0)]));
        now += MS;
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Path(0)));
        now += PATIENCE + MS;
        assert!(planned.select(now, &paths, &burst).is_err());
        assert_eq!(planned.select(now, &paths, &burst), Ok(Choice::Unsaid));
    }

    #[test]
    fn news_come_in_sums_and_changes_at_once() {
        let (board, mut planned, paths) = pair();
        let now = Instant::ZERO;
        for news in [News::Sent(5), News::Sent(6), News::Acked(4, MS), News::Lost(2)] {
            planned.tell(now, &paths, 1, news).unwrap();
        }
        planned.tell(now, &paths, 1, News::Path(PathNews::Failed)).unwrap();
        let batch = board.wait().unwrap();
        let changes = vec![PathNews::Failed];
        let report = Report { path: paths[1], sent: 11, acked: 4, rtt: Some(MS), lost: 2, changes };
        assert_eq!(batch, Batch { reports: vec![report], question: None });
        drop(planned);
        assert_eq!(board.wait(), None);
    }
}
