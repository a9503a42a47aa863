//! Numbers and foreign text, for people.

use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::config::is_invisible;

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `980 B`, `1.2 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would round up to "1024.0"
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in the two units that matter: `3d 4h`, `5m 12s`, `3.2 s`, `85 ms`, `0.31 ms`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let millis = duration.as_secs_f64() * 1000.0;
    match seconds {
        0 if duration.is_zero() => "0 s".to_owned(),
        1..60 if duration.subsec_nanos() == 0 => format!("{seconds} s"),
        86_400.. => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
        3600.. => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        60.. => format!("{}m {}s", seconds / 60, seconds % 60),
        1.. => format!("{:.1} s", duration.as_secs_f64()),
        _ if millis >= 10.0 => format!("{millis:.0} ms"),
        _ => format!("{millis:.2} ms"),
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The day of a time, counted from the Unix epoch.
pub(super) fn day(time_us: u64) -> u64 {
    time_us / 86_400_000_000
}

/// `Mon, 23 Nov 2026`, of a day counted from the Unix epoch.
pub(super) fn date(day: u64) -> String {
    const LAST: u64 = 2_932_896; // of the year 9999; later ones have no such form
    let mut text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(day.min(LAST) * 86_400));
    text.truncate("Mon, 23 Nov 2026".len());
    text
}

/// `14:08:31.250Z`: UTC, as the standard library knows no other.
pub(super) fn clock(time_us: u64) -> String {
    let millis = time_us / 1000 % 86_400_000;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}Z", millis / 1000 % 60, millis % 1000)
}

/// Text from elsewhere, safe to show: nothing in it can steer the terminal or forge a line.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_invisible(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A line of JSON, safe to show and still the same JSON: what could mislead is written as JSON's escapes.
/// Tabs, which may stand between its values, stay.
pub(super) fn clean_json(text: &str) -> Cow<'_, str> {
    let misleads = |c: char| c != '\t' && is_invisible(c);
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match misleads(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bytes() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (41823, "41,823"), (1234567, "1,234,567")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "client", "clients"), "1 client");
        assert_eq!(counted(1200, "client", "clients"), "1,200 clients");
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (67_108_864, "64.0 MiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn durations() {
        for (micros, text) in [
            (0, "0 s"),
            (12_000_000, "12 s"),
            (310, "0.31 ms"),
            (23_400, "23 ms"),
            (3_200_000, "3.2 s"),
            (312_000_000, "5m 12s"),
            (7_500_000_000, "2h 5m"),
            (273_600_000_000, "3d 4h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn dates_and_clocks() {
        assert_eq!(date(0), "Thu, 01 Jan 1970");
        assert_eq!(date(20_780), "Mon, 23 Nov 2026");
        assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999");
        assert_eq!(day(1_795_392_000_000_000), 20_780);
        assert_eq!(clock(1_795_392_000_000_000 + 50_911_250_999), "14:08:31.250Z");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        for (text, safe) in [
            ("plain, Grüße", "plain, Grüße"),
            ("\u{1b}[31mred", r"\u{1b}[31mred"),
            ("two\nlines", r"two\nlines"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("a\u{202e}b", r"a\u{202e}b"),
            ("\u{61c}a\u{200b}b\u{200e}c\u{200f}", r"\u{61c}a\u{200b}b\u{200e}c\u{200f}"),
        ] {
            assert_eq!(clean(text), safe);
        }
        let json = "{\"a\":\t\"\u{9b}2J\u{200e}\u{e0001}é\"}";
        let safe = clean_json(json);
        assert_eq!(safe, "{\"a\":\t\"\\u009b2J\\u200e\\udb40\\udc01é\"}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(json));
    }
}
