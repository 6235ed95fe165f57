//! Reads JSON lines in bounded memory, and cuts a file of them into chunks.

use std::io::{self, BufRead, BufReader, Read};

use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::limits;

/// Bytes of a line of an export: an event's documents may stand there twice, escaped or in base64.
pub(crate) const EXPORT_LINE_BYTES: usize = 4 * limits::EVENT_BYTES_MAX;

/// Bytes of a line beyond those of its event.
const EXTRA: usize = 1024 * 1024;

/// Bytes of lines that a chunk holds at most, unless one line alone has more.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// Lines that are stored together.
#[derive(Debug)]
pub(crate) struct Chunk<T> {
    /// What each line says, with its number.
    pub entries: Vec<(u64, T)>,
    /// Bytes of the file that were read so far.
    pub read: u64,
    /// Why reading ended after these lines, if it was not the file's end.
    pub failure: Option<(u64, Failure)>,
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Lines of a chunk.
    pub lines: usize,
    /// Bytes of a line.
    pub line_bytes: usize,
}

/// Reads `source` to its end, or to the first line that `parse` refuses, and sends what it finds. Lines of which it makes
/// nothing are passed over.
pub(crate) fn read<T>(
    source: impl Read,
    limits: Limits,
    mut parse: impl FnMut(u64, &str) -> Result<Option<T>, Failure>,
    chunks: &mpsc::Sender<Chunk<T>>,
) {
    let mut source = BufReader::with_capacity(256 * 1024, source);
    let (mut number, mut read, mut weight) = (0, 0, 0);
    let mut line = Vec::new();
    let mut entries = Vec::new();
    loop {
        number += 1;
        let entry = next(&mut source, limits.line_bytes, &mut line, &mut read).and_then(|more| {
            if more { text(&line, number)?.map_or(Ok(None), |text| parse(number, text)).map(Some) } else { Ok(None) }
        });
        match entry {
            Ok(Some(entry)) => {
                weight += line.len();
                entries.extend(entry.map(|entry| (number, entry)));
                if entries.len() >= limits.lines || weight >= CHUNK_BYTES {
                    weight = 0;
                    let full = Chunk { entries: std::mem::take(&mut entries), read, failure: None };
                    if chunks.blocking_send(full).is_err() {
                        return;
                    }
                }
            }
            end => {
                let failure = end.err().map(|failure| (number, failure));
                // Where nobody takes the chunk, the import has failed already.
                let _ = chunks.blocking_send(Chunk { entries, read, failure });
                return;
            }
        }
    }
}

/// Returns how many bytes a line may have, where an event may have so many.
pub(crate) const fn line_bytes(event_bytes: usize) -> usize {
    event_bytes + EXTRA
}

/// Reads the next line without its end, at most two bytes more than it may have; false where there is none.
pub(crate) fn next(
    source: &mut impl BufRead,
    limit: usize,
    line: &mut Vec<u8>,
    read: &mut u64,
) -> Result<bool, Failure> {
    line.clear();
    let bytes = source.take(limit as u64 + 2).read_until(b'\n', line).map_err(failed)?;
    *read += bytes as u64;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > limit {
        let reason = format!("it has more than {limit} bytes: raise max_event_bytes in the url, or split the event");
        return Err(Failure::usage(reason));
    }
    Ok(bytes > 0)
}

/// Says why bytes can't be read: compressed ones may be damaged.
pub(crate) fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => Failure::usage(error.to_string()),
        _ => error.into(),
    }
}

/// Returns the text of a line; none where it is empty. The mark that some editors put at a file's beginning says nothing.
pub(crate) fn text(line: &[u8], number: u64) -> Result<Option<&str>, Failure> {
    let text = std::str::from_utf8(line).map_err(|error| {
        Failure::usage(format!("byte {} is not utf-8: convert the input to utf-8", error.valid_up_to() + 1))
    })?;
    let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}
