//! Names: the ids and types of streams, events, commands, topics.

use crate::error::{Error, Result};
use crate::limits;

/// Checks that `text` can be the name of a `what`, and returns it.
///
/// A name has 1 to [`limits::NAME_BYTES`] bytes of UTF-8, no control characters, and no white space at either end.
/// Names are compared byte for byte: case, accents and normal forms make different names.
///
/// # Errors
/// [`Error::Invalid`] for an empty name, a control character or outer white space; [`Error::Limit`] for a longer name.
pub fn check(what: &'static str, text: impl Into<String>) -> Result<String> {
    let text = text.into();
    if text.is_empty() {
        return Err(Error::invalid(what, "it is empty; a name has 1 to 255 bytes"));
    }
    if text.len() > limits::NAME_BYTES {
        return Err(Error::Limit { what, limit: limits::NAME_BYTES as u64, actual: text.len() as u64 });
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(what, format!("{text:?} contains the control character {control:?}")));
    }
    if text.trim() != text {
        return Err(Error::invalid(what, format!("{text:?} begins or ends with white space")));
    }
    Ok(text)
}
