//! The history of a git repository as events: one stream an author, one event a change of a file.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use uuid::Uuid;

use crate::cli::Failure;
use crate::limits;

/// Commits that are read at most, the newest.
const COMMITS: &str = "--max-count=20000";

/// Begins the line of a commit, and separates its fields; no name or subject contains them.
const COMMIT: char = '\u{1}';
const FIELD: char = '\u{2}';

/// A commit's line, taken apart.
struct Commit {
    id: String,
    time: String,
    author: String,
    subject: String,
}

/// Writes the changes of a repository as lines for `annals import`, the oldest first, and returns how many there are;
/// 0 where there is no git, no repository, or no commit.
pub(super) fn write_events(repository: &Path, out: &mut impl Write) -> Result<u64, Failure> {
    let format = format!("--format={COMMIT}%H{FIELD}%cI{FIELD}%aN{FIELD}%s");
    let git = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["-c", "core.quotePath=false", "log", "--reverse", "--no-renames", "--name-status", COMMITS, &format])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut git = match git {
        Ok(git) => git,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let Some(log) = git.stdout.take() else { return Ok(0) };
    let written = write_log(BufReader::new(log), out);
    if written.is_err() {
        git.kill()?;
    }
    git.wait()?;
    written
}

fn write_log(mut log: impl BufRead, out: &mut impl Write) -> Result<u64, Failure> {
    let mut commit = None;
    let mut count = 0;
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if let Some(header) = text.strip_prefix(COMMIT) {
            commit = parse_commit(header);
        } else if let (Some(commit), Some((status, path))) = (&commit, text.split_once('\t')) {
            writeln!(out, "{}", event(commit, status, path))?;
            count += 1;
        }
        line.clear();
    }
    Ok(count)
}

fn parse_commit(header: &str) -> Option<Commit> {
    let mut fields = header.split(FIELD).map(str::to_owned);
    let (id, time) = (fields.next()?, fields.next()?);
    let author = name(&fields.next()?);
    Some(Commit { id, time, author, subject: fields.next().unwrap_or_default() })
}

/// Makes a name of an author's.
fn name(text: &str) -> String {
    let mut name: String = text.chars().filter(|c| !c.is_control()).collect();
    while name.len() > limits::NAME_BYTES {
        name.pop();
    }
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

fn event(commit: &Commit, status: &str, path: &str) -> serde_json::Value {
    let event_type = match status {
        "A" => "FileAdded",
        "D" => "FileDeleted",
        "M" => "FileModified",
        _ => "FileChanged",
    };
    let id = |text: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    json!({
        "aggregate_type": "author",
        "aggregate_id": commit.author,
        "event_id": id(&format!("{} {path}", commit.id)),
        "event_type": event_type,
        "event_timestamp": commit.time,
        "actor": commit.author,
        "actor_type": "user",
        "correlation_id": id(&commit.id),
        "data": {"path": path, "commit": commit.id, "subject": commit.subject},
    })
}
