//! The pipe between a child and its parent: one line an event of a request's life, each written by one `write`, so that
//! a child that is killed leaves whole lines and at most one torn.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Mutex;

use annals::Appended;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wish::{Key, Plan, Wish};

/// A pipe takes as many bytes in one piece, whoever else writes.
const PIPE_BUF: usize = 4_096;

/// What a child tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// The request is sent now.
    Sent(Wish),
    /// The request is acknowledged.
    Done { key: Key, outcome: Outcome },
    /// The request is refused: nothing of it is stored.
    Refused { key: Key, error: String },
    /// It is not known what became of the request.
    InDoubt { key: Key, error: String },
}

/// What an acknowledgement says, with the ids that were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub first: i64,
    pub last: i64,
    pub versions: Vec<(String, i64)>,
    pub command: Option<Uuid>,
    pub event_ids: Vec<Uuid>,
}

impl Outcome {
    pub fn new(appended: &Appended, plan: &Plan) -> Self {
        let (first, last) = appended.positions.map_or((0, 0), |(first, last)| (first.get(), last.get()));
        Self {
            first,
            last,
            versions: appended.versions.iter().map(|(id, version)| (id.clone(), version.get())).collect(),
            command: plan.command,
            event_ids: plan.events.iter().filter_map(|event| event.id).collect(),
        }
    }
}

/// The child's end of the pipe: its standard output, without the buffer that the standard library puts before it.
pub struct Log(Mutex<File>);

impl Log {
    pub fn new() -> Self {
        let output = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
        let log = Self(Mutex::new(output));
        // The test runner has begun a line.
        log.put(b"\n");
        log
    }

    /// Writes a line. Once the parent is gone, that ends the child.
    pub fn write(&self, line: &Line) {
        let mut text = serde_json::to_vec(line).unwrap();
        text.push(b'\n');
        self.put(&text);
    }

    fn put(&self, bytes: &[u8]) {
        assert!(bytes.len() < PIPE_BUF, "a line of {} bytes", bytes.len());
        match self.0.lock().unwrap().write(bytes) {
            Ok(written) => assert_eq!(written, bytes.len()),
            Err(_) => std::process::exit(1),
        }
    }
}

/// Reads a line; `None` for those of the test runner, and for one that was torn.
pub fn parse(bytes: &[u8]) -> Option<Line> {
    let text = bytes.strip_suffix(b"\n")?;
    text.starts_with(b"{").then(|| serde_json::from_slice(text).unwrap())
}
