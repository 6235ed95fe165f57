//! Contract sections 10 and 11: what errors say, what they keep to themselves, and URLs.

use std::path::PathBuf;

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_err};
use super::harness::Fixture;
use crate::append::{Append, Condition};
use crate::command::Command;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Position;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_version_conflict_is_a_conflict: "10.2";
    a_failed_condition_is_a_conflict: "3.7", "10.2";
    a_conflict_of_metadata_is_a_conflict: "8.4", "10.2";
    a_reused_command_is_no_conflict: "10.2";
    refusals_are_not_to_be_repeated_unchanged: "10.2";
    messages_are_lower_case_without_a_full_stop: "10.3";
    messages_name_what_was_wrong: "10.3";
    an_unknown_topic_is_an_error_that_names_the_known_ones: "1.1", "11.4" if Durable, OneLane;
    an_unknown_option_is_an_error_that_names_the_choices: "11.4" if Durable;
    a_value_that_an_option_does_not_take_is_an_error: "11.2", "11.4" if Durable;
    an_unknown_scheme_is_an_error_that_names_the_choices: "11.4";
    the_error_of_a_url_hides_its_password: "10.3";
    a_store_and_its_errors_hide_the_password: "10.3", "11.3" if Durable;
];

/// Provokes refusals of every kind that a single caller can meet.
async fn refusals(f: &Fixture) -> Result<Vec<Error>> {
    let (stream, gone) = (f.filled("a", 2).await?, f.filled("gone", 1).await?);
    f.store.delete(&gone, Expected::Any).await?;
    let (command, event) = (Uuid::new_v4(), Uuid::new_v4());
    f.store.record_command(Command::new(command)).await?;
    f.store.append(&stream, Expected::exact(2), [f.event("Known")?.with_id(event)]).await?;
    let condition = Condition::after(Position::ZERO).or(["Happened"], [""; 0])?;
    let refused = [
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await.map(drop),
        f.store.append(&Stream::new("other", "a")?, Expected::Any, f.events(1)?).await.map(drop),
        f.store.append(&gone, Expected::Any, f.events(1)?).await.map(drop),
        f.store.append(&stream, Expected::Any, [f.event("Known")?.with_id(event)]).await.map(drop),
        f.store.commit(Append::new().guard(stream.clone(), Expected::Any).condition(condition)).await.map(drop),
        f.store.record_command(Command::new(command).with_actor("ann")?).await.map(drop),
        f.store.undelete(&stream, Expected::Any).await.map(drop),
        f.store.delete(&f.stream("none")?, Expected::Any).await.map(drop),
        f.store.set_metadata("a", Some(7), Json::parse("{}")?).await.map(drop),
        f.store.page(f.store.lane("a"), &crate::read::Query::new(), 10_001).await.map(drop),
        f.stream(" a").map(drop),
    ];
    Ok(refused.into_iter().filter_map(Result::err).collect())
}

async fn a_version_conflict_is_a_conflict(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let error = f.store.append(&stream, Expected::NoStream, f.events(1)?).await;
    ensure!(error.as_ref().is_err_and(Error::is_conflict), "{error:?} is not a conflict");
    Ok(())
}

async fn a_failed_condition_is_a_conflict(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let condition = Condition::after(Position::ZERO).or(["Happened"], [""; 0])?;
    let error = f.store.commit(Append::new().to(stream, Expected::Any, f.events(1)?).condition(condition)).await;
    ensure!(error.as_ref().is_err_and(Error::is_conflict), "{error:?} is not a conflict");
    Ok(())
}

async fn a_conflict_of_metadata_is_a_conflict(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let error = f.store.set_metadata("a", Some(3), Json::parse("{}")?).await;
    ensure!(error.as_ref().is_err_and(Error::is_conflict), "{error:?} is not a conflict");
    Ok(())
}

async fn a_reused_command_is_no_conflict(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.record_command(Command::new(id)).await?;
    let error = f.store.record_command(Command::new(id).with_type("Other")?).await;
    ensure!(error.as_ref().is_err_and(|error| !error.is_conflict()), "{error:?} is a conflict");
    Ok(())
}

async fn refusals_are_not_to_be_repeated_unchanged(f: &Fixture) -> Verdict {
    let refusals = refusals(f).await?;
    ensure!(refusals.len() == 11, "some of the requests were not refused; these were: {refusals:?}");
    let retryable: Vec<_> = refusals.iter().filter(|error| error.is_retryable()).collect();
    ensure!(retryable.is_empty(), "these refusals are retryable: {retryable:?}");
    Ok(())
}

async fn messages_are_lower_case_without_a_full_stop(f: &Fixture) -> Verdict {
    let refusals = refusals(f).await?;
    ensure!(refusals.len() == 11, "some of the requests were not refused; these were: {refusals:?}");
    for message in refusals.iter().map(Error::report) {
        ensure!(!message.starts_with(char::is_uppercase), "{message:?} begins with a capital letter");
        ensure!(!message.ends_with('.') && !message.contains('\n'), "{message:?} is not one phrase");
    }
    Ok(())
}

async fn messages_name_what_was_wrong(f: &Fixture) -> Verdict {
    let stream = f.filled("order-17", 3).await?;
    let error = f.store.append(&stream, Expected::exact(2), f.events(1)?).await;
    let message = error.map_or_else(|error| error.report(), |appended| format!("{appended:?}"));
    for part in ["order-17", "version 3", "version 2"] {
        ensure!(message.contains(part), "{message:?} does not name {part:?}");
    }
    Ok(())
}

async fn an_unknown_topic_is_an_error_that_names_the_known_ones(f: &Fixture) -> Verdict {
    let unknown = f.database.open(&[("topic", "nowhere")]).await;
    ensure_err!(unknown, Error::UnknownTopic { ref topic, ref known } if topic == "nowhere" && known == "default");
    Ok(())
}

async fn an_unknown_option_is_an_error_that_names_the_choices(f: &Fixture) -> Verdict {
    let unknown = f.database.open(&[("no_such_option", "1")]).await;
    let named = |reason: &str| ["no_such_option", "topic", "max_event_bytes"].iter().all(|name| reason.contains(name));
    ensure_err!(unknown, Error::Url { ref reason } if named(reason));
    Ok(())
}

async fn a_value_that_an_option_does_not_take_is_an_error(f: &Fixture) -> Verdict {
    let wrong = [("pool_max", "0"), ("statement_timeout", "soon"), ("max_event_bytes", "-1"), ("migrate", "perhaps")];
    for (name, value) in wrong {
        let refused = f.database.open(&[(name, value)]).await;
        ensure_err!(refused, Error::Url { ref reason } if reason.contains(name) && reason.contains(value));
    }
    f.database.open(&[("pool_max", "2"), ("statement_timeout", "20s")]).await?.close().await;
    Ok(())
}

async fn an_unknown_scheme_is_an_error_that_names_the_choices(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let unknown = Store::connect("nosuchdb://host/database").await;
    ensure_err!(unknown, Error::Url { ref reason } if reason.contains("nosuchdb") && reason.contains("there are"));
    Ok(())
}

const PASSWORD: &str = "Tr0ub4dor";

async fn the_error_of_a_url_hides_its_password(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    for url in [
        format!("nosuchdb://ann:{PASSWORD}@host/database"),
        format!("postgres://ann:{PASSWORD}@host/database?no_such_option=1"),
        format!("mssql://ann:{PASSWORD}@host/database?pool_max=none"),
        format!("postgres//ann:{PASSWORD}@host/database"),
        format!("postgres://ann:{PASSWORD}%FF@host/database"),
    ] {
        let refused = Store::connect(&url).await;
        ensure_err!(refused, Error::Url { ref reason } if !reason.contains(PASSWORD));
    }
    Ok(())
}

/// A file with a password, for as long as a case needs it.
struct PasswordFile(PathBuf);

impl Drop for PasswordFile {
    fn drop(&mut self) {
        // What can't be removed is a temporary file.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The password may be right or wrong for the database: neither the store nor the refusal shows it.
async fn a_store_and_its_errors_hide_the_password(f: &Fixture) -> Verdict {
    let file = PasswordFile(std::env::temp_dir().join(format!("annals-{}", Uuid::new_v4().simple())));
    std::fs::write(&file.0, PASSWORD)?;
    let opened = f.database.open(&[("password_file", &file.0.to_string_lossy())]).await;
    let shown = match &opened {
        Ok(store) => format!("{store:?} {:?}", store.backend()),
        Err(error) => format!("{error:?} {}", error.report()),
    };
    ensure!(!shown.contains(PASSWORD), "the password is shown: {shown}");
    let missing = f.database.open(&[("password_file", "/no/such/file")]).await;
    ensure_err!(missing, Error::Url { ref reason } if reason.contains("/no/such/file"));
    if let Ok(store) = opened {
        store.close().await;
    }
    Ok(())
}
