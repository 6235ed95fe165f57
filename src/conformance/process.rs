//! Several processes that write one database, through the `annals` program.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::together::{Follower, sound_log};
use crate::error::Result;
use crate::position::Position;
use crate::read::Query;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    one_of_4_processes_that_race_for_a_version_wins: "3.2", "3.3", "3.10" if Processes;
    one_of_4_processes_that_race_to_create_a_stream_wins: "3.2", "3.3" if Processes;
    processes_that_expect_any_version_all_land: "3.4", "3.10" if Processes;
    one_of_4_processes_with_the_same_command_writes: "4.1", "4.2" if Processes;
    one_of_4_processes_with_the_same_event_id_writes: "4.4" if Processes;
    what_a_process_acknowledged_is_read_at_once: "3.9", "5.1" if Processes;
    a_reader_of_several_writing_processes_sees_contiguous_positions: "5.1", "5.2", "3.10" if Processes, OneLane;
    each_writing_process_keeps_the_order_of_its_events: "5.1" if Processes, OneLane;
    a_process_that_is_killed_while_it_writes_leaves_no_hole_and_no_half_request: "3.1", "3.10", "5.1" if Processes, OneLane;
    an_import_that_was_killed_goes_on_where_it_stopped: "3.1", "4.4" if Processes;
];

/// The exit code of a request that is in conflict.
const CONFLICT: i32 = 3;

/// Prepares the program with arguments; it finds the database through its environment, as it does for users.
fn program(f: &Fixture, arguments: &[&str]) -> Result<Command, Failure> {
    let missing = |what: &str| Failure(format!("the {what} is not at hand"));
    let mut command = Command::new(f.program.as_ref().ok_or_else(|| missing("program"))?);
    command
        .env("ANNALS_URL", f.database.url().ok_or_else(|| missing("url of the database"))?)
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// What a process answered: its exit code, and the JSON of its last line of output.
#[derive(Debug)]
struct Answer {
    exit: Option<i32>,
    output: Value,
    errors: String,
}

impl Answer {
    /// Fails unless the process ended well.
    fn done(&self) -> Verdict {
        ensure!(self.exit == Some(0), "a process ended with {:?}: {}", self.exit, self.errors);
        Ok(())
    }
}

/// Starts processes that differ in their arguments together, and waits for all of them.
async fn processes(f: &Fixture, arguments: &[Vec<String>]) -> Result<Vec<Answer>, Failure> {
    let mut started = Vec::new();
    for arguments in arguments {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        started.push(program(f, &arguments)?.spawn()?);
    }
    let mut answers = Vec::new();
    for child in started {
        answers.push(answer(child).await?);
    }
    Ok(answers)
}

async fn answer(child: Child) -> Result<Answer, Failure> {
    let output = child.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Answer {
        exit: output.status.code(),
        output: text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The arguments of an append of one event to stream `a`.
fn append(expected: &str, number: usize, more: &[&str]) -> Vec<String> {
    let data = number.to_string();
    let arguments = ["append", "thing", "a", "--expect", expected, "--type", "Written", "--data", &data];
    arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

/// Returns the number of the one process that ended well; the others must have ended in conflict.
fn one_winner(answers: &[Answer]) -> Result<usize, Failure> {
    let mut winners = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        match answer.exit {
            Some(0) => winners.push(number),
            Some(CONFLICT) => {}
            _ => return Err(Failure(format!("process {number} ended badly: {answer:?}"))),
        }
    }
    ensure_eq!(winners.len(), 1, "processes that won, of {answers:?}");
    Ok(winners[0])
}

async fn one_of_4_processes_that_race_for_a_version_wins(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    for round in 1..=4 {
        let racers: Vec<_> = (0..4).map(|number| append(&round.to_string(), number, &[])).collect();
        let winner = one_winner(&processes(f, &racers).await?)?;
        let log = sound_log(&f.store).await?;
        ensure_eq!(log.len(), round + 1, "events after round {round}");
        ensure_eq!(log[round].payload.to::<usize>()?, winner, "process whose event is stored");
    }
    Ok(())
}

async fn one_of_4_processes_that_race_to_create_a_stream_wins(f: &Fixture) -> Verdict {
    let racers: Vec<_> = (0..4).map(|number| append("none", number, &[])).collect();
    let winner = one_winner(&processes(f, &racers).await?)?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 1, "events");
    ensure_eq!(log[0].payload.to::<usize>()?, winner, "process whose event is stored");
    Ok(())
}

async fn processes_that_expect_any_version_all_land(f: &Fixture) -> Verdict {
    let racers: Vec<_> = (0..6).map(|number| append("any", number, &[])).collect();
    let mut versions = Vec::new();
    for answer in processes(f, &racers).await? {
        answer.done()?;
        versions.push(answer.output["aggregate_version"].as_i64().unwrap_or_default());
    }
    versions.sort_unstable();
    ensure_eq!(versions, [1, 2, 3, 4, 5, 6], "versions that the processes were told");
    ensure_eq!(sound_log(&f.store).await?.len(), 6, "events");
    Ok(())
}

async fn one_of_4_processes_with_the_same_command_writes(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4().to_string();
    let racers = vec![append("none", 1, &["--command-id", &id, "--actor", "ann"]); 4];
    let answers = processes(f, &racers).await?;
    ensure!(answers.iter().all(|answer| answer.exit == Some(0)), "a repetition ended badly: {answers:?}");
    let wrote = answers.iter().filter(|answer| answer.output["duplicate"] == Value::Bool(false)).count();
    ensure_eq!(wrote, 1, "processes that wrote, of {answers:?}");
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events");
    Ok(())
}

async fn one_of_4_processes_with_the_same_event_id_writes(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4().to_string();
    let racers: Vec<_> = (0..4).map(|number| append("any", number, &["--event-id", &id])).collect();
    let winner = one_winner(&processes(f, &racers).await?)?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 1, "events");
    ensure_eq!(log[0].payload.to::<usize>()?, winner, "process whose event is stored");
    Ok(())
}

async fn what_a_process_acknowledged_is_read_at_once(f: &Fixture) -> Verdict {
    for round in 0..4 {
        let answers = processes(f, &[append(&round.to_string(), round, &[])]).await?;
        answers[0].done()?;
        ensure_eq!(f.store.read_stream("a").await?.len(), round + 1, "events after round {round}");
    }
    Ok(())
}

/// A file of lines to import, gone once it is dropped.
struct Lines(std::path::PathBuf);

impl Lines {
    /// Writes lines of one stream, whose data is their number.
    fn new(stream: &str, count: usize) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("annals-{}.jsonl", Uuid::new_v4().simple()));
        let line = |number: usize| {
            let line = serde_json::json!({
                "aggregate_id": stream, "aggregate_type": "thing", "event_type": "Imported", "data": number,
            });
            format!("{line}\n")
        };
        std::fs::write(&path, (0..count).map(line).collect::<String>())?;
        Ok(Self(path))
    }

    fn arguments(&self, batch: &str) -> Vec<String> {
        ["import", &self.0.to_string_lossy(), "--batch", batch].map(str::to_owned).into()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A file that is left behind in the system's temporary folder harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Lets processes import at once, each a stream of its own, while a reader polls.
async fn import_and_follow(f: &Fixture) -> Verdict {
    let files = (0..3).map(|number| Lines::new(&format!("s{number}"), 900)).collect::<Result<Vec<_>, _>>()?;
    let mut started = Vec::new();
    for (lines, batch) in files.iter().zip(["7", "100", "450"]) {
        let arguments = lines.arguments(batch);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        started.push(program(f, &arguments)?.spawn()?);
    }
    let mut follower = Follower::default();
    let mut pages = 0;
    while follower.last < Position::new(2_700) {
        let page = f.store.page(f.store.lane("a"), &Query::new().after(follower.last), 200).await?;
        pages += usize::from(!page.events.is_empty());
        follower.saw(page.events.iter().map(|event| event.position))?;
        if page.events.is_empty() {
            for child in &mut started {
                let failed = child.try_wait()?.is_some_and(|status| !status.success());
                ensure!(!failed, "a process ended badly");
            }
            tokio::task::yield_now().await;
        }
    }
    ensure!(pages > 5, "the reader polled {pages} times only: the case proves nothing");
    for child in started {
        let answer = answer(child).await?;
        answer.done()?;
    }
    Ok(())
}

async fn a_reader_of_several_writing_processes_sees_contiguous_positions(f: &Fixture) -> Verdict {
    import_and_follow(f).await?;
    ensure_eq!(sound_log(&f.store).await?.len(), 2_700, "events");
    Ok(())
}

async fn each_writing_process_keeps_the_order_of_its_events(f: &Fixture) -> Verdict {
    import_and_follow(f).await?;
    for number in 0..3 {
        let events = f.store.read_stream(format!("s{number}")).await?;
        let numbers = events.iter().map(|event| event.payload.to()).collect::<Result<Vec<usize>>>()?;
        ensure_eq!(numbers, (0..900).collect::<Vec<_>>(), "lines of stream s{number}");
    }
    Ok(())
}

/// Starts an import in requests of 50 lines, and kills it once some are there.
async fn kill_an_import(f: &Fixture, lines: &Lines) -> Verdict {
    let arguments = lines.arguments("50");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let before = f.store.backend().head(f.store.lane("a")).await?;
    let mut child = program(f, &arguments)?.spawn()?;
    while f.store.backend().head(f.store.lane("a")).await? < before.plus(150) {
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "the import ended before it could be killed: {ended:?}");
        tokio::task::yield_now().await;
    }
    child.kill().await?;
    Ok(())
}

async fn a_process_that_is_killed_while_it_writes_leaves_no_hole_and_no_half_request(f: &Fixture) -> Verdict {
    for round in 0..3 {
        let stream = format!("s{round}");
        kill_an_import(f, &Lines::new(&stream, 20_000)?).await?;
        // The lock of the killed process is gone once this append is through, and with it what was not committed.
        f.store.append(&f.stream("after")?, Expected::exact(round), f.events(1)?).await?;
        sound_log(&f.store).await?;
        let count = f.store.count(&stream).await?;
        ensure!(count >= 150 && count % 50 == 0 && count < 20_000, "{count} events of requests of 50");
    }
    Ok(())
}

async fn an_import_that_was_killed_goes_on_where_it_stopped(f: &Fixture) -> Verdict {
    let lines = Lines::new("a", 6_000)?;
    kill_an_import(f, &lines).await?;
    let answers = processes(f, &[lines.arguments("500")]).await?;
    answers[0].done()?;
    let events = f.store.read_stream("a").await?;
    let numbers = events.iter().map(|event| event.payload.to()).collect::<Result<Vec<usize>>>()?;
    ensure_eq!(numbers, (0..6_000).collect::<Vec<_>>(), "lines that were imported");
    sound_log(&f.store).await.map(drop)
}
