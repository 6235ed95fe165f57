//! JSON as text, kept byte for byte.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::limits;

/// A JSON document that is kept byte for byte: `1e400`, `0.10`, repeated keys, key order and white space come back as
/// they were given.
///
/// Nested at most [`limits::JSON_DEPTH`] levels deep. Equality compares the text.
///
/// ```
/// let json = annals::Json::parse(r#"{"amount": 0.10}"#)?;
/// assert_eq!(json.as_str(), r#"{"amount": 0.10}"#);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// Checks a JSON text and keeps it as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the text is not one JSON value, [`Error::Limit`] where it is nested too deeply.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        serde_json::from_str::<IgnoredAny>(&text).map_err(|error| Error::invalid("json", error.to_string()))?;
        check_depth(&text)?;
        Ok(Self(text))
    }

    /// Serializes a value.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the value can't be serialized, [`Error::Limit`] where it is nested too deeply.
    pub fn from_value(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let text = serde_json::to_string(value).map_err(|error| Error::invalid("json", error.to_string()))?;
        check_depth(&text)?;
        Ok(Self(text.into()))
    }

    /// Wraps a text that was checked before: one that comes from the database.
    pub(crate) fn trusted(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Deserializes the document.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the document is not of the shape that `T` asks for.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|error| Error::invalid("json", error.to_string()))
    }

    /// Returns whether the document is a JSON object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.trim_start().starts_with('{')
    }
}

/// Counts the levels of a document that was found well formed.
fn check_depth(text: &str) -> Result<()> {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    if deepest > limits::JSON_DEPTH {
        return Err(Error::Limit {
            what: "levels of a json document",
            limit: limits::JSON_DEPTH as u64,
            actual: deepest as u64,
        });
    }
    Ok(())
}

/// Encodes bytes as a base64 JSON string; the alphabet needs no escapes.
pub(crate) fn encode_bytes(bytes: &[u8]) -> Json {
    use base64::Engine as _;
    Json::trusted(format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// Encodes the tags of an event as they are stored: a JSON array, or nothing where there are none.
pub(crate) fn tags(tags: &[String]) -> Option<String> {
    if tags.is_empty() { None } else { serde_json::to_string(tags).ok() }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    /// Serializes to JSON as the very text that is kept, to other formats as a string.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_float_cannot_hold_is_kept() {
        for text in ["1e400", "0.10", r#"{"a":1,"a":2}"#, r#""\ud800""#, r#"{"z":1,"a":" \\\" [["}"#, "null"] {
            assert_eq!(Json::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "nul", "[1,]", "{} {}", "\"\u{1}\"", "NaN"] {
            assert!(Json::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_is_limited_at_128_levels() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(Json::parse(nested(limits::JSON_DEPTH)).is_ok());
        assert!(matches!(
            Json::parse(nested(limits::JSON_DEPTH + 1)),
            Err(Error::Limit { limit: 128, actual: 129, .. })
        ));
    }
}
