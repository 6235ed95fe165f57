//! Standard output, buffered: lines of text and of JSON.

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use super::Failure;

/// Standard output. Every write can fail: with [`super::Exit::Done`], where nobody reads on.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    /// Prints a line of text.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        self.line(json_line(value)?)
    }

    /// Hands what was printed to the system.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Returns a number with what it counts, in the plural where it is not one.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Returns a value as one line of JSON.
pub(crate) fn json_line(value: &(impl Serialize + ?Sized)) -> Result<String, Failure> {
    Ok(one_line(serde_json::to_string(value).map_err(io::Error::from)?))
}

/// Returns JSON as one line. In a document that is kept byte for byte, line breaks can stand only between tokens, where a
/// space means the same.
pub(crate) fn one_line(json: String) -> String {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
}
