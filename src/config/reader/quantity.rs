//! Decimal numbers in front of a unit, read without rounding.

/// A decimal number: `digits` / 10^`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Quantity {
    digits: u64,
    places: u32,
}

/// More digits than any duration or size needs; with these, nothing below can overflow.
const MAX_DIGITS: usize = 18;

impl Quantity {
    /// Reads the number at the start of `text`, and gives what follows it.
    pub(in crate::config) fn take(text: &str) -> Option<(Self, &str)> {
        let (whole, rest) = split_digits(text);
        let (fraction, rest) = match rest.strip_prefix('.').map(split_digits) {
            Some(("", _)) => return None,
            Some(split) => split,
            None => ("", rest),
        };
        if whole.is_empty() || whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((Self { digits, places: u32::try_from(fraction.len()).ok()? }, rest))
    }

    /// The number times `unit`, if that is a whole number.
    pub(in crate::config) fn times(self, unit: u64) -> Option<u128> {
        let product = u128::from(self.digits) * u128::from(unit);
        let divisor = 10_u128.pow(self.places);
        product.is_multiple_of(divisor).then_some(product / divisor)
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn numbers_are_exact() {
        let times = |text: &str, unit| Quantity::take(text).and_then(|(n, _)| n.times(unit));
        assert_eq!(times("0", 7), Some(0));
        assert_eq!(times("1.5", 1000), Some(1500));
        assert_eq!(times("1.50", 1000), Some(1500));
        assert_eq!(times("0.0001", 1000), None);
        assert_eq!(
            times("999999999999999999", u64::MAX),
            Some(999_999_999_999_999_999 * u128::from(u64::MAX))
        );
        for bad in ["", "x", ".5", "1.", "1.x", "-1", "+1", "1234567890123456789"] {
            assert_eq!(Quantity::take(bad), None, "{bad}");
        }
        assert_eq!(Quantity::take("12.5ms").unwrap().1, "ms");
    }
}
