//! Quantities with their units, as people write them: `"50Mbps"`, `"40ms"`, `"0.5bdp"`.

use crate::link::Rate;
use serde::Deserialize;
use tquic_core::time::{Duration, nanos};

/// A rate: `bps`, `kbps`, `Mbps`, `Gbps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BitRate(pub Rate);

/// A span of time: `us`, `ms`, `s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Size {
    /// `bdp`: the path's rate times its round-trip time.
    Bdp(f64),
    /// `packets` of full size.
    Packets(f64),
    /// `B` or `kB`.
    Bytes(f64),
}

impl Size {
    /// In bytes, where a bandwidth-delay product is `bdp` bytes and a packet `packet`.
    pub fn bytes(self, bdp: f64, packet: u16) -> u64 {
        let bytes = match self {
            Self::Bdp(times) => times * bdp,
            Self::Packets(count) => count * f64::from(packet),
            Self::Bytes(bytes) => bytes,
        };
        bytes.round() as u64
    }
}

impl TryFrom<String> for BitRate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let factor = |unit: &str| match unit {
            "bps" => Some(1.0),
            "kbps" => Some(1e3),
            "Mbps" => Some(1e6),
            "Gbps" => Some(1e9),
            _ => None,
        };
        let (value, factor) = split(&text, factor)?;
        Ok(Self(Rate::bps((value * factor).round() as u64)))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let factor = |unit: &str| match unit {
            "us" => Some(1e3),
            "ms" => Some(1e6),
            "s" => Some(1e9),
            _ => None,
        };
        let (value, factor) = split(&text, factor)?;
        Ok(Self(Duration::from_nanos((value * factor).round() as u64)))
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let make = |unit: &str| -> Option<fn(f64) -> Self> {
            match unit {
                "bdp" => Some(Self::Bdp),
                "packets" => Some(Self::Packets),
                "B" => Some(Self::Bytes),
                "kB" => Some(|value| Self::Bytes(value * 1e3)),
                _ => None,
            }
        };
        let (value, make) = split(&text, make)?;
        Ok(make(value))
    }
}

/// A number and what `unit` makes of the letters behind it.
fn split<T>(text: &str, unit: impl FnOnce(&str) -> Option<T>) -> Result<(f64, T), String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, name) = text.split_at(end);
    let value: f64 = number.trim().parse().map_err(|_| format!("`{text}` has no number"))?;
    if !(value.is_finite() && value >= 0.0) {
        return Err(format!("`{text}` is out of range"));
    }
    let unit = unit(name).ok_or_else(|| format!("`{text}` has no known unit"))?;
    Ok((value, unit))
}

/// Bytes that `rate` carries in `time`.
pub fn product(rate: Rate, time: Duration) -> f64 {
    rate.as_bps() as f64 / 8.0 * nanos(time) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_need_a_unit_of_their_kind() {
        let rate = |text: &str| BitRate::try_from(text.to_owned()).map(|rate| rate.0.as_bps());
        assert_eq!(rate("1.5Mbps"), Ok(1_500_000));
        let span = |text: &str| Span::try_from(text.to_owned()).map(|span| span.0);
        assert_eq!(span("250us"), Ok(Duration::from_micros(250)));
        let size = |text: &str| Size::try_from(text.to_owned()).map(|size| size.bytes(1e6, 1250));
        assert_eq!(size("0.1bdp"), Ok(100_000));
        assert_eq!((size("20packets"), size("10kB")), (Ok(25_000), Ok(10_000)));
        for wrong in ["50", "ms", "-1ms", "50mbps", ""] {
            assert!(rate(wrong).is_err() && span(wrong).is_err() && size(wrong).is_err());
        }
    }
}
