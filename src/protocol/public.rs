//! What was captured of the server's messages and is public.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The values of public captures that there are, by their names, each as the server wrote it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct PublicValues(pub BTreeMap<String, Box<RawValue>>);

impl PublicValues {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for PublicValues {
    fn eq(&self, other: &PublicValues) -> bool {
        let texts = |values: &PublicValues| {
            values.0.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect::<Vec<_>>()
        };
        texts(self) == texts(other)
    }
}

/// The line that tells what public captures have for values now: all of them. Those that it lacks have none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Public {
    /// Its place in the log; none where they are said again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When the newest was captured, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The values.
    pub public: PublicValues,
}
