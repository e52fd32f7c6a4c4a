//! The first record of a file.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use tquic_core::trace::Subject;

use super::{Form, SEPARATOR};
use crate::json::Object;

/// Writes it. Times of all records count from the connection's beginning, which was about `now`.
pub(super) fn write(out: &mut Vec<u8>, form: Form, subject: &Subject, now: SystemTime) {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let odcid = subject.original_dcid.to_string();
    let side = if subject.side.is_client() { "client" } else { "server" };
    out.push(SEPARATOR);
    Object::write(out, |file| {
        match form {
            Form::New => {
                file.word("file_schema", "urn:ietf:params:qlog:file:sequential");
                file.word("serialization_format", "application/qlog+json-seq");
            }
            Form::Old => {
                file.word("qlog_version", "0.3");
                file.word("qlog_format", "JSON-SEQ");
            }
        }
        file.text("title", &format!("tquic {side} {odcid}"));
        file.object("trace", |trace| {
            trace.object("vantage_point", |point| {
                point.word("name", "tquic");
                point.text("type", side);
            });
            trace.object("common_fields", |common| match form {
                Form::New => {
                    common.text("group_id", &odcid);
                    common.word("time_format", "relative_to_epoch");
                    common.object("reference_time", |reference| {
                        reference.word("clock_type", "monotonic");
                        reference.word("epoch", "unknown");
                        reference.text("wall_clock_time", &date(since_1970));
                    });
                }
                Form::Old => {
                    common.text("ODCID", &odcid);
                    common.text("group_id", &odcid);
                    common.word("time_format", "relative");
                    let nanos = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
                    common.millis("reference_time", nanos);
                }
            });
            if form == Form::New {
                // quic-events-13 and main-schema-14: drafts are named with their number.
                let schemas = [
                    "urn:ietf:params:qlog:events:quic-13",
                    "urn:ietf:params:qlog:events:loglevel-14",
                    // Of our own: which path the scheduler chose, and why.
                    "urn:x-tquic:qlog:events",
                ];
                trace.list("event_schemas", schemas, crate::json::text);
            }
        });
    });
    out.push(b'\n');
}

/// RFC 3339, UTC, with milliseconds.
fn date(since_1970: Duration) -> String {
    let (days, seconds) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    let millis = since_1970.subsec_millis();
    // Writing into a string does not fail.
    let _ =
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
    out
}

/// The date of a day, counted from 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    loop {
        let length = 365 + u64::from(leap(year));
        if left < length {
            break;
        }
        (year, left) = (year + 1, left - length);
    }
    let february = 28 + u64::from(leap(year));
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if left < length {
            return (year, month, left + 1);
        }
        left -= length;
    }
    (year + 1, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000, "2023-11-14T22:13:20.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), text);
        }
        assert_eq!(date(Duration::from_millis(1_001)), "1970-01-01T00:00:01.001Z");
    }
}
