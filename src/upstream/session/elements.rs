//! The elements of a list of JSON, one after the other, each where it lies in the text. Pure.

use std::{fmt, ops::ControlFlow};

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::ANY;

/// Shows `visit` each element of a list, as it stands there and without the blanks around it, until it breaks. Of an
/// object it is shown the member [`ANY`], which the pointer means there; of anything else nothing.
///
/// # Errors
/// The text isn't JSON. Up to there elements were shown. It isn't known of what comes after a break.
pub(in crate::upstream) fn each<'m>(
    json: &'m str,
    visit: impl FnMut(&'m str) -> ControlFlow<()>,
) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let mut is_broken = false;
    match parser.deserialize_any(Each { visit, is_broken: &mut is_broken }) {
        Ok(()) if is_broken => Ok(()),
        Ok(()) => parser.end(),
        Err(_) if is_broken => Ok(()), // the rest of the list wasn't looked at
        Err(error) => Err(error),
    }
}

struct Each<'b, F> {
    visit: F,
    is_broken: &'b mut bool,
}

impl<'m, F: FnMut(&'m str) -> ControlFlow<()>> Visitor<'m> for Each<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_seq<S: SeqAccess<'m>>(mut self, mut list: S) -> Result<(), S::Error> {
        while let Some(element) = list.next_element::<&'m RawValue>()? {
            if (self.visit)(element.get()).is_break() {
                *self.is_broken = true;
                break;
            }
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'m>>(mut self, mut map: M) -> Result<(), M::Error> {
        let mut member = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'m, str>>()? {
            match key == ANY {
                // of a key that is there twice the last one counts
                true => member = Some(map.next_value::<&'m RawValue>()?),
                false => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        *self.is_broken = member.is_some_and(|member| (self.visit)(member.get()).is_break());
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(json: &str) -> Option<Vec<&str>> {
        let mut all = Vec::new();
        let whole = each(json, |element| {
            all.push(element);
            ControlFlow::Continue(())
        });
        whole.ok().map(|()| all)
    }

    #[test]
    fn elements_are_as_they_stand() {
        for (json, elements) in [
            ("[]", Some(&[][..])),
            (
                r#" [ 1.50 ,"\u0061,]" ,[ ] , {"a" : 1}, null ] "#,
                Some(&["1.50", r#""\u0061,]""#, "[ ]", r#"{"a" : 1}"#, "null"]),
            ),
            ("[12345678901234567890123]", Some(&["12345678901234567890123"])),
            (r#"{"a":[1],"*":[2],"\u002a":[3]}"#, Some(&["[3]"])),
            (r#"{"a":[1]}"#, Some(&[])),
            ("1", Some(&[])),
            ("[1,]", None),
            ("[1] 2", None),
            ("[1", None),
            ("", None),
        ] {
            assert_eq!(all(json).as_deref(), elements, "{json}");
        }
    }

    #[test]
    fn nothing_is_looked_at_after_a_break() {
        let mut seen = Vec::new();
        let whole = each("[1,2,what is no JSON", |element| {
            seen.push(element);
            if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(whole.is_ok());
        assert_eq!(seen, ["1", "2"]);
    }
}
