//! The lines of an export.

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::archive::{HEADER_TYPE, Header, MANIFEST_TYPE, Manifest, ROW_TYPE, RowLine};
use crate::cli::output::{json_line, one_line};
use crate::event::{Payload, RecordedEvent};
use crate::json::Json;
use crate::relay::cloud_event;

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Shape {
    /// Objects with the contract's field names.
    #[default]
    Json,
    /// CloudEvents 1.0 in the JSON format, one a line.
    #[value(name = "cloudevents")]
    CloudEvents,
}

/// Writes lines of a shape.
pub(super) enum Format {
    Json,
    CloudEvents(Box<cloud_event::Format>),
}

impl Format {
    pub(super) fn new(shape: Shape, header: &Header) -> Self {
        match shape {
            Shape::Json => Self::Json,
            Shape::CloudEvents => {
                let format = cloud_event::Format::whole(header.topic.clone(), header.partitions > 1);
                Self::CloudEvents(Box::new(format))
            }
        }
    }

    pub(super) fn header(&self, header: &Header) -> Result<String, Failure> {
        self.beside(HEADER_TYPE, "header", header)
    }

    /// Writes an event, whose lane is its partition.
    pub(super) fn event(&self, event: &RecordedEvent) -> Result<String, Failure> {
        match self {
            Self::Json => json_line(&Exported { exact: Exact::of(event), event }),
            Self::CloudEvents(format) => Ok(one_line(format.json(event)?)),
        }
    }

    /// Writes a row, of which so many stand before it.
    pub(super) fn row(&self, row: &RowLine<'_>, before: u64) -> Result<String, Failure> {
        self.beside(ROW_TYPE, &format!("row-{}", before + 1), row)
    }

    pub(super) fn manifest(&self, manifest: &Manifest) -> Result<String, Failure> {
        self.beside(MANIFEST_TYPE, "manifest", manifest)
    }

    fn beside(&self, kind: &str, id: &str, data: &impl Serialize) -> Result<String, Failure> {
        match self {
            Self::Json => json_line(data),
            Self::CloudEvents(format) => Ok(one_line(format.beside(kind, id, data)?)),
        }
    }
}

/// An event as a line. Where a document has line breaks between its tokens, which a line can't have, its very text
/// stands beside it.
#[derive(Serialize)]
struct Exported<'a> {
    #[serde(flatten)]
    event: &'a RecordedEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<Exact<'a>>,
}

#[derive(Serialize)]
struct Exact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
}

impl<'a> Exact<'a> {
    fn of(event: &'a RecordedEvent) -> Option<Self> {
        let broken = |json: &'a Json| Some(json.as_str()).filter(|text| text.contains(['\n', '\r']));
        let data = match &event.payload {
            Payload::Json(json) => broken(json),
            Payload::Bytes { .. } => None,
        };
        let metadata = event.metadata.as_ref().and_then(broken);
        (data.is_some() || metadata.is_some()).then_some(Self { data, metadata })
    }
}
