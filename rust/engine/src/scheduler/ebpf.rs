//! Schedulers compiled to eBPF (`tquic_sched`).

use std::sync::Arc;
use std::time::Duration;

use tquic_core::multipath::{
    Burst, Choice, News, PathNews, PathView, SchedulerSource, UserScheduler,
};
use tquic_core::time::Instant;
use tquic_sched::{Backend, Callback, Instance, PacketContext, PathEvent, PathSnapshot, Program};

/// Starts a program for each connection that has several paths.
#[derive(Clone, Debug)]
pub struct Ebpf(Arc<Program>);

impl Ebpf {
    /// Of this program.
    #[must_use]
    pub fn new(program: Arc<Program>) -> Self {
        Self(program)
    }
}

impl SchedulerSource for Ebpf {
    fn start(&self) -> Result<Box<dyn UserScheduler>, String> {
        let mut instance = Instance::new(&self.0, Backend::Fastest);
        let named = |why| format!("{}: {why}", self.0.name());
        instance.init().map_err(named)?;
        Ok(Box::new(Running { program: Arc::clone(&self.0), instance, paths: Vec::new() }))
    }
}

/// A program at work.
#[derive(Debug)]
struct Running {
    program: Arc<Program>,
    instance: Instance,
    /// As shown last. What the program wrote to a path stays there.
    paths: Vec<PathSnapshot>,
}

impl Running {
    fn show(&mut self, views: &[PathView]) {
        let before = std::mem::take(&mut self.paths);
        self.paths.extend(views.iter().map(|view| {
            let known = before.iter().find(|path| path.id == view.id);
            let fresh = PathSnapshot { weight: view.weight, schedulable: 1, ..Default::default() };
            let PathSnapshot { weight, priority, schedulable, .. } = *known.unwrap_or(&fresh);
            PathSnapshot {
                id: view.id,
                weight,
                priority,
                schedulable,
                is_open: view.is_usable,
                is_backup: view.is_backup,
                is_held_back: !view.has_room,
                srtt_us: micros(view.srtt),
                min_rtt_us: micros(view.min_rtt),
                bandwidth: view.bandwidth,
                cwnd: view.cwnd,
                bytes_in_flight: view.in_flight,
                loss_rate: view.loss_rate,
            }
        }));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a program hears of one train or ACK frame at most.
fn bytes(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl UserScheduler for Running {
    fn name(&self) -> &str {
        self.program.name()
    }

    fn select(&mut self, _: Instant, views: &[PathView], burst: &Burst) -> Result<Choice, String> {
        self.show(views);
        let packet = PacketContext {
            stream_id: burst.stream,
            bytes: burst.bytes,
            ack_eliciting: true,
            retransmission: burst.retransmission,
        };
        let chosen = self.instance.select_path(&mut self.paths, &packet);
        chosen.map(|at| at.map_or(Choice::Wait, Choice::Path)).map_err(|fault| fault.to_string())
    }

    fn wants(&self, news: &News) -> bool {
        let callback = match news {
            News::Sent(_) => Callback::PacketSent,
            News::Acked(..) => Callback::PacketAcked,
            News::Lost(_) => Callback::PacketLost,
            News::Path(_) => Callback::PathChange,
        };
        self.program.function(callback).is_some()
    }

    fn tell(
        &mut self,
        _: Instant,
        views: &[PathView],
        index: usize,
        news: News,
    ) -> Result<(), String> {
        self.show(views);
        let (instance, paths) = (&mut self.instance, &mut self.paths);
        let told = match news {
            News::Sent(count) => instance.on_packet_sent(paths, index, bytes(count)),
            News::Acked(count, rtt) => instance.on_packet_acked(paths, index, bytes(count), rtt),
            News::Lost(count) => instance.on_packet_lost(paths, index, bytes(count)),
            News::Path(news) => instance.on_path_change(paths, index, event(news)),
        };
        told.map_err(|fault| fault.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure.
        let _ = self.instance.release();
    }
}

fn event(news: PathNews) -> PathEvent {
    match news {
        PathNews::Added => PathEvent::Add,
        PathNews::Removed => PathEvent::Remove,
        PathNews::Active => PathEvent::Active,
        PathNews::Standby => PathEvent::Standby,
        PathNews::Failed => PathEvent::Failed,
        PathNews::Recovered => PathEvent::Recovered,
        PathNews::Migrated => PathEvent::Migrate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide() -> Ebpf {
        let object = include_bytes!("../../../sched/fixtures/guide.o");
        Ebpf::new(Arc::new(Program::load(object).unwrap()))
    }

    fn view(id: u32, millis: u64) -> PathView {
        PathView {
            id,
            is_usable: true,
            has_room: true,
            srtt: Duration::from_millis(millis),
            cwnd: 100_000,
            ..PathView::default()
        }
    }

    #[test]
    fn a_program_chooses_by_what_it_is_shown() {
        let mut running = guide().start().unwrap();
        let burst = Burst { bytes: 1200, ..Burst::default() };
        let mut choose = |paths: &[PathView]| running.select(Instant::ZERO, paths, &burst);
        let (slow, fast) = (view(0, 50), view(3, 10));
        assert_eq!(choose(&[slow, fast]), Ok(Choice::Path(1)));
        // The pacer's word is worth as much as the window's.
        let paced = PathView { has_room: false, ..fast };
        assert_eq!(choose(&[slow, paced]), Ok(Choice::Path(0)));
        let full = PathView { in_flight: 99_000, ..slow };
        assert_eq!(choose(&[full, paced]), Ok(Choice::Wait));
    }

    #[test]
    fn it_hears_only_what_it_has_functions_for() {
        let running = guide().start().unwrap();
        assert!(!running.wants(&News::Sent(1)) && !running.wants(&News::Path(PathNews::Added)));
        assert_eq!(running.name(), "my_minrtt");
    }
}
