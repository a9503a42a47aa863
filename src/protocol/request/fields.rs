//! The fields of a client's line, as they stand there.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{MAX_ID, MAX_UNIT, Since};

/// A payload, as it stands in a unit.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Payload<'a> {
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) json: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<Cow<'a, str>>,
}

impl Payload<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.json.is_none() && self.text.is_none() && self.binary.is_none()
    }
}

/// The fields of a request, as they stand on the line.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct Fields<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) op: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) json: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) binary: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "messages", skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Vec<Cow<'a, RawValue>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) topics: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "since", skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Since<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) takeover: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) answers: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) snapshot: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) expand: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout_ms: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<&'a RawValue>,
}

/// A field that is there, whatever it holds: `null` is a payload like any other.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The messages of a unit, as they came. What is more than may be is passed over, but for one that shows it.
fn messages<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Cow<'a, RawValue>>>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<Cow<'de, RawValue>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of messages")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut messages = Vec::new();
            while messages.len() <= MAX_UNIT {
                let Some(message) = seq.next_element::<&RawValue>()? else { return Ok(messages) };
                messages.push(Cow::Borrowed(message));
            }
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(messages)
        }
    }
    deserializer.deserialize_seq(Visitor).map(Some)
}

/// `since`, as the object that it is: serde would take an array for its fields in their order.
fn since<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Since<'a>>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Option<Since<'de>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object with `epoch` and `seq`")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Since::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// The op of a line whose other fields are wrong.
pub(super) fn op_of(line: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct OpOnly<'a> {
        #[serde(borrow)]
        op: Option<Cow<'a, str>>,
    }
    serde_json::from_slice::<OpOnly<'_>>(line).ok()?.op
}

/// The id of a line whose other fields are wrong.
pub(super) fn id_of(line: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Id<'_>>(line).ok()?.id.filter(|id| id.get().len() <= MAX_ID)
}
