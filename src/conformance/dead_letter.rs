//! Contract section 16: what can't be dealt with is tried again, and then put aside, with what follows it in its stream.

use std::time::Duration;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::members::{checkpoint, everything, group, info, nothing_comes, once, streams, takes, work};
use crate::error::Error;
use crate::position::Position;
use crate::subscription::{DeadLetter, Member};

pub(super) const CASES: &[Case] = cases![
    a_failed_event_comes_again_with_the_next_attempt: "16.4" if Sql;
    a_failed_event_holds_up_its_stream_only: "16.4" if Sql;
    a_failed_event_rests_before_it_comes_again: "16.4" if Sql;
    a_failed_event_holds_the_checkpoint: "16.3", "16.4" if Sql, OneLane;
    an_event_that_fails_for_the_last_time_is_a_dead_letter: "16.5" if Sql;
    a_dead_letter_lets_the_checkpoint_pass: "16.3", "16.5" if Sql;
    what_follows_a_dead_letter_in_its_stream_is_parked: "16.5" if Sql;
    streams_without_a_dead_letter_go_on: "16.5" if Sql;
    a_stream_stays_parked_for_the_next_member: "16.5", "16.7" if Sql;
    a_dead_letter_is_kept_where_its_member_leaves: "16.5", "16.7" if Sql;
    a_retried_stream_comes_in_order_and_goes_on: "16.6" if Sql;
    a_retry_that_fails_again_stays_with_what_follows: "16.6" if Sql;
    a_retry_of_a_stream_leaves_the_others: "16.6" if Sql;
    a_retry_waits_for_a_member: "16.6" if Sql;
    a_skipped_dead_letter_never_comes_and_the_rest_can: "16.6" if Sql;
    a_stream_whose_dead_letters_are_skipped_goes_on: "16.6" if Sql;
    dead_letters_are_listed_in_pages: "16.6" if Sql, OneLane;
    dead_letters_of_no_group_are_told: "16.6", "16.8" if Sql;
];

async fn letters(f: &Fixture) -> Result<Vec<DeadLetter>, Error> {
    f.store.dead_letters("g", None, 1_000).await
}

/// Returns stream, version and attempts of the dead letters.
async fn brief(f: &Fixture) -> Result<Vec<(String, i64, u32)>, Error> {
    let brief = |letter: DeadLetter| (letter.aggregate_id, letter.aggregate_version.get(), letter.attempts);
    Ok(letters(f).await?.into_iter().map(brief).collect())
}

/// Appends events to streams, and lets the first event of stream `s-0` fail for the last time, and all others go through.
async fn parked(f: &Fixture, count: usize, events: usize) -> Result<Member, Failure> {
    streams(f, count, events).await?;
    let member = group(f).attempts(1).join().await?;
    for _ in 0..=(count - 1) * events {
        let delivery = takes(&member).await?;
        if delivery.event().aggregate_id == "s-0" {
            member.fail(delivery, "broken")?;
        } else {
            member.ack(delivery)?;
        }
    }
    everything(f, &member).await?;
    Ok(member)
}

async fn a_failed_event_comes_again_with_the_next_attempt(f: &Fixture) -> Verdict {
    streams(f, 1, 2).await?;
    let member = group(f).attempts(10).join().await?;
    for attempt in 1..=4 {
        let delivery = takes(&member).await?;
        ensure_eq!((delivery.event().aggregate_version.get(), delivery.attempt()), (1, attempt), "version and attempt");
        member.fail(delivery, "not yet")?;
    }
    member.ack(takes(&member).await?)?;
    let next = takes(&member).await?;
    ensure_eq!((next.event().aggregate_version.get(), next.attempt()), (2, 1), "version and attempt of the next event");
    ensure_eq!(letters(f).await?.len(), 0, "dead letters");
    Ok(())
}

async fn a_failed_event_holds_up_its_stream_only(f: &Fixture) -> Verdict {
    streams(f, 4, 3).await?;
    let hour = Duration::from_hours(1);
    let member = group(f).backoff(hour, hour).join().await?;
    let first = takes(&member).await?;
    let failed = first.event().aggregate_id.clone();
    member.fail(first, "not yet")?;
    let handled = work(std::slice::from_ref(&member), 9).await?;
    once(&handled)?;
    ensure!(handled.iter().all(|event| event.stream != failed), "stream {failed} went on: {handled:?}");
    nothing_comes(&member).await
}

async fn a_failed_event_rests_before_it_comes_again(f: &Fixture) -> Verdict {
    streams(f, 1, 1).await?;
    let rest = Duration::from_millis(400);
    let member = group(f).backoff(rest, rest).join().await?;
    let first = takes(&member).await?;
    let start = std::time::Instant::now();
    member.fail(first, "not yet")?;
    takes(&member).await?;
    ensure!(start.elapsed() >= rest / 2, "it came again after {:?}", start.elapsed());
    Ok(())
}

async fn a_failed_event_holds_the_checkpoint(f: &Fixture) -> Verdict {
    streams(f, 3, 1).await?;
    let hour = Duration::from_hours(1);
    let member = group(f).backoff(hour, hour).join().await?;
    for _ in 0..3 {
        let delivery = takes(&member).await?;
        if delivery.event().position == Position::new(2) {
            member.fail(delivery, "not yet")?;
        } else {
            member.ack(delivery)?;
        }
    }
    member.save().await?;
    ensure_eq!(checkpoint(f).await?, [1], "the checkpoint");
    Ok(())
}

async fn an_event_that_fails_for_the_last_time_is_a_dead_letter(f: &Fixture) -> Verdict {
    streams(f, 1, 1).await?;
    let member = group(f).attempts(3).join().await?;
    for attempt in 1..=3 {
        member.fail(takes(&member).await?, format_args!("reason {attempt}"))?;
    }
    nothing_comes(&member).await?;
    member.save().await?;
    let letters = letters(f).await?;
    ensure_eq!(letters.len(), 1, "dead letters");
    let (letter, event) = (&letters[0], f.store.read_stream("s-0").await?.remove(0));
    ensure_eq!((letter.lane, letter.position), (event.lane, event.position), "its place");
    ensure_eq!((letter.event_id, &letter.aggregate_id), (event.event_id, &event.aggregate_id), "its event");
    ensure_eq!((letter.attempts, letter.reason.as_deref()), (3, Some("reason 3")), "how it failed");
    ensure!(letter.first_failed_at <= letter.last_failed_at, "when it failed: {letter:?}");
    ensure!(letter.first_failed_at.is_some() && letter.due_at.is_none(), "how it stands: {letter:?}");
    ensure_eq!(info(f).await?.dead_letters, 1, "dead letters in the listing");
    Ok(())
}

async fn a_dead_letter_lets_the_checkpoint_pass(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 1).await?;
    ensure_eq!(brief(f).await?, [("s-0".to_owned(), 1, 1)], "dead letters");
    nothing_comes(&member).await
}

async fn what_follows_a_dead_letter_in_its_stream_is_parked(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 3).await?;
    streams(f, 1, 1).await?;
    everything(f, &member).await?;
    let expected = [(1, 1), (2, 0), (3, 0), (4, 0)].map(|(version, attempts)| ("s-0".to_owned(), version, attempts));
    ensure_eq!(brief(f).await?, expected, "dead letters");
    Ok(())
}

async fn streams_without_a_dead_letter_go_on(f: &Fixture) -> Verdict {
    let member = parked(f, 4, 3).await?;
    streams(f, 4, 1).await?;
    let handled = work(std::slice::from_ref(&member), 3).await?;
    ensure!(handled.iter().all(|event| event.stream != "s-0" && event.version == 4), "what came: {handled:?}");
    everything(f, &member).await?;
    ensure_eq!(brief(f).await?.len(), 4, "dead letters");
    Ok(())
}

async fn a_stream_stays_parked_for_the_next_member(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 1).await?;
    member.leave().await?;
    streams(f, 1, 1).await?;
    let member = group(f).join().await?;
    everything(f, &member).await?;
    ensure_eq!(brief(f).await?, [("s-0".to_owned(), 1, 1), ("s-0".to_owned(), 2, 0)], "dead letters");
    Ok(())
}

async fn a_dead_letter_is_kept_where_its_member_leaves(f: &Fixture) -> Verdict {
    streams(f, 2, 1).await?;
    let member = group(f).attempts(1).save_after(1_000, Duration::from_mins(1)).join().await?;
    let (first, _second) = (takes(&member).await?, takes(&member).await?);
    let stream = first.event().aggregate_id.clone();
    member.fail(first, "broken")?;
    member.leave().await?;
    ensure_eq!(brief(f).await?, [(stream.clone(), 1, 1)], "dead letters");
    let member = group(f).join().await?;
    let handled = work(std::slice::from_ref(&member), 1).await?;
    ensure!(handled[0].stream != stream, "what is a dead letter came again");
    everything(f, &member).await
}

async fn a_retried_stream_comes_in_order_and_goes_on(f: &Fixture) -> Verdict {
    let member = parked(f, 2, 3).await?;
    ensure_eq!(f.store.retry_dead_letters("g", None).await?, 1, "streams to retry");
    for version in 1..=3 {
        let delivery = takes(&member).await?;
        let event = delivery.event();
        let found = (event.aggregate_id.as_str(), event.aggregate_version.get(), delivery.attempt());
        ensure_eq!(found, ("s-0", version, 1), "stream, version and attempt");
        member.ack(delivery)?;
    }
    member.save().await?;
    ensure_eq!(brief(f).await?, [], "dead letters");
    streams(f, 1, 1).await?;
    let handled = work(std::slice::from_ref(&member), 1).await?;
    ensure_eq!(handled[0].version, 4, "version of the event after the dead letters");
    everything(f, &member).await
}

async fn a_retry_that_fails_again_stays_with_what_follows(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 3).await?;
    f.store.retry_dead_letters("g", Some("s-0")).await?;
    member.ack(takes(&member).await?)?;
    member.fail(takes(&member).await?, "still broken")?;
    member.save().await?;
    nothing_comes(&member).await?;
    ensure_eq!(brief(f).await?, [("s-0".to_owned(), 2, 1), ("s-0".to_owned(), 3, 0)], "dead letters");
    let letter = letters(f).await?.remove(0);
    ensure_eq!((letter.reason.as_deref(), letter.due_at), (Some("still broken"), None), "how it stands");
    ensure!(letter.first_failed_at.is_some(), "it has no time of its first failure");
    Ok(())
}

async fn a_retry_of_a_stream_leaves_the_others(f: &Fixture) -> Verdict {
    streams(f, 3, 1).await?;
    let member = group(f).attempts(1).join().await?;
    for _ in 0..3 {
        member.fail(takes(&member).await?, "broken")?;
    }
    member.save().await?;
    ensure_eq!(f.store.retry_dead_letters("g", Some("s-1")).await?, 1, "streams to retry");
    ensure_eq!(f.store.retry_dead_letters("g", Some("s-9")).await?, 0, "streams to retry that have no dead letters");
    let handled = work(std::slice::from_ref(&member), 1).await?;
    ensure_eq!(handled[0].stream, "s-1", "the stream that came");
    member.save().await?;
    nothing_comes(&member).await?;
    let mut left: Vec<String> = brief(f).await?.into_iter().map(|(stream, ..)| stream).collect();
    left.sort();
    ensure_eq!(left, ["s-0", "s-2"], "streams with dead letters");
    Ok(())
}

async fn a_retry_waits_for_a_member(f: &Fixture) -> Verdict {
    parked(f, 1, 2).await?.leave().await?;
    f.store.retry_dead_letters("g", None).await?;
    ensure!(letters(f).await?[0].due_at.is_some(), "the first dead letter is not due");
    let member = group(f).join().await?;
    let handled = work(std::slice::from_ref(&member), 2).await?;
    ensure_eq!([handled[0].version, handled[1].version], [1, 2], "versions");
    member.save().await?;
    ensure_eq!(brief(f).await?, [], "dead letters");
    Ok(())
}

async fn a_skipped_dead_letter_never_comes_and_the_rest_can(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 3).await?;
    let first = letters(f).await?.remove(0);
    ensure!(f.store.skip_dead_letter("g", first.lane, first.position).await?, "there was nothing to skip");
    ensure!(!f.store.skip_dead_letter("g", first.lane, first.position).await?, "it was skipped twice");
    nothing_comes(&member).await?;
    ensure_eq!(brief(f).await?, [("s-0".to_owned(), 2, 0), ("s-0".to_owned(), 3, 0)], "dead letters");
    f.store.retry_dead_letters("g", None).await?;
    let handled = work(std::slice::from_ref(&member), 2).await?;
    ensure_eq!([handled[0].version, handled[1].version], [2, 3], "versions");
    Ok(())
}

async fn a_stream_whose_dead_letters_are_skipped_goes_on(f: &Fixture) -> Verdict {
    let member = parked(f, 1, 1).await?;
    let first = letters(f).await?.remove(0);
    f.store.skip_dead_letter("g", first.lane, first.position).await?;
    streams(f, 1, 2).await?;
    let handled = work(std::slice::from_ref(&member), 2).await?;
    ensure_eq!([handled[0].version, handled[1].version], [2, 3], "versions");
    ensure_eq!(brief(f).await?, [], "dead letters");
    Ok(())
}

async fn dead_letters_are_listed_in_pages(f: &Fixture) -> Verdict {
    parked(f, 1, 7).await?;
    let all = letters(f).await?;
    ensure_eq!(all.len(), 7, "dead letters");
    let mut found: Vec<DeadLetter> = Vec::new();
    for _ in 0..4 {
        let after = found.last().map(|letter| (letter.lane, letter.position));
        found.extend(f.store.dead_letters("g", after, 2).await?);
    }
    ensure_eq!(found, all, "what the pages hold");
    Ok(())
}

async fn dead_letters_of_no_group_are_told(f: &Fixture) -> Verdict {
    f.store.durable("d").try_open().await?.close().await?;
    for name in ["none", "d"] {
        ensure_err!(f.store.dead_letters(name, None, 1).await, Error::SubscriptionNotFound { .. });
        ensure_err!(f.store.retry_dead_letters(name, None).await, Error::SubscriptionNotFound { .. });
        let lane = f.store.topic().lanes[0];
        ensure_err!(f.store.skip_dead_letter(name, lane, Position::new(1)).await, Error::SubscriptionNotFound { .. });
    }
    Ok(())
}
