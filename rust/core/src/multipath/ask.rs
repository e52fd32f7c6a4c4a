//! The connection's side of schedulers that are not ours.

use super::user::{Burst, Choice, News, PathNews, PathView, User, UserScheduler};
use super::{Order, Scheduler};
use crate::connection::Connection;
use crate::events::Event;
use crate::multipath::outage::is_suspect;
use crate::path::Stage;
use crate::recovery::AckSummary;
use crate::time::{Instant, nanos};
use crate::trace::Reason;

impl Connection {
    /// Puts a scheduler that is not ours in place; `None` leaves the choice to the named one.
    pub fn set_user_scheduler(&mut self, scheduler: Option<Box<dyn UserScheduler>>) {
        if let Some(multipath) = &mut self.multipath {
            multipath.user = scheduler.map(User::new);
        }
    }

    /// The name of what puts the paths in order.
    pub fn scheduler_name(&self) -> &str {
        let multipath = self.multipath.as_ref();
        let user = multipath.and_then(|m| m.user.as_ref());
        user.map_or(self.scheduler().name(), |user| user.scheduler.name())
    }

    /// The configured scheduler that is not ours, for a connection that has just become multipath.
    pub(super) fn start_user_scheduler(&mut self) {
        let Some(source) = self.config.user_scheduler.clone() else { return };
        match source.start() {
            Ok(scheduler) => self.set_user_scheduler(Some(scheduler)),
            Err(reason) => {
                self.stats.scheduler_failures += 1;
                self.events.push(Event::SchedulerFailed { reason, over: true });
            }
        }
    }

    /// Asks the scheduler that is not ours, if there is one, and lets the path that it chose serve
    /// alone. Without an answer the order stays as it is.
    pub(super) fn ask_user(&mut self, now: Instant, mut order: Order) -> (Order, Reason) {
        let multipath = self.multipath.as_mut();
        let Some(mut user) = multipath.and_then(|m| m.user.take()) else {
            return (order, Reason::Best);
        };
        let views = self.views(now);
        let answer = user.scheduler.select(now, &views, &self.burst()).and_then(|choice| {
            let usable = |at: usize| views.get(at).is_some_and(|v| v.is_usable);
            match choice {
                Choice::Path(at) if !usable(at) => {
                    Err(format!("it chose path number {at}, which is not usable"))
                }
                // Nothing would ever wake it.
                Choice::Wait if !views.iter().any(|v| v.is_usable && v.in_flight > 0) => {
                    Err("it waits although nothing is under way on any path".to_owned())
                }
                choice => Ok(choice),
            }
        });
        // One that does not say has neither failed nor made good.
        if matches!(answer, Ok(Choice::Path(_) | Choice::Wait)) {
            user.on_success();
        }
        match self.judge(user, answer) {
            Some(Choice::Path(chosen)) => {
                for (at, path) in self.paths.iter_mut().enumerate() {
                    path.standing.serves = at == chosen;
                }
                order.sort_by_key(|at| *at != chosen);
                (order, Reason::User)
            }
            Some(Choice::Wait) => {
                self.paths.iter_mut().for_each(|path| path.standing.serves = false);
                (order, Reason::User)
            }
            Some(Choice::Unsaid) | None => (order, Reason::Fallback),
        }
    }

    /// Tells the scheduler that is not ours, if it wants to know.
    pub(crate) fn tell_scheduler(&mut self, now: Instant, path: usize, news: News) {
        let Some(multipath) = &mut self.multipath else { return };
        if !multipath.user.as_ref().is_some_and(|user| user.scheduler.wants(&news)) {
            return;
        }
        let Some(mut user) = multipath.user.take() else { return };
        let views = self.views(now);
        let answer = user.scheduler.tell(now, &views, path, news);
        self.judge(user, answer);
    }

    /// Tells it of an ACK frame, on a path that was silent before or not.
    pub(crate) fn tell_scheduler_of_ack(
        &mut self,
        now: Instant,
        path: usize,
        summary: &AckSummary,
        silent: bool,
    ) {
        if summary.acked_bytes > 0 {
            let rtt = self.paths[path].recovery.rtt().smoothed();
            let news = News::Acked(summary.acked_bytes, summary.rtt_sample.unwrap_or(rtt));
            self.tell_scheduler(now, path, news);
        }
        if summary.lost_bytes > 0 {
            self.tell_scheduler(now, path, News::Lost(summary.lost_bytes));
        }
        if silent {
            self.tell_scheduler(now, path, News::Path(PathNews::Recovered));
        }
    }

    /// Puts the scheduler back, unless it failed for good.
    fn judge<T>(&mut self, mut user: User, answer: Result<T, String>) -> Option<T> {
        let mut over = false;
        let answer = match answer {
            Ok(answer) => Some(answer),
            Err(reason) => {
                self.stats.scheduler_failures += 1;
                let failing = user.on_failure();
                over = failing.over;
                if failing.tell {
                    let reason = format!("{}: {reason}", user.scheduler.name());
                    self.events.push(Event::SchedulerFailed { reason, over });
                }
                None
            }
        };
        if let (Some(multipath), false) = (&mut self.multipath, over) {
            multipath.user = Some(user);
        }
        answer
    }

    fn burst(&self) -> Burst {
        let next = self.streams.next_stream();
        let size = self.paths.iter().map(|p| p.active().mtu.current()).max();
        Burst {
            stream: next.map(|(id, _)| id.0),
            bytes: u32::from(size.unwrap_or_default()),
            retransmission: next.is_some_and(|(_, again)| again),
        }
    }

    fn views(&mut self, now: Instant) -> Vec<PathView> {
        let open = |stage| stage == Stage::Open;
        let healthy = self.paths.iter().any(|p| open(p.standing.stage) && !is_suspect(p));
        let room: Order = (0..self.paths.len()).filter(|at| self.has_room(now, *at)).collect();
        let view = |(at, path): (usize, &crate::path::Path)| {
            let (recovery, rtt) = (&path.recovery, path.recovery.rtt());
            let measured = u128::from(recovery.cwnd()) * 1_000_000_000
                / u128::from(nanos(rtt.smoothed()).max(1));
            let measured = u64::try_from(measured).unwrap_or(u64::MAX);
            let sent = recovery.next_pn(tquic_wire::Space::Data).max(1);
            let lost = recovery.stats().lost_packets.saturating_mul(10_000) / sent;
            PathView {
                id: path.id,
                weight: path.turns.weight.map_or(0, core::num::NonZeroU32::get),
                is_usable: open(path.standing.stage) && !(healthy && is_suspect(path)),
                is_backup: path.standing.is_backup(),
                has_room: room.contains(&at),
                srtt: rtt.smoothed(),
                min_rtt: rtt.min(),
                bandwidth: recovery.delivery_rate().unwrap_or(measured),
                cwnd: recovery.cwnd(),
                in_flight: recovery.bytes_in_flight(),
                loss_rate: u32::try_from(lost).unwrap_or(u32::MAX).min(10_000),
            }
        };
        self.paths.iter().enumerate().map(view).collect()
    }

    /// Whether everything is to be sent on every path.
    pub(crate) fn is_redundant(&self) -> bool {
        let multipath = self.multipath.as_ref();
        multipath.is_some_and(|m| m.user.is_none() && m.scheduler == Scheduler::Redundant)
    }
}
