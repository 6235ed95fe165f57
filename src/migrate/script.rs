//! One migration as text, and the fingerprint by which a changed one is noticed.

use std::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use crate::hash::hex;
use crate::schema;

/// The numbers of the event store's own migrations, those of later releases included. Every other number belongs to
/// the application.
pub const RESERVED: RangeInclusive<i32> = schema::FIRST_VERSION..=99;

/// What a file says at its top to run outside a transaction.
const NO_TRANSACTION: &str = "-- annals: no-transaction";

/// Whose migration a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The event store's.
    Store,
    /// The application's, from a directory.
    Application,
}

impl Owner {
    /// Returns whose a number is.
    #[must_use]
    pub fn of(version: i32) -> Self {
        if RESERVED.contains(&version) { Self::Store } else { Self::Application }
    }
}

/// One migration: the statements that make a step, and those that undo it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The number, by which migrations are ordered.
    pub version: i32,
    /// The name, as in the names of the files.
    pub name: String,
    /// The statements that make the step; on SQL Server in batches that lines of `GO` end.
    pub up: String,
    /// The statements that undo it, where it can be undone.
    pub down: Option<String>,
}

impl Script {
    /// Returns number and name as one word, such as `008_create_event_store`.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.version, &self.name)
    }

    /// Returns the SHA-256 of the statements up in hexadecimal digits. Line ends make no difference.
    #[must_use]
    pub fn checksum(&self) -> String {
        hex(&digest(&normalized(&self.up)))
    }
}

impl From<schema::Migration> for Script {
    fn from(migration: schema::Migration) -> Self {
        Self {
            version: migration.version,
            name: migration.name.to_owned(),
            up: migration.up,
            down: Some(migration.down),
        }
    }
}

/// Returns number and name as one word.
pub(super) fn label(version: i32, name: &str) -> String {
    format!("{version:03}_{name}")
}

/// Returns the SHA-256 of a text.
pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Returns the text with every line end made a line feed.
pub(super) fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Returns whether the statements run in a transaction: unless a comment at their top declines it.
pub(super) fn is_transactional(text: &str) -> bool {
    let mut top = text.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("--"));
    !top.any(|line| line == NO_TRANSACTION)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn script(up: &str) -> Script {
        Script { version: 8, name: "x".into(), up: up.into(), down: None }
    }

    #[rstest]
    #[case::windows("a\r\nb\r\n")]
    #[case::old_mac("a\rb\r")]
    fn line_ends_do_not_change_the_checksum(#[case] up: &str) {
        assert_eq!(script(up).checksum(), script("a\nb\n").checksum());
    }

    #[test]
    fn any_other_change_changes_the_checksum() {
        assert_ne!(script("a\nb\n").checksum(), script("a\nb").checksum());
        assert_ne!(script("a\nb\n").checksum(), script("a \nb\n").checksum());
    }

    #[rstest]
    #[case::nothing_said("CREATE TABLE x (a int);", true)]
    #[case::first_line("-- annals: no-transaction\nVACUUM;", false)]
    #[case::after_other_comments("-- Why this is so.\r\n\r\n  -- annals: no-transaction  \r\nVACUUM;", false)]
    #[case::below_a_statement("SELECT 1;\n-- annals: no-transaction\n", true)]
    #[case::part_of_a_sentence("-- annals: no-transaction would be wrong here\nSELECT 1;", true)]
    fn a_file_declines_the_transaction_at_its_top(#[case] text: &str, #[case] transactional: bool) {
        assert_eq!(is_transactional(text), transactional);
    }
}
