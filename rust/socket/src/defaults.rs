//! Where options begin: the environment and the files of `tquic sysctl`, read for each new socket.

use std::collections::HashMap;
use std::path::PathBuf;

use tquic_core::cc::Congestion;
use tquic_core::multipath::Scheduler;
use tquic_net::udp::SocketOptions;
use tquic_net::xdp;

use crate::abi::*;
use crate::options::{Material, Options, PATHS, QlogArgs};

/// What the parameters begin with.
const PREFIX: &str = "net.tquic.";

/// The options of a new socket.
pub(crate) fn options() -> Options {
    let mut options = from(variable, &parameters());
    let file = |name| std::env::var_os(name).and_then(|path| std::fs::read(path).ok());
    options.material = Material {
        certificate: file("TQUIC_CERT_FILE"),
        key: file("TQUIC_KEY_FILE"),
        ..Material::default()
    };
    options
}

/// How the engine opens its UDP sockets.
pub(crate) fn udp() -> SocketOptions {
    let parameters = parameters();
    let on = |name| parameters.get(name).is_none_or(|value| value != "0");
    let zerocopy = parameters.get("zerocopy_enable").is_some_and(|value| value == "1");
    let (gso, gro) = (on("gso_enable"), on("gro_enable"));
    SocketOptions { gso, gro, zerocopy, ..SocketOptions::default() }
}

/// The interface that packets go through past the kernel, if there is to be one: one for the whole
/// process, and no option of a socket names it.
pub(crate) fn xdp() -> Option<xdp::Options> {
    variable("TQUIC_XDP").map(xdp::Options::new)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The files: those of the system, then those of the user, who has the last word.
fn files(variable: impl Fn(&str) -> Option<String>) -> [Option<PathBuf>; 2] {
    let below = |folder: PathBuf| folder.join("tquic/sysctl.conf");
    let own = variable("TQUIC_SYSCTL").map(PathBuf::from).or_else(|| {
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
        variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home).map(below)
    });
    [Some(PathBuf::from("/etc/tquic/sysctl.conf")), own]
}

/// What the files say, by names without the prefix. A line that makes no sense counts as not there:
/// a socket is no place to complain of files, and `tquic sysctl` does.
fn parameters() -> HashMap<String, String> {
    let texts = files(variable).into_iter().flatten().flat_map(std::fs::read_to_string);
    texts.flat_map(|text| parsed(&text)).collect()
}

fn parsed(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once('='));
    lines
        .map(|(name, value)| {
            let name = name.trim();
            let value = value.trim().trim_matches(['"', '\'']);
            (name.strip_prefix(PREFIX).unwrap_or(name).to_owned(), value.to_owned())
        })
        .collect()
}

fn from(
    variable: impl Fn(&str) -> Option<String>,
    parameters: &HashMap<String, String>,
) -> Options {
    let mut options = Options::default();
    let parameter = |name: &str| parameters.get(name).cloned();
    let is_on = |value: &String| matches!(value.as_str(), "1" | "true" | "on" | "yes");
    let given = |name: &str, old: &str| variable(name).or_else(|| parameter(old));
    let name = given("TQUIC_CONGESTION", "default_congestion");
    if let Some(congestion) = name.and_then(|n| Congestion::from_name(&n).ok()) {
        options.congestion = congestion;
    }
    let name = given("TQUIC_SCHEDULER", "scheduler");
    if let Some(scheduler) = name.and_then(|n| Scheduler::named(&n)) {
        options.scheduler = scheduler;
    }
    if parameter("multipath_default").as_ref().is_some_and(is_on) {
        options.paths = PATHS;
    }
    let paths = given("TQUIC_MAX_PATHS", "max_paths").and_then(|n| n.parse::<u32>().ok());
    options.paths = paths.map_or(options.paths, |n| n.clamp(1, 16));
    let ecn = given("TQUIC_ECN", "ecn_enable");
    options.ecn = ecn.as_ref().map_or(options.ecn, is_on);
    let most = given("TQUIC_MAX_CONNECTIONS", "max_connections").and_then(|n| n.parse().ok());
    options.max_connections = most.unwrap_or(options.max_connections);
    let idle = parameter("idle_timeout_ms").and_then(|n| n.parse().ok());
    options.idle_timeout = idle.unwrap_or(options.idle_timeout);
    qlog(&mut options, variable, parameters);
    options
}

fn qlog(
    options: &mut Options,
    variable: impl Fn(&str) -> Option<String>,
    parameters: &HashMap<String, String>,
) {
    let on = parameters.get("qlog_enable").is_some_and(|value| value == "1");
    let named = variable("QLOGDIR").map(PathBuf::from);
    let given = variable("TQUIC_QLOG_MODE");
    if named.is_none() && given.is_none() && !on {
        return;
    }
    let mut args = QlogArgs::everything();
    let mode = given.or_else(|| parameters.get("qlog_mode").filter(|_| on).cloned());
    args.mode = match mode.as_deref() {
        Some("ring") => TQUIC_QLOG_MODE_RING,
        Some("netlink") => TQUIC_QLOG_MODE_NETLINK,
        Some("unix") => TQUIC_QLOG_MODE_UNIX,
        _ => TQUIC_QLOG_MODE_FILE,
    };
    if let Some(mask) = parameters.get("qlog_mask").and_then(|value| number(value)) {
        args.event_mask = mask;
    }
    options.qlog = Some(args);
    if args.mode == TQUIC_QLOG_MODE_UNIX {
        options.qlog_folder = variable("TQUIC_QLOG").map(PathBuf::from);
        return;
    }
    options.qlog_folder = named.or_else(|| {
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        state.map(|state| state.join("tquic/qlog"))
    });
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_sets_what_it_names() {
        let none = HashMap::new();
        let plain = from(|_| None, &none);
        assert_eq!((plain.congestion, plain.paths, plain.ecn), (Congestion::Cubic, 1, true));
        let environment = |name: &str| {
            let value = match name {
                "TQUIC_CONGESTION" => "bbr",
                "TQUIC_SCHEDULER" => "roundrobin",
                "TQUIC_MAX_PATHS" => "99",
                "TQUIC_ECN" => "0",
                "TQUIC_MAX_CONNECTIONS" => "7",
                "QLOGDIR" => "/tmp/q",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let system = parsed("net.tquic.default_congestion = copa\nnet.tquic.qlog_mask=0x3 # two\n");
        let set = from(environment, &system.into_iter().collect());
        assert_eq!((set.congestion, set.paths, set.ecn), (Congestion::Bbr, 16, false));
        assert_eq!((set.scheduler.name(), set.max_connections), ("roundrobin", 7));
        assert_eq!(set.qlog.map(|qlog| qlog.event_mask), Some(3));
        let mode = |name: &str| (name == "TQUIC_QLOG_MODE").then(|| "netlink".to_owned());
        let mode = from(mode, &none).qlog.map(|qlog| qlog.mode);
        assert_eq!(mode, Some(TQUIC_QLOG_MODE_NETLINK));
        let wrong = from(|name| (name == "TQUIC_CONGESTION").then(|| "no such".to_owned()), &none);
        assert_eq!(wrong.congestion, Congestion::Cubic);
    }

    #[test]
    fn files_set_what_the_environment_leaves_alone() {
        let text = "# all of them\nnet.tquic.default_congestion = \"bbr2\"\nmultipath_default=1\n\
            net.tquic.ecn_enable = 0\nnet.tquic.max_connections = 12\nnonsense\n\
            net.tquic.idle_timeout_ms = 5000\nnet.tquic.qlog_enable = 1\n";
        let system = parsed(text).into_iter().collect();
        let home = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
        let set = from(home, &system);
        assert_eq!((set.congestion, set.paths, set.ecn), (Congestion::Bbr2, PATHS, false));
        assert_eq!((set.max_connections, set.idle_timeout), (12, 5000));
        assert_eq!(set.qlog_folder, Some(PathBuf::from("/home/a/.local/state/tquic/qlog")));
        let [_, own] = files(home);
        assert_eq!(own, Some(PathBuf::from("/home/a/.config/tquic/sysctl.conf")));
    }
}
