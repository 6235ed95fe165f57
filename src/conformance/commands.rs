//! Contract sections 2 and 4: what is recorded of a command.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use crate::append::Append;
use crate::command::{Command, RecordedCommand};
use crate::event::Source;
use crate::json::Json;
use crate::position::Position;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_command_keeps_what_was_given_of_it: "2.1", "4.3";
    a_command_without_particulars_has_none: "2.1", "4.3";
    a_command_is_about_the_first_stream_of_its_request: "2.1";
    a_command_can_be_about_another_stream: "2.1";
    a_command_knows_the_positions_of_its_events: "2.1";
    a_command_is_stamped_like_its_events: "2.4";
    a_commands_data_comes_back_byte_for_byte: "2.5";
    a_command_that_was_never_given_is_not_known: "4.1";
    a_repetition_leaves_the_record_as_it_is: "4.1";
    commands_outlive_the_store: "4.3" if Durable;
];

async fn recorded(f: &Fixture, id: Uuid) -> Result<RecordedCommand, Failure> {
    f.store.command(id).await?.ok_or_else(|| Failure(format!("command {id} is not recorded")))
}

async fn a_command_keeps_what_was_given_of_it(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let command = Command::new(id)
        .with_type("PlaceOrder")?
        .with_stream(Stream::new("order", "order-1")?)
        .with_actor("ann")?
        .with_source(Source::Webhook)
        .with_data(Json::parse(r#"{"sum": 1}"#)?);
    f.store.record_command(command).await?;
    let found = recorded(f, id).await?;
    ensure_eq!((found.command_id, found.command_type.as_deref()), (id, Some("PlaceOrder")), "id and type");
    ensure_eq!(
        (found.aggregate_id.as_deref(), found.aggregate_type.as_deref()),
        (Some("order-1"), Some("order")),
        "stream"
    );
    ensure_eq!((found.actor.as_deref(), found.source), (Some("ann"), Some(Source::Webhook)), "actor and source");
    ensure_eq!(found.data, Some(Json::parse(r#"{"sum": 1}"#)?), "data");
    Ok(())
}

async fn a_command_without_particulars_has_none(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.record_command(Command::new(id)).await?;
    let found = recorded(f, id).await?;
    let texts = [found.command_type, found.aggregate_id, found.aggregate_type, found.actor];
    ensure_eq!(texts, [None, None, None, None], "type, stream, category and actor");
    ensure_eq!((found.source, found.data), (None, None), "source and data");
    Ok(())
}

async fn a_command_is_about_the_first_stream_of_its_request(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let append = Append::new()
        .to(f.stream("{x}b")?, Expected::Any, f.events(1)?)
        .to(f.stream("{x}a")?, Expected::Any, f.events(1)?)
        .command(Command::new(id));
    f.store.commit(append).await?;
    let found = recorded(f, id).await?;
    ensure_eq!(
        (found.aggregate_id.as_deref(), found.aggregate_type.as_deref()),
        (Some("{x}b"), Some("thing")),
        "stream"
    );
    Ok(())
}

async fn a_command_can_be_about_another_stream(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let command = Command::new(id).with_stream(Stream::new("customer", "customer-1")?);
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, f.events(1)?).command(command)).await?;
    let found = recorded(f, id).await?;
    let stream = (found.aggregate_id.as_deref(), found.aggregate_type.as_deref());
    ensure_eq!(stream, (Some("customer-1"), Some("customer")), "stream");
    ensure!(f.store.stream("customer-1").await?.is_none(), "the stream that the command is about was created");
    Ok(())
}

async fn a_command_knows_the_positions_of_its_events(f: &Fixture) -> Verdict {
    f.filled("before", 2).await?;
    let id = Uuid::new_v4();
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, f.events(3)?).command(Command::new(id))).await?;
    let found = recorded(f, id).await?;
    let positions = (found.first_position, found.last_position);
    ensure_eq!(positions, (Some(Position::new(3)), Some(Position::new(5))), "first and last position");
    Ok(())
}

async fn a_command_is_stamped_like_its_events(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, f.events(1)?).command(Command::new(id))).await?;
    let times: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.event_timestamp).collect();
    ensure_eq!(times, [recorded(f, id).await?.processed_at], "time of the event, and of the command");
    Ok(())
}

async fn a_commands_data_comes_back_byte_for_byte(f: &Fixture) -> Verdict {
    for text in ["[1e400, 0.10]", "{\"b\":1, \"a\":2,\"b\":\"\\u00e9\"}", "null", "\"🦀 '; --\""] {
        let id = Uuid::new_v4();
        f.store.record_command(Command::new(id).with_data(Json::parse(text)?)).await?;
        ensure_eq!(recorded(f, id).await?.data.as_ref().map(Json::as_str), Some(text), "data");
    }
    Ok(())
}

async fn a_command_that_was_never_given_is_not_known(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.record_command(Command::new(id)).await?;
    ensure!(f.store.command(Uuid::new_v4()).await?.is_none(), "a command that was never given is known");
    ensure_eq!(recorded(f, id).await?.command_id, id, "the command that was given");
    Ok(())
}

async fn a_repetition_leaves_the_record_as_it_is(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.record_command(Command::new(id).with_type("Ping")?).await?;
    let before = recorded(f, id).await?;
    f.filled("a", 1).await?;
    f.store.record_command(Command::new(id).with_type("Ping")?).await?;
    ensure_eq!(recorded(f, id).await?, before, "the record");
    Ok(())
}

async fn commands_outlive_the_store(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.record_command(Command::new(id).with_type("Ping")?).await?;
    let before = recorded(f, id).await?;
    f.store.close().await;
    let reopened = f.another().await?;
    ensure_eq!(reopened.command(id).await?, Some(before), "the record");
    reopened.close().await;
    Ok(())
}
