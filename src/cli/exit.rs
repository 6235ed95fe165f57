//! Exit codes, and what is said on standard error.

use std::io;
use std::process::ExitCode;

use crate::error::{Error, ErrorClass};

/// The exit codes; `--help` and `docs/cli.md` explain them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nobody reads the output any more.
    Done = 0,
    /// Failed, for a reason that none of the others names.
    Failure = 1,
    /// The command line, the URL or the input is wrong.
    Usage = 2,
    /// The stream, command or event is not as the request expects.
    Conflict = 3,
    /// The stream, event, snapshot, index, topic or database file does not exist.
    NotFound = 4,
    /// The database is busy or out of reach.
    Unavailable = 5,
    /// Interrupted with Ctrl-C.
    Interrupted = 130,
}

/// Why a verb did not end well: an exit code, and a message where there is something to say.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub message: Option<String>,
}

impl Failure {
    /// Makes a failure with a message: lower case, what was wrong and what to do.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    /// Makes a failure of wrong input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes a failure of something that is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    /// Makes a failure whose report was printed already.
    pub(crate) const fn silent(exit: Exit) -> Self {
        Self { exit, message: None }
    }

    /// Makes a failure of an interrupt, which says what may be stored where something may.
    pub(crate) fn interrupted(writes: bool) -> Self {
        let stored = if writes { ": what was acknowledged is stored; what was on its way may be" } else { "" };
        Self::new(Exit::Interrupted, format!("interrupted{stored}"))
    }

    /// Says where the failure happened.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = self.message.map(|message| format!("{place}: {message}"));
        self
    }

    /// Says what else is to be known, or done.
    pub(crate) fn then(mut self, more: &str) -> Self {
        self.message = self.message.map(|message| format!("{message} ({more})"));
        self
    }

    /// Prints the message on standard error, as a JSON object where programs read it, and returns the exit code.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        if let Some(message) = self.message {
            let text = if json {
                serde_json::json!({"error": message, "exit": self.exit as u8}).to_string()
            } else {
                format!("error: {message}")
            };
            // Where standard error is closed, the exit code still says it.
            let _ = io::Write::write_all(&mut io::stderr().lock(), format!("{text}\n").as_bytes());
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::StreamNotFound { .. } | Error::UnknownTopic { .. } | Error::SubscriptionNotFound { .. } => {
                Exit::NotFound
            }
            Error::Invalid { .. } | Error::Limit { .. } | Error::Url { .. } | Error::CrossLane { .. } => Exit::Usage,
            Error::Ambiguous { .. } | Error::Deadline { .. } | Error::Backend { class: ErrorClass::Ambiguous, .. } => {
                Exit::Unavailable
            }
            Error::StreamDeleted { .. }
            | Error::StreamNotDeleted { .. }
            | Error::TopicExists { .. }
            | Error::TopicDeleted { .. }
            | Error::EventsLeftBehind { .. }
            | Error::TypeMismatch { .. }
            | Error::CommandReused { .. }
            | Error::DuplicateEvent { .. }
            | Error::LeaseHeld { .. }
            | Error::LeaseLost { .. }
            | Error::FilterChanged { .. }
            | Error::ProjectionSuperseded { .. } => Exit::Conflict,
            error if error.is_conflict() => Exit::Conflict,
            error if error.is_retryable() => Exit::Unavailable,
            _ => Exit::Failure,
        };
        Self::new(exit, error.report())
    }
}

impl From<io::Error> for Failure {
    /// A closed pipe is no failure: nobody reads on.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Exit::Done);
        }
        Self::new(Exit::Failure, error.to_string())
    }
}

/// Prints what clap says of a command line, and returns its exit code.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let reason = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        return Failure::usage(reason).report(true);
    }
    // Where the output is closed, the exit code still says it.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS }
}
