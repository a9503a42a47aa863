//! Sizes as people write them: `"16MiB"`, `"64KiB"`, `"1MB"`.

use super::quantity::Quantity;

/// Each unit and its bytes. Those that [`format_size`] uses come first, the largest of them first.
const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a size in bytes: a number with one of the units `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of
/// 1024) and `kB`, `MB`, `GB`, `TB` (powers of 1000).
///
/// # Errors
///
/// What the text is instead, and what to write: the end of a sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let none = || "not a size: write a number and a unit, such as \"64KiB\" or \"16MiB\"".to_owned();
    let (number, unit) = Quantity::take(text.trim()).ok_or_else(none)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err("a number without a unit: write \"16MiB\", or the bytes without quotes".to_owned());
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("in the unknown unit {unit:?}: write B, KiB, MiB, GiB or TiB"));
    };
    let size = number.times(*bytes).ok_or("not a whole number of bytes: write fewer digits")?;
    u64::try_from(size).map_err(|_| none())
}

/// Writes a size so that [`parse_size`] reads the same one, in the largest unit that is exact: `16MiB`.
pub fn format_size(bytes: u64) -> String {
    let exact = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(exact) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good() {
        for (text, bytes, shown) in [
            ("16MiB", 16 << 20, "16MiB"),
            ("64KiB", 64 << 10, "64KiB"),
            ("1MB", 1_000_000, "1000000B"),
            ("1.5GiB", 3 << 29, "1536MiB"),
            ("1 kB", 1000, "1000B"),
            ("1KB", 1000, "1000B"),
            ("0B", 0, "0B"),
            ("1TiB", 1 << 40, "1TiB"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(format_size(bytes), shown);
        }
    }

    #[test]
    fn bad() {
        let none = "not a size: write a number and a unit, such as \"64KiB\" or \"16MiB\"";
        for (text, why) in [
            ("", none),
            ("MiB", none),
            ("-1MiB", none),
            ("99999999999TiB", none),
            ("16", "a number without a unit: write \"16MiB\", or the bytes without quotes"),
            ("16M", "in the unknown unit \"M\": write B, KiB, MiB, GiB or TiB"),
            ("16mib", "in the unknown unit \"mib\": write B, KiB, MiB, GiB or TiB"),
            ("1MiB2", "in the unknown unit \"MiB2\": write B, KiB, MiB, GiB or TiB"),
            ("0.5B", "not a whole number of bytes: write fewer digits"),
        ] {
            assert_eq!(parse_size(text), Err(why.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in 0_u64..1 << 50, shift in 0_u32..40) {
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9.KMGTiB ]{0,30}|.*") {
            let _ = parse_size(&text);
        }
    }
}
