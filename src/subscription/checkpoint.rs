//! Where a reader stands.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::position::Position;

/// The version of the text.
const FORMAT: u8 = 1;
/// Bytes of a mark in the text: a position and an id.
const MARK: usize = 8 + 16;

/// Where a reader of a topic stands: the topic's incarnation and, for each lane, the last position that was dealt with and
/// the id of the event there.
///
/// As text it is opaque, fits into a URL, and is 23 characters long plus 32 a lane. It belongs to one topic of one
/// database: a log that was restored from a backup, or made anew, is told from the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Checkpoint {
    pub(crate) incarnation: Uuid,
    /// In the order of the lanes' partitions.
    pub(crate) marks: Vec<Mark>,
}

/// Where a reader stands in a lane; position 0 is before the first event, which has no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub position: Position,
    pub event_id: Uuid,
}

impl Checkpoint {
    /// Returns the last position that was dealt with in each lane, in the order of their partitions; 0 for none.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        self.marks.iter().map(|mark| mark.position)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.incarnation.as_bytes());
        for mark in &self.marks {
            bytes.extend(mark.position.get().to_be_bytes());
            bytes.extend(mark.event_id.as_bytes());
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Checkpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid("checkpoint", "the text is not one that this store has given");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let (format, bytes) = bytes.split_first().ok_or_else(invalid)?;
        if *format != FORMAT {
            return Err(Error::invalid("checkpoint", format!("its format {format} is not known to this version")));
        }
        let (incarnation, marks) = bytes.split_first_chunk::<16>().ok_or_else(invalid)?;
        let (marks, rest) = marks.as_chunks::<MARK>();
        if marks.is_empty() || !rest.is_empty() {
            return Err(invalid());
        }
        let mark = |bytes: &[u8; MARK]| {
            let (position, id) = bytes.split_first_chunk::<8>()?;
            let event_id = Uuid::from_slice(id).ok()?;
            Some(Mark { position: Position::new(i64::from_be_bytes(*position)), event_id })
        };
        let marks = marks.iter().map(mark).collect::<Option<Vec<_>>>().ok_or_else(invalid)?;
        if marks.iter().any(|mark| mark.position < Position::ZERO) {
            return Err(invalid());
        }
        Ok(Self { incarnation: Uuid::from_bytes(*incarnation), marks })
    }
}

impl From<Checkpoint> for String {
    fn from(checkpoint: Checkpoint) -> Self {
        checkpoint.to_string()
    }
}

impl TryFrom<String> for Checkpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(lanes: i64) -> Checkpoint {
        let mark = |lane| Mark { position: Position::new(lane * 7), event_id: Uuid::new_v4() };
        Checkpoint { incarnation: Uuid::new_v4(), marks: (0..lanes).map(mark).collect() }
    }

    #[test]
    fn a_checkpoint_is_the_same_after_it_was_text() {
        for lanes in [1, 16, 1_024] {
            let checkpoint = checkpoint(lanes);
            assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
            let json = serde_json::to_string(&checkpoint).unwrap();
            assert_eq!(serde_json::from_str::<Checkpoint>(&json).unwrap(), checkpoint);
        }
        assert_eq!(checkpoint(1).to_string().len(), 55);
        assert_eq!(checkpoint(16).to_string().len(), 23 + 16 * 32);
    }

    #[test]
    fn text_that_is_no_checkpoint_is_refused() {
        let text = checkpoint(2).to_string();
        for wrong in ["", "1", "!", &text[1..], &text[..text.len() - 4], "AQ", &format!("{text}AAAA")] {
            assert!(matches!(wrong.parse::<Checkpoint>(), Err(Error::Invalid { what: "checkpoint", .. })), "{wrong:?}");
        }
    }
}
