//! Durations as people write them: `"30s"`, `"500ms"`, `"1m30s"`.

use std::time::Duration;

use super::quantity::Quantity;

/// Each unit and its nanoseconds, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// Reads a duration: numbers with the units `d`, `h`, `m`, `s` and `ms`, larger units first; 0 needs none.
///
/// # Errors
///
/// What the text is instead, and what to write: the end of a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let none = || "not a duration: write a number and a unit, such as \"30s\" or \"1m30s\"".to_owned();
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos = 0_u128;
    let mut units = &UNITS[..];
    if rest.is_empty() {
        return Err(none());
    }
    while !rest.is_empty() {
        let (number, after) = Quantity::take(rest).ok_or_else(none)?;
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            let text = text.trim();
            return Err(format!("a number without a unit: write \"{text}s\" if it is seconds"));
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(format!("in the unknown unit `{unit}`: the units are d, h, m, s and ms"));
        }
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            return Err("out of order: write each unit once, the larger ones first".to_owned());
        };
        nanos += number.times(units[at].1).ok_or("finer than a nanosecond: write fewer digits")?;
        units = &units[at + 1..];
        rest = after.trim_start();
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| none())?;
    let below = u32::try_from(nanos % 1_000_000_000).map_err(|_| none())?;
    Ok(Duration::new(seconds, below))
}

/// Writes a duration so that [`parse_duration`] reads the same one: `1m30s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let mut left = duration.as_nanos();
    let mut text = String::new();
    for (name, unit) in UNITS {
        let unit = u128::from(unit);
        let whole = left / unit;
        left %= unit;
        if name == "ms" && left > 0 {
            // Only the smallest unit carries a fraction.
            let fraction = format!("{left:06}");
            text.push_str(&format!("{whole}.{}ms", fraction.trim_end_matches('0')));
        } else if whole > 0 {
            text.push_str(&format!("{whole}{name}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good() {
        for (text, millis, shown) in [
            ("30s", 30_000, "30s"),
            ("500ms", 500, "500ms"),
            ("1.5s", 1500, "1s500ms"),
            ("2m", 120_000, "2m"),
            ("1h", 3_600_000, "1h"),
            ("1m30s", 90_000, "1m30s"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("90 s", 90_000, "1m30s"),
            ("0s", 0, "0s"),
            ("0ms", 0, "0s"),
            ("0", 0, "0s"),
            ("1.5d", 129_600_000, "1d12h"),
            ("48h", 172_800_000, "2d"),
            (" 1s ", 1000, "1s"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
            assert_eq!(format_duration(duration), shown);
        }
        assert_eq!(parse_duration("0.25ms"), Ok(Duration::from_micros(250)));
        assert_eq!(format_duration(Duration::from_nanos(1)), "0.000001ms");
    }

    #[test]
    fn bad() {
        let none = "not a duration: write a number and a unit, such as \"30s\" or \"1m30s\"";
        let order = "out of order: write each unit once, the larger ones first";
        for (text, why) in [
            ("", none),
            (" ", none),
            ("abc", none),
            ("s", none),
            ("-1s", none),
            ("+1s", none),
            ("1.s", none),
            (".5s", none),
            ("1e3s", "in the unknown unit `e`: the units are d, h, m, s and ms"),
            ("9999999999999999999s", none),
            ("30", "a number without a unit: write \"30s\" if it is seconds"),
            ("5", "a number without a unit: write \"5s\" if it is seconds"),
            ("1m30", "a number without a unit: write \"1m30s\" if it is seconds"),
            ("30sec", "in the unknown unit `sec`: the units are d, h, m, s and ms"),
            ("30S", "in the unknown unit `S`: the units are d, h, m, s and ms"),
            ("1s1m", order),
            ("1s1s", order),
            ("0.0000001ms", "finer than a nanosecond: write fewer digits"),
        ] {
            assert_eq!(parse_duration(text), Err(why.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            seconds in 0_u64..1_000_000_000_000, nanos in 0_u32..1_000_000_000, coarse: bool,
        ) {
            let nanos = if coarse { nanos / 1_000_000 * 1_000_000 } else { nanos };
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.dhms ]{0,40}|.*") {
            let _ = parse_duration(&text);
        }
    }
}
