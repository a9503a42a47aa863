//! Names that stand on lines for one of several things.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of several things that have names on lines.
pub trait Named: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;
}

/// A name on a line: one of those that are known here, or one of a newer version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name<'a, T> {
    /// What it stands for.
    Known(T),
    /// The name; empty where there is none.
    Other(Cow<'a, str>),
}

impl<T: Named> Name<'_, T> {
    /// The name itself.
    pub fn name(&self) -> &str {
        match self {
            Name::Known(known) => known.name(),
            Name::Other(name) => name,
        }
    }

    /// What it stands for, if that is known here.
    pub fn known(&self) -> Option<T> {
        match self {
            Name::Known(known) => Some(*known),
            Name::Other(_) => None,
        }
    }
}

impl<T> Default for Name<'_, T> {
    fn default() -> Self {
        Name::Other(Cow::Borrowed(""))
    }
}

impl<T> From<T> for Name<'_, T> {
    fn from(known: T) -> Self {
        Name::Known(known)
    }
}

impl<T: PartialEq> PartialEq<T> for Name<'_, T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Name::Known(known) if known == other)
    }
}

impl<T: Named> Serialize for Name<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de, T: Named> Deserialize<'de> for Name<'_, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = T::ALL.iter().find(|known| known.name() == name);
        Ok(known.map_or(Name::Other(name.into()), |known| Name::Known(*known)))
    }
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Name<'_, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let known = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [known, { "type": "string" }] })
    }
}

/// Makes an enum of things with names.
macro_rules! names {
    ($(#[$about:meta])* pub enum $Enum:ident { $($(#[$of:meta])* $Variant:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum $Enum {
            $($(#[$of])* #[cfg_attr(test, schemars(rename = $name))] $Variant,)*
        }

        impl $Enum {
            /// Its name on lines and in logs.
            pub fn name(self) -> &'static str {
                match self {
                    $($Enum::$Variant => $name,)*
                }
            }
        }

        impl $crate::protocol::Named for $Enum {
            const ALL: &'static [$Enum] = &[$($Enum::$Variant),*];

            fn name(self) -> &'static str {
                $Enum::name(self)
            }
        }
    };
}
pub(super) use names;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LinkState;

    #[test]
    fn a_newer_name_is_kept() {
        let read = |text| serde_json::from_str::<Name<'_, LinkState>>(text).unwrap();
        assert_eq!(read("\"up\""), LinkState::Up);
        assert_eq!((read("\"later\"").name(), read("\"later\"").known()), ("later", None));
        for name in ["\"up\"", "\"later\""] {
            assert_eq!(serde_json::to_string(&read(name)).unwrap(), name);
        }
    }
}
