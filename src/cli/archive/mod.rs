//! What an export holds beside its events: the header, rows of other tables, and the manifest, which says what there is.

mod manifest;
mod row;

use std::io::{self, Read};

use chrono::{DateTime, Utc};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::line::{Line, Members};
use crate::error::{Error, Result};
use crate::position::Position;
use crate::read::Query;
pub(crate) use manifest::{Manifest, Tally};
pub(crate) use row::{Row, RowLine};

/// The version of the shape that is written, and read.
const VERSION: u64 = 1;

/// The first bytes of what zstd has compressed.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The types that lines beside the events have as `CloudEvents`.
pub(crate) const HEADER_TYPE: &str = "annals.export.v1";
pub(crate) const ROW_TYPE: &str = "annals.row.v1";
pub(crate) const MANIFEST_TYPE: &str = "annals.manifest.v1";

/// The first line: what the log is, and how much of it follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    annals_export: u64,
    pub topic: String,
    pub incarnation: Uuid,
    pub partitions: u16,
    /// Which events were asked for; none for the whole log, with all that is beside it.
    pub selection: Option<Selection>,
}

/// Which events of a log are exported. All of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Selection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// What a line says.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Header(Header),
    Event(Box<Line<'a>>),
    Row(Row),
    Manifest(Manifest),
}

/// The members that tell what a line is.
#[derive(Debug, Default, Deserialize)]
struct Probe {
    annals_export: Option<IgnoredAny>,
    annals_manifest: Option<IgnoredAny>,
    row: Option<IgnoredAny>,
    specversion: Option<IgnoredAny>,
}

impl Header {
    pub(crate) const fn new(topic: String, incarnation: Uuid, partitions: u16, selection: Option<Selection>) -> Self {
        Self { annals_export: VERSION, topic, incarnation, partitions, selection }
    }

    /// Reads a line, if it is a header.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is a header of a version that is not known, or a malformed one.
    pub(crate) fn of_line(text: &str) -> Result<Option<Self>> {
        let is_header = |probe: &Probe| probe.annals_export.is_some();
        let found = match Probe::of(text) {
            probe if is_header(&probe) => Some(Self::parse(text)?),
            probe if probe.specversion.is_some() => match Record::of_cloud_event(text, "") {
                Ok(Record::Header(header)) => Some(header),
                // A header of another version is not to be taken for an event.
                Err(error @ Error::Invalid { what: "annals_export", .. }) => return Err(error),
                _ => None,
            },
            _ => None,
        };
        Ok(found)
    }

    fn parse(text: &str) -> Result<Self> {
        check_version(text, "annals_export")?;
        let header: Self =
            serde_json::from_str(text).map_err(|error| Error::invalid("annals_export", error.to_string()))?;
        if header.partitions == 0 {
            return Err(Error::invalid("partitions", "the export has none"));
        }
        Ok(header)
    }
}

impl Selection {
    /// Returns the question to the log.
    pub(crate) fn query(&self) -> Result<Query> {
        let query = self.stream.as_deref().map_or_else(Query::new, Query::stream);
        let mut query = query.event_types(&self.types)?.between(self.since, self.until).include_deleted();
        if let Some(aggregate_type) = &self.aggregate_type {
            query = query.aggregate_type(aggregate_type)?;
        }
        query.after = self.after;
        Ok(query)
    }
}

impl<'a> Record<'a> {
    /// Reads a line. An event of somebody else's belongs to a stream of the given category.
    pub(crate) fn parse(text: &'a str, aggregate_type: &str) -> Result<Self> {
        let probe = Probe::of(text);
        if probe.specversion.is_some() {
            return Self::of_cloud_event(text, aggregate_type);
        }
        match Self::beside(text, &probe)? {
            Some(record) => Ok(record),
            None => Ok(Self::Event(Box::new(Line::parse(text)?))),
        }
    }

    fn beside(text: &str, probe: &Probe) -> Result<Option<Self>> {
        Ok(match probe {
            Probe { annals_export: Some(_), .. } => Some(Self::Header(Header::parse(text)?)),
            Probe { annals_manifest: Some(_), .. } => Some(Self::Manifest(Manifest::parse(text)?)),
            Probe { row: Some(_), .. } => Some(Self::Row(Row::parse(text)?)),
            _ => None,
        })
    }

    fn of_cloud_event(text: &'a str, aggregate_type: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            kind: Option<String>,
            aggregatetype: Option<IgnoredAny>,
        }
        let mut members = Members::parse(text)?;
        let kind = serde_json::from_str(text).ok().filter(|kind: &Kind| kind.aggregatetype.is_none());
        let kind = kind.and_then(|kind| kind.kind).unwrap_or_default();
        if ![HEADER_TYPE, ROW_TYPE, MANIFEST_TYPE].contains(&kind.as_str()) {
            return Ok(Self::Event(Box::new(Line::cloud_event(members, aggregate_type)?)));
        }
        let wrong = || Error::invalid("data", format!("it is not what an event of type {kind} holds"));
        let data = members.take("data").ok_or_else(wrong)?.get();
        Self::beside(data, &Probe::of(data))?.ok_or_else(wrong)
    }
}

impl Probe {
    fn of(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// Refuses a shape that a later version of this program has written.
fn check_version(text: &str, field: &'static str) -> Result<()> {
    let version: Option<u64> = Members::parse(text)?.read(field)?;
    if version == Some(VERSION) {
        return Ok(());
    }
    let version = version.unwrap_or_default();
    let reason = format!("the export has version {version}, and this program reads version {VERSION}: use a later one");
    Err(Error::invalid(field, reason))
}

/// Takes the compression off, where the first bytes say that there is one.
pub(crate) fn decompressed(mut source: impl Read + Send + 'static) -> io::Result<(Box<dyn Read + Send>, bool)> {
    let mut start = Vec::new();
    source.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let is_compressed = start == ZSTD;
    let source = io::Cursor::new(start).chain(source);
    if !is_compressed {
        return Ok((Box::new(source), false));
    }
    Ok((Box::new(Decompressed(zstd::Decoder::new(source)?)), true))
}

/// Says what is wrong with compressed bytes.
struct Decompressed<R>(R);

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the zstd data end early: the file was cut off".to_owned(),
                _ => format!("the zstd data can't be read: {error}"),
            };
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }
}
