//! An enum of events as a name and data: serde's own form of an enum, taken apart and put together.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::value::RawValue;

/// The data of a variant without any: an object, so that fields can join it later.
const NO_DATA: &str = "{}";

/// Returns the names of an enum's variants, as serde knows them; `None` for what is no enum to serde, or is one in
/// another form than its own.
pub(super) fn names<E: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let mut found = None;
    // It always fails, once it was told the names.
    let _ = E::deserialize(Names(&mut found));
    found
}

/// Serializes a variant, and returns its name and its data.
pub(super) fn split<E: Serialize>(event: &E) -> serde_json::Result<(String, String)> {
    let text = serde_json::to_string(event)?;
    if text.starts_with('"') {
        return Ok((serde_json::from_str(&text)?, NO_DATA.to_owned()));
    }
    let mut entries: BTreeMap<String, &RawValue> = serde_json::from_str(&text)?;
    match (entries.pop_first(), entries.is_empty()) {
        (Some((name, data)), true) => Ok((name, data.get().to_owned())),
        _ => Err(serde::de::Error::custom("it is not a variant of an enum in serde's own form")),
    }
}

/// Deserializes the variant of a name from its data.
pub(super) fn join<E: DeserializeOwned>(name: &str, data: &str) -> serde_json::Result<E> {
    E::deserialize(Variant { name, data })
}

/// A deserializer that only listens to which variants are asked for.
struct Names<'a>(&'a mut Option<&'static [&'static str]>);

/// What ends the listening.
#[derive(Debug)]
struct Listened;

impl fmt::Display for Listened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only names are asked for")
    }
}

impl std::error::Error for Listened {}

impl serde::de::Error for Listened {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Listened;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Listened> {
        Err(Listened)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Listened> {
        *self.0 = Some(variants);
        Err(Listened)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant that is given as a name and a JSON text.
#[derive(Clone, Copy)]
struct Variant<'de> {
    name: &'de str,
    data: &'de str,
}

impl<'de> Variant<'de> {
    fn read<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'de>>) -> serde_json::Result<T>,
    ) -> serde_json::Result<T> {
        let mut json = serde_json::Deserializer::from_str(self.data);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for Variant<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Self::Error> {
        let name: StrDeserializer<'_, Self::Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = serde_json::Error;

    /// Whatever the data holds, nobody asks for it.
    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Self::Error> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.read(|json| json.deserialize_struct("", fields, visitor))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        Closed,
        Renamed(String),
        Moved(i32, i32),
        #[serde(rename = "account.opened")]
        Opened {
            owner: String,
            #[serde(default)]
            limit: Option<u32>,
        },
        #[serde(skip)]
        Other(u8),
    }

    fn opened() -> Event {
        Event::Opened { owner: "ada".to_owned(), limit: None }
    }

    #[test]
    fn every_kind_of_variant_comes_back() {
        for (event, name, data) in [
            (Event::Closed, "Closed", "{}"),
            (Event::Renamed("x".to_owned()), "Renamed", r#""x""#),
            (Event::Moved(1, -2), "Moved", "[1,-2]"),
            (opened(), "account.opened", r#"{"owner":"ada","limit":null}"#),
        ] {
            assert_eq!(split(&event).unwrap(), (name.to_owned(), data.to_owned()));
            assert_eq!(join::<Event>(name, data).unwrap(), event);
        }
    }

    #[test]
    fn names_are_those_that_serde_knows() {
        assert_eq!(names::<Event>(), Some(&["Closed", "Renamed", "Moved", "account.opened"][..]));
        assert_eq!(names::<String>(), None);
    }

    #[test]
    fn what_is_never_stored_is_an_error() {
        assert!(split(&Event::Other(1)).is_err());
    }

    #[test]
    fn data_of_another_shape_is_an_error() {
        for (name, data) in [
            ("Unheard", "{}"),
            ("Renamed", "{}"),
            ("Renamed", r#""x" "y""#),
            ("Moved", "[1]"),
            ("account.opened", "{}"),
        ] {
            assert!(join::<Event>(name, data).is_err(), "{name} of {data}");
        }
        assert_eq!(join::<Event>("account.opened", r#"{"owner":"ada","new":1}"#).unwrap(), opened());
        assert_eq!(join::<Event>("Closed", r#"{"why":"moved"}"#).unwrap(), Event::Closed);
    }

    #[test]
    fn what_is_no_variant_cannot_be_split() {
        assert!(split(&1).is_err());
        assert!(split(&Event::Other(1)).is_err());
        assert!(split(&BTreeMap::from([("a", 1), ("b", 2)])).is_err());
    }
}
