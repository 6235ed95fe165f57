//! Where an export goes, compressed or not.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::Failure;

/// How much time zstd spends: its own default.
const LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// Where an export goes.
pub(super) enum Target {
    Stdout,
    /// A file, which is written beside its place, and gets its name when it is whole.
    File(PathBuf),
    /// A device or a pipe, which is written as it is.
    Stream(PathBuf),
}

/// What is written.
enum Sink {
    Stdout(Stdout),
    File(NamedTempFile),
    Stream(File),
}

/// Writes lines.
pub(super) struct Writer {
    target: Target,
    body: Body,
}

enum Body {
    Plain(BufWriter<Sink>),
    Zstd(zstd::Encoder<'static, BufWriter<Sink>>),
}

impl Target {
    /// Chooses by what stands there. A database is not written over: the name was a mistake.
    pub(super) fn new(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else { return Ok(Self::Stdout) };
        let Ok(path) = std::fs::canonicalize(&path) else { return Ok(Self::File(path)) };
        if !path.is_file() {
            return Ok(Self::Stream(path));
        }
        let mut start = [0; 16];
        let is_database = File::open(&path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
        if is_database && &start == b"SQLite format 3\0" {
            let reason = format!("{} is a SQLite database: name another file", path.display());
            return Err(Failure::usage(reason));
        }
        Ok(Self::File(path))
    }

    /// Whether its name is one of compressed files.
    pub(super) fn is_named_zst(&self) -> bool {
        self.path().and_then(Path::extension).is_some_and(|ending| ending.eq_ignore_ascii_case("zst"))
    }

    pub(super) const fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    pub(super) fn writer(self, compress: bool) -> Result<Writer, Failure> {
        let sink = self.open().map_err(|error| match self.path() {
            Some(path) => Failure::usage(format!("can't write {}: {error}", path.display())),
            None => error.into(),
        })?;
        let plain = BufWriter::with_capacity(256 * 1024, sink);
        let body = if compress {
            let mut encoder = zstd::Encoder::new(plain, LEVEL)?;
            encoder.include_checksum(true)?;
            Body::Zstd(encoder)
        } else {
            Body::Plain(plain)
        };
        Ok(Writer { target: self, body })
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path) | Self::Stream(path) => Some(path),
        }
    }

    fn open(&self) -> io::Result<Sink> {
        match self {
            Self::Stdout => Ok(Sink::Stdout(io::stdout())),
            Self::Stream(path) => OpenOptions::new().write(true).open(path).map(Sink::Stream),
            Self::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let mut builder = tempfile::Builder::new();
                #[cfg(unix)]
                builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
                builder.prefix(".annals-export-").tempfile_in(folder).map(Sink::File)
            }
        }
    }

    fn keep(&self, sink: Sink) -> io::Result<()> {
        match (self, sink) {
            (Self::File(path), Sink::File(file)) => {
                file.as_file().sync_all()?;
                file.persist(path).map(drop).map_err(|error| error.error)
            }
            (_, mut sink) => sink.flush(),
        }
    }

    /// Says what failed while it was written. A reader who has gone is no failure.
    fn failed(&self, error: io::Error) -> Failure {
        let failure = Failure::from(error);
        match self.path() {
            Some(path) => failure.at(&format!("can't write {}", path.display())),
            None => failure,
        }
    }
}

impl Writer {
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let written = match &mut self.body {
            Body::Plain(out) => writeln!(out, "{text}"),
            Body::Zstd(out) => writeln!(out, "{text}"),
        };
        written.map_err(|error| self.target.failed(error))
    }

    /// Ends the lines, and gives a file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { target, body } = self;
        let plain = match body {
            Body::Plain(plain) => Ok(plain),
            Body::Zstd(encoder) => encoder.finish(),
        };
        let sink = plain.and_then(|plain| plain.into_inner().map_err(io::IntoInnerError::into_error));
        sink.and_then(|sink| target.keep(sink)).map_err(|error| target.failed(error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
            Self::Stream(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.flush(),
            Self::Stream(file) => file.flush(),
        }
    }
}
