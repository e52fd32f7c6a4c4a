//! What this machine gives, for `tquic doctor`.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use tquic_crypto::{PacketKey, Suite, TAG_LEN};
use tquic_net::udp::{BufferSize, SocketOptions};

use crate::error;

/// Bytes of a packet's header and payload on an Ethernet path: what a busy sender seals.
const HEADER: usize = 13;
const PAYLOAD: usize = 1443;
/// Packets between two looks at the clock.
const BATCH: u64 = 64;

/// Sends a train of datagrams over a pair of sockets with the engine's options, bound to `host`, an
/// address of this machine: what the kernel said it can do, and what really came back.
#[pyfunction]
#[pyo3(signature = (host, *, socket_buffer=4 << 20))]
pub fn probe_udp<'py>(
    py: Python<'py>,
    host: &str,
    socket_buffer: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let ip: IpAddr = host.parse().map_err(|_| error::config(py, &"host must be an IP address"))?;
    let options = SocketOptions {
        recv_buffer: socket_buffer,
        send_buffer: socket_buffer,
        ..SocketOptions::default()
    };
    let probe = py.detach(|| tquic_net::udp::probe(ip, &options)).map_err(error::os)?;
    let can = probe.capabilities;
    let dict = PyDict::new(py);
    dict.set_item("gso_max_segments", can.gso_max_segments)?;
    dict.set_item("gro", can.gro)?;
    dict.set_item("ecn", can.ecn)?;
    dict.set_item("pktinfo", can.pktinfo)?;
    dict.set_item("dont_fragment", can.dont_fragment)?;
    let size = |BufferSize { wished, granted }| (wished, granted);
    dict.set_item("recv_buffer", size(can.recv_buffer))?;
    dict.set_item("send_buffer", size(can.send_buffer))?;
    dict.set_item("sent", probe.sent)?;
    dict.set_item("send_calls", probe.send_calls)?;
    dict.set_item("received", probe.received)?;
    dict.set_item("receive_calls", probe.recv_calls)?;
    dict.set_item("most_in_slot", probe.most_in_slot)?;
    dict.set_item("ecn_kept", probe.ecn_kept)?;
    dict.set_item("local_known", probe.local_known)?;
    Ok(dict)
}

/// Packet protection as the engine does it, measured for `seconds` per cipher suite: Gbit/s of
/// payload sealed by one thread in full packets, by the suite's name, best-liked suite first.
#[pyfunction]
pub fn seal_rates(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyDict>> {
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|_| error::config(py, &"seconds must be a duration in seconds"))?;
    let dict = PyDict::new(py);
    for suite in Suite::ALL {
        let rate = py.detach(|| seal_rate(suite, duration));
        dict.set_item(suite.name(), rate)?;
    }
    Ok(dict)
}

fn seal_rate(suite: Suite, duration: Duration) -> Option<f64> {
    let key = PacketKey::new(suite, &[7; 32][..suite.key_len()], [1; 12])?;
    let payload = [9; PAYLOAD];
    let mut packet = [0; HEADER + PAYLOAD + TAG_LEN];
    let start = Instant::now();
    let mut packets = 0;
    loop {
        for number in packets..packets + BATCH {
            key.seal(0, number, black_box(&mut packet), HEADER, black_box(&payload));
        }
        packets += BATCH;
        let took = start.elapsed();
        if took >= duration {
            return Some(packets as f64 * PAYLOAD as f64 * 8.0 / took.as_secs_f64() / 1e9);
        }
    }
}

/// Packets of 1472 bytes sealed and opened by one thread for `seconds`, with the cipher suite of this
/// name: how many of each, and the seconds that each took.
#[pyfunction]
pub fn protection_rate(
    py: Python<'_>,
    suite: &str,
    seconds: f64,
) -> PyResult<(u64, f64, u64, f64)> {
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|_| error::config(py, &"seconds must be a duration in seconds"))?;
    let found = Suite::ALL.into_iter().find(|known| known.name() == suite);
    let suite = found.ok_or_else(|| error::config(py, &format!("no cipher suite is {suite}")))?;
    let rates = py.detach(|| seal_and_open(suite, duration));
    rates.ok_or_else(|| error::config(py, &"this key does not open what it sealed"))
}

/// Batches of packets sealed, then opened, each timed by itself.
fn seal_and_open(suite: Suite, duration: Duration) -> Option<(u64, f64, u64, f64)> {
    let key = PacketKey::new(suite, &[7; 32][..suite.key_len()], [1; 12])?;
    let payload = [9; PAYLOAD];
    let mut packets = vec![[0; HEADER + PAYLOAD + TAG_LEN]; BATCH as usize];
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut count = 0;
    while sealing + opening < duration {
        let start = Instant::now();
        for (number, packet) in (count..).zip(&mut packets) {
            key.seal(0, number, black_box(packet), HEADER, black_box(&payload));
        }
        let sealed = Instant::now();
        for (number, packet) in (count..).zip(&mut packets) {
            key.open(0, number, black_box(packet), HEADER)?;
        }
        sealing += sealed - start;
        opening += sealed.elapsed();
        count += BATCH;
    }
    Some((count, sealing.as_secs_f64(), count, opening.as_secs_f64()))
}

/// What protects packets here, by cipher suite: `vaes` (the engine's own) or `ring`; in the order in
/// which suites are offered.
#[pyfunction]
pub fn crypto_backends(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for suite in Suite::ALL {
        dict.set_item(suite.name(), tquic_crypto::backend(suite))?;
    }
    Ok(dict)
}

/// The processor's instructions that packet protection and checksums can use: whether it has each.
#[pyfunction]
pub fn cpu_features(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, there) in features() {
        dict.set_item(name, there)?;
    }
    Ok(dict)
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("vpclmulqdq", is_x86_feature_detected!("vpclmulqdq")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}
