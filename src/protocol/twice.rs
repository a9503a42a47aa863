//! Whether JSON says something twice. Pure.

use std::{collections::HashSet, fmt};

use serde::de::{self, Deserialize, Deserializer, Error as _};

/// Whether a message is JSON in which an object has a key twice. Of two values one reader takes the first and another the
/// last: who may send one of them only could say both.
pub(crate) fn says_twice(message: &[u8]) -> bool {
    serde_json::from_slice::<Once>(message).is_err_and(|error| error.is_data())
}

/// JSON in which each object has each key once.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> de::Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        while items.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Once, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, Once)) = entries.next_entry::<String, Once>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Once)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #[test]
        fn what_says_nothing_twice_is_read_alike(keys in prop::collection::vec("[ab]{1,2}", 0..5)) {
            let text = format!("{{{}}}", keys.iter().map(|key| format!("{key:?}:[]")).collect::<Vec<_>>().join(","));
            let unique = serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().len();
            prop_assert_eq!(says_twice(text.as_bytes()), unique != keys.len());
        }
    }
}
