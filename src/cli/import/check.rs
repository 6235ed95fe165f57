//! Whether an export is whole: what its lines say, counted and hashed as they are read, is compared with its manifest.

use crate::cli::Failure;
use crate::cli::archive::{Header, Manifest, Record, Row, Tally};
use crate::cli::line::Line;
use crate::event::RecordedEvent;
use crate::lane;

/// What to do about an export that is not whole.
const ADVICE: &str = "the file was cut off or changed: make the export anew";

/// How far an input was read.
#[derive(Debug, Default)]
pub(super) struct Check {
    lines: u64,
    /// Of an export.
    tally: Option<Tally>,
    /// Whether the export holds a part of the log only.
    is_selection: bool,
    manifest: Option<Manifest>,
}

/// What a line says that is to be stored.
#[derive(Debug)]
pub(super) enum Checked<'a> {
    /// An event; as it was, where it is one of an export.
    Event(Box<Line<'a>>, Option<Box<RecordedEvent>>),
    Row(Row),
}

impl Check {
    /// Takes in the next line.
    pub(super) fn line<'a>(&mut self, text: &'a str, category: &str) -> Result<Option<Checked<'a>>, Failure> {
        if self.manifest.is_some() {
            return Err(Failure::usage("it follows the manifest, which is the last line of an export"));
        }
        let record = Record::parse(text, category)?;
        self.lines += 1;
        match (record, &mut self.tally) {
            (Record::Header(header), None) if self.lines == 1 => self.begin(&header, text),
            (Record::Header(_), _) => {
                return Err(Failure::usage("it begins an export, after other lines: import one file after the other"));
            }
            (Record::Event(line), None) => return Ok(Some(Checked::Event(line, None))),
            (Record::Event(line), Some(tally)) => {
                let event = line.recorded()?;
                take(tally, &event, self.is_selection)?;
                return Ok(Some(Checked::Event(line, Some(Box::new(event)))));
            }
            (_, None) => return Err(Failure::usage("it is of an export, whose first line, the header, is missing")),
            (Record::Row(row), Some(tally)) => {
                if row.partition >= tally.partitions() {
                    return Err(Failure::usage(format!("the export has no partition {}", row.partition)));
                }
                tally.row(row.table.name, text);
                return Ok(Some(Checked::Row(row)));
            }
            (Record::Manifest(manifest), Some(tally)) => {
                if let Some(difference) = manifest.difference(&tally.manifest()) {
                    return Err(Failure::usage(format!(
                        "the manifest is not that of the lines: {difference}; {ADVICE}"
                    )));
                }
                self.manifest = Some(manifest);
            }
        }
        Ok(None)
    }

    /// Returns the manifest, where the input was an export.
    pub(super) fn end(self) -> Result<Option<Manifest>, Failure> {
        if self.tally.is_some() && self.manifest.is_none() {
            return Err(Failure::usage(format!("the last line is no manifest; {ADVICE}")));
        }
        Ok(self.manifest)
    }

    fn begin(&mut self, header: &Header, text: &str) {
        self.is_selection = header.selection.is_some();
        self.tally = Some(Tally::new(header.partitions.into(), text));
    }
}

/// Counts an event that has its place.
fn take(tally: &mut Tally, event: &RecordedEvent, is_selection: bool) -> Result<(), Failure> {
    let partitions = tally.partitions();
    let own = lane::index(&event.aggregate_id, partitions);
    if usize::try_from(event.lane.get()) != Ok(own) {
        let reason = format!("lane {} is not that of its stream, which is {own} of {partitions}", event.lane);
        return Err(Failure::usage(format!("{reason}; {ADVICE}")));
    }
    let next = tally.last(own).next();
    let fits = if is_selection { event.position >= next } else { event.position == next };
    if !fits {
        return Err(Failure::usage(format!("it has position {}, and {next} is next; {ADVICE}", event.position)));
    }
    tally.event(own, event);
    Ok(())
}
