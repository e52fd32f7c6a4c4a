//! A client and a server with one or two networks between them.

use std::ops::Range;

use tquic_core::config::TransportConfig;
use tquic_sim::link::{Limit, LinkConfig, Loss, QueueConfig, Rate};
use tquic_sim::trial::plan::{Act, ConnectionPlan, Ending, Plan, Start, Transfer, What};
use tquic_sim::trial::{Report, draw, run};
use tquic_sim::{Duration, Instant};
use tquic_wire::{Direction, Side};

pub const MS: Duration = Duration::from_millis(1);
/// Transfers begin when both paths are open.
const BEGIN: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Clone, Debug)]
pub struct Bond {
    /// Settings of both ends.
    pub config: TransportConfig,
    pub seed: u64,
    /// Mbit/s and milliseconds.
    first: (u64, u32),
    second: Option<(u64, u32)>,
    loss: Option<Loss>,
    /// When the first network carries nothing.
    outages: Vec<Range<Instant>>,
    /// Whether the client's system tells of outages.
    told: bool,
}

/// A network of `rate` Mbit/s with a round trip of `rtt` milliseconds and a queue of one such.
fn network((rate, rtt): (u64, u32), loss: Option<&Loss>) -> (LinkConfig, LinkConfig) {
    let packets = (rate * u64::from(rtt) * 1000 / 8 / 1500).max(20);
    let link = LinkConfig {
        rate: Some(Rate::bps(rate * 1_000_000)),
        delay: MS * rtt / 2,
        overhead: 28,
        queue: QueueConfig::DropTail(Limit::Packets(packets)),
        loss: loss.into_iter().cloned().collect(),
        ..LinkConfig::default()
    };
    (link.clone(), link)
}

impl Bond {
    pub fn new(first: (u64, u32), second: Option<(u64, u32)>) -> Self {
        let config = TransportConfig { max_paths: Some(2), ..TransportConfig::default() };
        Self { config, seed: 1, first, second, loss: None, outages: Vec::new(), told: false }
    }

    /// Both networks lose packets.
    pub fn lossy(self, loss: Loss) -> Self {
        Self { loss: Some(loss), ..self }
    }

    /// The first network carries nothing in these spans, in milliseconds since the transfer began.
    pub fn cut(self, spans: &[Range<u32>]) -> Self {
        let at = |ms| Instant::ZERO + BEGIN + MS * ms;
        let outages = spans.iter().map(|span| at(span.start)..at(span.end)).collect();
        Self { outages, ..self }
    }

    /// The client's system tells when the first network goes, and when it is back.
    pub fn told(self) -> Self {
        Self { told: true, ..self }
    }

    /// Windows of the peer's flow control, which do not grow.
    pub fn window(mut self, bytes: u64) -> Self {
        let streams = &mut self.config.streams;
        (streams.stream_window, streams.max_stream_window) = (bytes, bytes);
        (streams.connection_window, streams.max_connection_window) = (bytes, bytes);
        self
    }

    fn plan(&self) -> Plan {
        let mut plan: Plan = draw(Some("transfer"), self.seed).unwrap();
        (plan.client, plan.server) = (self.config.clone(), self.config.clone());
        (plan.tls, plan.host) = Default::default();
        let loss = self.loss.as_ref();
        let mut first = network(self.first, loss);
        first.0.schedule.outages.clone_from(&self.outages);
        first.1.schedule.outages.clone_from(&self.outages);
        (plan.network.to_server, plan.network.to_client) = first;
        plan.network.second = self.second.map(|second| network(second, loss));
        plan.limit = Duration::from_secs(600);
        plan
    }

    /// Seconds that a stream of so many bytes takes.
    pub fn transfer(&self, bytes: u64, upwards: bool) -> f64 {
        // The server may miss how the connection ended.
        let over = self.play(bytes, upwards).over[0];
        (over - Instant::ZERO - BEGIN).as_secs_f64()
    }

    /// A stream of so many bytes.
    pub fn play(&self, bytes: u64, upwards: bool) -> Report {
        let mut plan = self.plan();
        let path = self.second.map(|_| 1);
        let mut connection = connection(bytes, upwards, path);
        if self.told {
            let told = |at: Instant, up| {
                let what = What::Local(0, up);
                Act { side: Side::Client, at: at - Instant::ZERO, what }
            };
            let acts = self.outages.iter().flat_map(|o| [told(o.start, false), told(o.end, true)]);
            connection.acts.extend(acts);
        }
        plan.connections = vec![connection];
        play(plan)
    }

    /// Downloads of `bytes` each side by side over the first network: by a connection with two paths
    /// there, and by one with one path. When each was done, in seconds.
    pub fn rivals(&self, bytes: u64) -> [f64; 2] {
        let mut plan = self.plan();
        // The client's address number 2 is on the first network.
        plan.connections = vec![connection(bytes, false, Some(2)), connection(bytes, false, None)];
        let report = play(plan);
        [0, 1].map(|at| (report.over[at] - Instant::ZERO - BEGIN).as_secs_f64())
    }
}

fn play(plan: Plan) -> Report {
    run(plan).unwrap_or_else(|failure| panic!("{failure}"))
}

fn connection(bytes: u64, upwards: bool, path: Option<u16>) -> ConnectionPlan {
    let (request, response) = if upwards { (bytes, 1) } else { (1, bytes) };
    let open = |address| Act { side: Side::Client, at: MS, what: What::OpenPath(address) };
    ConnectionPlan {
        start: Start::At(Duration::ZERO),
        use_token: false,
        transfers: vec![Transfer {
            opener: Side::Client,
            direction: Direction::Bidirectional,
            request,
            response,
            delay: BEGIN,
            chunk: 1 << 18,
            cut: None,
        }],
        acts: path.map(open).into_iter().collect(),
        ending: Ending::Close(Side::Client),
        read_rate: None,
    }
}
