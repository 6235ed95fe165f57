//! Where lines come from: standard input, or a file; as they are, or compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use crate::cli::Failure;
use crate::cli::archive::{Header, decompressed};
use crate::cli::lines::{self, Limits};

/// Bytes of the line of a header: beyond the largest selection.
const HEADER_BYTES: u64 = 1024 * 1024;

/// Bytes of empty lines before it, at most.
const EMPTY_BYTES: usize = 64 * 1024;

/// What is imported.
pub(super) struct Input {
    pub read: Box<dyn Read + Send>,
    /// How long it is, if that is known.
    pub bytes: Option<u64>,
    /// Its full path, if it has one.
    pub path: Option<String>,
    /// Whether it can be read twice.
    pub is_file: bool,
    /// The header, where it is an export.
    pub header: Option<Header>,
}

impl Input {
    /// Opens a file, or `-`, standard input, and reads the first line.
    pub(super) fn open(file: &str) -> Result<Self, Failure> {
        if file == "-" {
            return Self::of(io::stdin(), None, None);
        }
        let failed = |error: io::Error| Failure::usage(format!("can't read {file}: {error}"));
        let opened = File::open(file).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("can't read {file}: it is a folder, not a file")));
        }
        if !metadata.is_file() {
            return Self::of(opened, None, None);
        }
        let path = std::fs::canonicalize(file).map_err(failed)?.to_string_lossy().into_owned();
        Self::of(opened, Some(metadata.len()), Some(path))
    }

    fn of(source: impl Read + Send + 'static, bytes: Option<u64>, path: Option<String>) -> Result<Self, Failure> {
        let (source, is_compressed) = decompressed(source)?;
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        let mut begin = 0;
        // Empty lines are passed over.
        while line[begin..].trim_ascii().is_empty() && line.len() < EMPTY_BYTES {
            begin = line.len();
            if source.by_ref().take(HEADER_BYTES).read_until(b'\n', &mut line).map_err(lines::failed)? == 0 {
                break;
            }
        }
        // A first line that is no text is refused when it is read again, as with all others.
        let header = lines::text(&line[begin..], 1).ok().flatten().map_or(Ok(None), Header::of_line);
        Ok(Self {
            header: header.map_err(|error| Failure::from(error).at("line 1"))?,
            is_file: bytes.is_some(),
            bytes: bytes.filter(|_| !is_compressed),
            path,
            read: Box::new(Cursor::new(line).chain(source)),
        })
    }

    /// Returns how it is read, where so many lines are stored together, and events have so many bytes.
    pub(super) fn limits(&self, lines: u16, event_bytes: usize) -> Limits {
        let line_bytes = if self.header.is_some() { lines::EXPORT_LINE_BYTES } else { lines::line_bytes(event_bytes) };
        Limits { lines: lines.into(), line_bytes }
    }
}
