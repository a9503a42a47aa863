//! Characters that show nothing themselves, but change what is shown.

/// Whether a character can steer a terminal, forge a line or hide in one: a control character (Unicode's
/// general category Cc), a format character (Cf: marks of direction, joiners, tags), or a separator of lines or
/// paragraphs (Zl, Zp).
///
/// From `DerivedGeneralCategory.txt` of Unicode 16.0. What is unassigned between the invisible operators and
/// the isolates, and among the tags, counts with them, since it is to be ignored where it is unknown.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_known() {
        for c in
            "\0\t\n\u{1b}\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\
                  \u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{feff}\u{fffb}\u{e0001}\u{e007f}"
                .chars()
        {
            assert!(is_invisible(c), "{c:?}");
        }
        for c in " aé~\u{a0}请心\u{301}\u{2027}\u{202f}\u{205f}\u{2070}\u{fffd}🙂\u{fe0f}\u{e0100}".chars()
        {
            assert!(!is_invisible(c), "{c:?}");
        }
    }
}
