//! The members of a JSON object, each value as it stands there.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// The members of a JSON object, which are taken out one by one.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Takes an object apart. A name that stands twice is refused.
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| invalid("json", &error))
    }

    /// Returns whether a member is there, and a text.
    pub(crate) fn has_text(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.get().starts_with('"'))
    }

    /// Takes out a value, which may be null.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(index).1)
    }

    /// Takes out a value of a type; none where it is absent, or null.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| invalid(name, &error))
    }

    /// Returns what was not taken out, sorted by name.
    pub(crate) fn rest(mut self) -> Vec<(String, &'a RawValue)> {
        self.0.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        self.0
    }
}

/// Says what is wrong with a JSON text of one line, of which only the column helps.
pub(super) fn invalid(what: &'static str, error: &serde_json::Error) -> Error {
    Error::invalid(what, error.to_string().replace(" at line 1 column", " at column"))
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a json object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
