//! The developers' bench: perf server and client over loopback in one process, or in two.
//!
//! `cargo run --release --example perf -- [both|server|client] [option=value]...`
//!
//! Options: address=127.0.0.1:4433 server_cpu=0 client_cpu=1 down=SIZE up=SIZE streams=N time=SECONDS
//! requests=N inflight=N response=SIZE handshakes=N kind=full|resumed|0rtt datagrams=N size=B
//! connections=N repeat=N mtu=BYTES window=SIZE spin_us=N cipher=aes128|aes256|chacha20 pacing=0|1
//! congestion=NAME

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tquic_core::cc::Congestion;
use tquic_core::config::{AcceptConfig, TransportConfig};
use tquic_crypto::session::{Group, TicketStore};
use tquic_crypto::{ClientConfig, ServerConfig, Suite};
use tquic_engine::perf::{
    self, Bulk, ClientOptions, DatagramLoad, HandshakeKind, Handshakes, Report, Requests, Scenario,
};
use tquic_engine::{ConnectRequest, Engine, EngineConfig, ListenRequest, ShardStats};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options(HashMap<String, String>);

impl Options {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" => 1,
            "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            other => return Err(format!("{key}: no unit `{other}`").into()),
        };
        Ok(Some(digits.parse::<u64>()? * unit))
    }

    fn count(&self, key: &str, default: u64) -> Result<u64> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    fn duration(&self) -> Result<Option<Duration>> {
        let Some(text) = self.text("time") else { return Ok(None) };
        Ok(Some(Duration::try_from_secs_f64(text.parse()?)?))
    }
}

fn main() -> Result<()> {
    let mut role = "both".to_owned();
    let mut options = HashMap::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) => {
                options.insert(key.to_owned(), value.to_owned());
            }
            None => role = argument,
        }
    }
    let options = Options(options);
    match role.as_str() {
        "both" => {
            let (server, address) = serve(&options, "127.0.0.1:0".parse()?)?;
            work(&options, address, Some(&server))
        }
        "server" => {
            let (server, address) = serve(&options, address(&options)?)?;
            println!("listening on {address}");
            loop {
                std::thread::park();
                drop(server.stats());
            }
        }
        "client" => work(&options, address(&options)?, None),
        other => Err(format!("no role `{other}`: both, server, client").into()),
    }
}

fn address(options: &Options) -> Result<SocketAddr> {
    Ok(options.text("address").unwrap_or("127.0.0.1:4433").parse()?)
}

fn engine(options: &Options, cpu: &str, default: u64) -> Result<Engine> {
    let cpu = options.count(cpu, default)? as usize;
    Ok(Engine::new(EngineConfig {
        cpus: vec![cpu],
        spin: Duration::from_micros(options.count("spin_us", 0)?),
        log: Some(Arc::new(|line| eprintln!("{line}"))),
        ..EngineConfig::default()
    })?)
}

fn transport(options: &Options) -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config.max_udp_payload = options.count("mtu", u64::from(config.max_udp_payload))? as u16;
    config.recovery.pacing = options.count("pacing", 1)? == 1;
    if let Some(name) = options.text("congestion") {
        config.recovery.congestion = Congestion::from_name(name)?;
    }
    config.streams.max_streams_bidi = 1024;
    if let Some(window) = options.number("window")? {
        config.streams.stream_window = config.streams.stream_window.min(window);
        config.streams.max_stream_window = window;
        config.streams.connection_window = config.streams.connection_window.min(window * 3 / 2);
        config.streams.max_connection_window = window * 3 / 2;
    }
    config.validate()?;
    Ok(Arc::new(config))
}

fn serve(options: &Options, address: SocketAddr) -> Result<(Engine, SocketAddr)> {
    let engine = engine(options, "server_cpu", 0)?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let tls = ServerConfig::builder()
        .certificate(made.cert.der(), made.signing_key.serialize_pem().as_bytes())?
        .alpn(&[perf::ALPN])
        .early_data(true)
        .build()?;
    let accept = AcceptConfig::new(Arc::new(tls), transport(options)?);
    let acceptor = perf::Server::acceptor(Arc::default());
    let listening = engine.listen(&ListenRequest::new(address, accept), acceptor)?;
    let address = listening.addresses.first().copied().ok_or("no address")?;
    Ok((engine, address))
}

fn scenario(options: &Options) -> Result<Scenario> {
    let duration = options.duration()?;
    if let Some(total) = options.number("requests")? {
        return Ok(Scenario::Requests(Requests {
            total: Some(total),
            inflight: options.count("inflight", 1)? as usize,
            response: options.count("response", 32)?,
            duration,
        }));
    }
    if let Some(count) = options.number("handshakes")? {
        return Ok(Scenario::Handshakes(Handshakes { count, kind: kind(options)? }));
    }
    if let Some(count) = options.number("datagrams")? {
        let size = options.count("size", 1200)? as usize;
        return Ok(Scenario::Datagrams(DatagramLoad { count, size }));
    }
    Ok(Scenario::Bulk(Bulk {
        download: options.number("down")?,
        upload: options.number("up")?,
        streams: options.count("streams", 1)? as usize,
        duration,
    }))
}

fn kind(options: &Options) -> Result<HandshakeKind> {
    Ok(match options.text("kind").unwrap_or("full") {
        "full" => HandshakeKind::Full,
        "resumed" => HandshakeKind::Resumed,
        "0rtt" => HandshakeKind::ZeroRtt,
        other => return Err(format!("no kind `{other}`").into()),
    })
}

fn work(options: &Options, address: SocketAddr, server: Option<&Engine>) -> Result<()> {
    let engine = engine(options, "client_cpu", 1)?;
    let store = TicketStore::new(16);
    let kind = kind(options)?;
    let suite = match options.text("cipher").unwrap_or("aes128") {
        "aes128" => Suite::Aes128Gcm,
        "aes256" => Suite::Aes256Gcm,
        "chacha20" => Suite::Chacha20Poly1305,
        other => return Err(format!("no cipher `{other}`").into()),
    };
    let tls = ClientConfig::builder()
        .insecure_no_verification()
        .alpn(&[perf::ALPN])
        .suites(&[suite])
        .groups(&[Group::X25519])
        .tickets((kind != HandshakeKind::Full).then(|| store.clone()))
        .early_data(kind == HandshakeKind::ZeroRtt)
        .build()?;
    let mut request = ConnectRequest::new(address, "localhost", Arc::new(tls));
    request.transport = transport(options)?;
    let options_of_run = ClientOptions {
        request,
        tickets: Some(store),
        connections: options.count("connections", 1)? as usize,
        scenario: scenario(options)?,
    };
    for _ in 0..options.count("repeat", 1)? {
        let before = total(server)?;
        let report = perf::run(&engine, &options_of_run)?;
        let after = total(server)?;
        print(&report, server.map(|_| (&before, &after)));
    }
    Ok(())
}

fn total(engine: Option<&Engine>) -> Result<ShardStats> {
    let mut sum = ShardStats::default();
    if let Some(engine) = engine {
        engine.stats()?.iter().for_each(|shard| sum.add(shard));
    }
    Ok(sum)
}

fn print(report: &Report, server: Option<(&ShardStats, &ShardStats)>) {
    println!(
        "{:.2} Gbit/s, {:.0}/s; {} bytes in {:.3} s, {}; client: {} packets sent, {} received, \
         {:.1} per send, {:.1} per receive, CPU {:.2} s, lost {}, RSS {} MB",
        report.gbps,
        report.rate_per_second,
        report.bytes,
        report.seconds,
        if report.verified { "verified" } else { "NOT VERIFIED" },
        report.packets_sent,
        report.packets_received,
        report.packets_per_send_call,
        report.packets_per_receive_call,
        report.cpu_seconds,
        report.lost_packets,
        report.max_rss_bytes / 1_000_000,
    );
    if let Some(l) = report.latency_us {
        println!(
            "  latency us: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
            l.p50, l.p90, l.p99, l.p99_9, l.max
        );
    }
    if let Some((before, after)) = server {
        let (old, new) = (before.socket, after.socket);
        let per = |n: u64, calls: u64| if calls == 0 { 0.0 } else { n as f64 / calls as f64 };
        println!(
            "  server: {:.1} packets per send, {:.1} per receive, CPU {:.2} s, drops {}, turns {}, \
             sleeps {}, unsent {}, soft errors {}, panics {}",
            per(new.sent_datagrams - old.sent_datagrams, new.send_calls - old.send_calls),
            per(new.recv_datagrams - old.recv_datagrams, new.recv_calls - old.recv_calls),
            (after.cpu.unwrap_or_default() - before.cpu.unwrap_or_default()).as_secs_f64(),
            new.kernel_drops - old.kernel_drops,
            after.turns - before.turns,
            after.sleeps - before.sleeps,
            after.unsent_trains - before.unsent_trains,
            new.soft_errors - old.soft_errors,
            after.panics - before.panics,
        );
    }
    for path in &report.paths {
        println!(
            "  path {}: {} -> {}, {} bytes, srtt {:.0} us, lost {}, mtu {}",
            path.id, path.local, path.remote, path.bytes, path.srtt_us, path.lost, path.mtu
        );
    }
}
