//! Texts that are shown as far as there is room for them.

/// A text's beginning, and how much of it isn't shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut<'t> {
    /// What is shown.
    pub text: &'t str,
    /// So many bytes follow.
    pub more: usize,
}

impl<'t> Cut<'t> {
    /// The first `max` bytes at most, of whole characters. A text that was cut before is one of that length.
    pub fn of(text: &'t str, max: usize) -> Self {
        let Cut { text, more } = Self::before(text);
        let end = text.floor_char_boundary(max);
        Cut { text: &text[..end], more: more + (text.len() - end) }
    }

    /// What to write behind it: nothing, or `… (+1,234 bytes)`.
    pub fn mark(&self) -> String {
        let digits = self.more.to_string();
        let mut number = String::new();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                number.push(',');
            }
            number.push(digit);
        }
        match self.more {
            0 => String::new(),
            1 => "… (+1 byte)".to_owned(),
            _ => format!("… (+{number} bytes)"),
        }
    }

    /// What a text says itself that was cut before.
    fn before(text: &'t str) -> Self {
        let whole = Cut { text, more: 0 };
        let Some((start, end)) = text.rsplit_once("… (+") else { return whole };
        let number = end.strip_suffix(" bytes)").or_else(|| end.strip_suffix(" byte)"));
        let is_number = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
        match number.filter(is_number).and_then(|number| number.replace(',', "").parse::<u32>().ok()) {
            Some(more) => Cut { text: start, more: more as usize },
            None => whole,
        }
    }
}

/// A text with no more than `max` bytes of it, and the rest marked as cut: `… (+1,234 bytes)`.
pub fn cut(text: &str, max: usize) -> String {
    let cut = Cut::of(text, max);
    format!("{}{}", cut.text, cut.mark())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_is_marked_and_counted() {
        for (length, max, shown) in [
            (3, 3, "xxx"),
            (4, 3, "xxx… (+1 byte)"),
            (14, 3, "xxx… (+11 bytes)"),
            (1_002, 3, "xxx… (+999 bytes)"),
            (1_237, 3, "xxx… (+1,234 bytes)"),
            (1_234_570, 3, "xxx… (+1,234,567 bytes)"),
            (0, 3, ""),
        ] {
            assert_eq!(cut(&"x".repeat(length), max), shown);
        }
        assert_eq!(cut("aéb", 2), "a… (+3 bytes)");
        for text in ["… (+)", "x… (+1,2x bytes)", "x… (+99999999999999999999 bytes)", "(+3 bytes)"] {
            assert_eq!(cut(text, 100), text);
        }
    }

    proptest! {
        #[test]
        fn cut_twice_it_is_one_cut(text in "\\PC{0,80}", first in 0..90_usize, second in 0..90_usize) {
            prop_assume!(!text.contains('…'));
            let twice = cut(&cut(&text, first), second);
            prop_assert_eq!(twice, cut(&text, first.min(second)));
        }
    }
}
