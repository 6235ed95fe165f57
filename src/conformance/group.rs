//! Contract section 16: the members of a consumer group share its events by stream.

use std::time::Duration;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::members::{
    CALM, Handled, LEASE, PATIENCE, checkpoint, count_shares, everything, group, in_order, info, nothing_comes, once,
    settled, streams, takes, work,
};
use super::prompt::{dialect, table};
use crate::error::Error;
use crate::position::Position;
use crate::read::Query;
use crate::sql::Dialect;
use crate::stream::Expected;
use crate::subscription::Start;

pub(super) const CASES: &[Case] = cases![
    every_event_is_dealt_with_once_by_one_of_three_members: "16.1", "16.2" if Sql;
    events_that_come_later_are_shared_too: "16.1" if Sql;
    shares_are_divided_evenly_among_the_members: "16.1", "16.7" if Sql;
    a_group_keeps_its_number_of_shares: "16.1" if Sql;
    the_next_event_of_a_stream_comes_once_the_last_is_dealt_with: "16.2" if Sql;
    no_more_events_are_handed_out_than_may_be: "16.2" if Sql;
    a_delivery_that_is_dropped_comes_again: "16.2", "16.4" if Sql;
    a_dropped_wait_for_a_delivery_loses_nothing: "16.2" if Sql;
    the_checkpoint_is_the_least_of_what_is_unfinished: "16.3" if Sql, OneLane;
    the_checkpoint_of_a_group_is_the_least_of_its_members: "16.3" if Sql, OneLane;
    a_filter_that_matches_nothing_moves_the_checkpoint_of_a_group: "16.3" if Sql;
    what_was_acknowledged_does_not_come_again_after_leaving: "16.3", "16.7" if Sql;
    what_was_not_acknowledged_comes_again_after_leaving: "16.3", "16.7" if Sql;
    a_member_that_joins_takes_its_part_and_the_order_stays: "16.2", "16.7" if Sql;
    a_share_is_handed_over_after_what_is_in_work: "16.2", "16.7" if Sql;
    a_member_that_leaves_is_followed_by_the_others: "16.7" if Sql;
    a_member_that_is_dropped_is_followed_at_once: "16.7" if Sql;
    a_member_that_is_killed_is_followed_by_the_others: "16.7" if Sql, Durable;
    a_killed_member_that_seems_alive_for_years_is_followed: "16.7" if Sql, Durable;
    a_member_that_lost_a_share_does_not_move_its_checkpoint: "16.7" if Sql, Durable;
    a_member_that_was_given_up_joins_anew: "16.7" if Sql;
    the_members_of_several_lanes_share_all_of_them: "16.1" if Sql, Durable;
    the_deletion_of_a_stream_is_an_event_of_it: "16.1", "8.1" if Sql;
    a_group_begins_where_it_says: "16.8" if Sql;
    a_name_stands_for_one_filter_and_one_kind: "16.8" if Sql;
    a_group_with_members_is_not_deleted: "16.8" if Sql;
    a_deleted_group_ends_for_who_did_not_notice: "16.8" if Sql;
    a_listing_shows_the_members_of_a_group: "16.8" if Sql;
    closing_the_store_ends_the_wait_of_a_member: "16.7" if Sql, Durable;
];

async fn every_event_is_dealt_with_once_by_one_of_three_members(f: &Fixture) -> Verdict {
    let members = [group(f).join().await?, group(f).join().await?, group(f).join().await?];
    settled(&members, &[6, 5, 5], f).await?;
    streams(f, 24, 5).await?;
    let handled = work(&members, 120).await?;
    once(&handled)?;
    in_order(&handled)?;
    for member in 0..3 {
        ensure!(handled.iter().any(|event| event.member == member), "member {member} had nothing to do");
    }
    for stream in 0..24 {
        let of: Vec<&Handled> = handled.iter().filter(|event| event.stream == format!("s-{stream}")).collect();
        ensure!(of.iter().all(|event| event.member == of[0].member), "several members had stream {stream}: {of:?}");
    }
    Ok(())
}

async fn events_that_come_later_are_shared_too(f: &Fixture) -> Verdict {
    let members = [group(f).join().await?, group(f).join().await?];
    for round in 1..=5 {
        streams(f, 4, 1).await?;
        let handled = work(&members, 4).await?;
        ensure!(handled.iter().all(|event| event.version == round), "round {round}: {handled:?}");
    }
    Ok(())
}

async fn shares_are_divided_evenly_among_the_members(f: &Fixture) -> Verdict {
    let first = group(f).join().await?;
    let second = group(f).join().await?;
    let third = group(f).join().await?;
    let members = [first, second, third];
    settled(&members, &[6, 5, 5], f).await?;
    let [first, second, third] = members;
    second.leave().await?;
    let members = [first, third];
    settled(&members, &[8, 8], f).await
}

async fn a_group_keeps_its_number_of_shares(f: &Fixture) -> Verdict {
    let lanes = f.store.topic().lanes.len();
    let first = f.store.group("g").lease(LEASE).shares(3).join().await?;
    let second = f.store.group("g").lease(LEASE).shares(40).join().await?;
    ensure_eq!(info(f).await?.shares, 3_usize.div_ceil(lanes) * lanes, "shares");
    drop((first, second));
    ensure_err!(f.store.group("h").shares(0).join().await.map(drop), Error::Invalid { what: "shares", .. });
    ensure_err!(f.store.group("h").shares(1_025).join().await.map(drop), Error::Invalid { what: "shares", .. });
    Ok(())
}

async fn the_next_event_of_a_stream_comes_once_the_last_is_dealt_with(f: &Fixture) -> Verdict {
    streams(f, 3, 2).await?;
    let member = group(f).join().await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(takes(&member).await?);
    }
    ensure!(held.iter().all(|delivery| delivery.event().aggregate_version.get() == 1), "the first ones: {held:?}");
    nothing_comes(&member).await?;
    let first = held.remove(1);
    let stream = first.event().aggregate_id.clone();
    member.ack(first)?;
    let next = takes(&member).await?;
    ensure_eq!((&next.event().aggregate_id, next.event().aggregate_version.get()), (&stream, 2), "the next event");
    nothing_comes(&member).await
}

async fn no_more_events_are_handed_out_than_may_be(f: &Fixture) -> Verdict {
    streams(f, 5, 1).await?;
    let member = group(f).in_flight(2).join().await?;
    let (first, _second) = (takes(&member).await?, takes(&member).await?);
    nothing_comes(&member).await?;
    member.ack(first)?;
    let _third = takes(&member).await?;
    nothing_comes(&member).await
}

async fn a_delivery_that_is_dropped_comes_again(f: &Fixture) -> Verdict {
    streams(f, 1, 1).await?;
    let member = group(f).attempts(2).join().await?;
    for _ in 0..4 {
        let delivery = takes(&member).await?;
        ensure_eq!(delivery.attempt(), 1, "attempt");
        drop(delivery);
    }
    Ok(())
}

async fn a_dropped_wait_for_a_delivery_loses_nothing(f: &Fixture) -> Verdict {
    let member = group(f).join().await?;
    let append = streams(f, 8, 5);
    let polls = async {
        for _ in 0..100 {
            // Whatever it returns is dropped, and so given back.
            let _ = tokio::time::timeout(Duration::from_micros(200), member.next()).await;
        }
    };
    tokio::join!(append, polls).0?;
    let handled = work(std::slice::from_ref(&member), 40).await?;
    once(&handled)?;
    in_order(&handled)
}

async fn the_checkpoint_is_the_least_of_what_is_unfinished(f: &Fixture) -> Verdict {
    streams(f, 4, 1).await?;
    let member = group(f).join().await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(takes(&member).await?);
    }
    held.sort_by_key(|delivery| delivery.event().position);
    member.save().await?;
    ensure_eq!(checkpoint(f).await?, [0], "the checkpoint before anything is acknowledged");
    member.ack(held.remove(3))?;
    member.ack(held.remove(1))?;
    member.save().await?;
    ensure_eq!(checkpoint(f).await?, [0], "the checkpoint with the first event in work");
    member.ack(held.remove(0))?;
    member.save().await?;
    ensure_eq!(checkpoint(f).await?, [2], "the checkpoint with the third event in work");
    member.ack(held.remove(0))?;
    member.save().await?;
    ensure_eq!(checkpoint(f).await?, [4], "the checkpoint after all");
    let lane = f.store.topic().lanes[0];
    f.store.wait_for("g", (lane, Position::new(4)), Duration::ZERO).await?;
    Ok(())
}

async fn the_checkpoint_of_a_group_is_the_least_of_its_members(f: &Fixture) -> Verdict {
    let members = [group(f).join().await?, group(f).join().await?];
    settled(&members, &[8, 8], f).await?;
    streams(f, 16, 1).await?;
    let mut held = Vec::new();
    let mut first = None;
    while held.len() < 16 {
        for (number, member) in members.iter().enumerate() {
            if let Some(delivery) = member.try_next()? {
                if delivery.event().position == Position::new(1) {
                    first = Some(number);
                }
                held.push((number, delivery));
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = first.ok_or_else(|| Failure("nobody got the first event".into()))?;
    let (of_first, of_other): (Vec<_>, Vec<_>) = held.into_iter().partition(|(number, _)| *number == first);
    let other = 1 - first;
    for (_, delivery) in of_other {
        members[other].ack(delivery)?;
    }
    members[other].save().await?;
    ensure_eq!(checkpoint(f).await?, [0], "the checkpoint while one member has done nothing");
    for (_, delivery) in of_first {
        members[first].ack(delivery)?;
    }
    members[first].save().await?;
    ensure_eq!(checkpoint(f).await?, [16], "the checkpoint once both are done");
    Ok(())
}

async fn a_filter_that_matches_nothing_moves_the_checkpoint_of_a_group(f: &Fixture) -> Verdict {
    streams(f, 5, 3).await?;
    let member = group(f).query(Query::new().event_types(["Never"])?).join().await?;
    everything(f, &member).await
}

async fn what_was_acknowledged_does_not_come_again_after_leaving(f: &Fixture) -> Verdict {
    streams(f, 6, 2).await?;
    let member = group(f).save_after(1_000, Duration::from_mins(1)).join().await?;
    let mut handled = work(std::slice::from_ref(&member), 7).await?;
    member.leave().await?;
    let member = group(f).join().await?;
    handled.extend(work(std::slice::from_ref(&member), 5).await?);
    once(&handled)?;
    in_order(&handled)?;
    nothing_comes(&member).await
}

async fn what_was_not_acknowledged_comes_again_after_leaving(f: &Fixture) -> Verdict {
    streams(f, 1, 2).await?;
    let member = group(f).join().await?;
    let delivery = takes(&member).await?;
    member.leave().await?;
    drop(delivery);
    let member = group(f).join().await?;
    let handled = work(std::slice::from_ref(&member), 2).await?;
    in_order(&handled)
}

async fn a_member_that_joins_takes_its_part_and_the_order_stays(f: &Fixture) -> Verdict {
    streams(f, 20, 10).await?;
    let first = group(f).join().await?;
    let mut handled = work(std::slice::from_ref(&first), 50).await?;
    let members = [first, group(f).join().await?];
    settled(&members, &[8, 8], f).await?;
    handled.extend(work(&members, 150).await?);
    once(&handled)?;
    in_order(&handled)?;
    ensure!(handled.iter().any(|event| event.member == 1), "the second member had nothing to do");
    Ok(())
}

async fn a_share_is_handed_over_after_what_is_in_work(f: &Fixture) -> Verdict {
    streams(f, 16, 2).await?;
    let first = group(f).join().await?;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(takes(&first).await?);
    }
    let second = group(f).join().await?;
    // Shares in which nothing is handed out go over; of the streams of the others, no event does.
    let busy = |stream: &str| held.iter().any(|delivery| delivery.event().aggregate_id == stream);
    for _ in 0..30 {
        if let Some(delivery) = second.try_next()? {
            let stream = &delivery.event().aggregate_id;
            ensure!(!busy(stream), "the second member got stream {stream}, of which an event is in work");
        }
        tokio::time::sleep(LEASE / 30).await;
    }
    held.into_iter().try_for_each(|delivery| first.ack(delivery))?;
    let members = [first, second];
    let handled = work(&members, 16).await?;
    ensure!(handled.iter().all(|event| event.version == 2), "the second events: {handled:?}");
    once(&handled)?;
    settled(&members, &[8, 8], f).await
}

async fn a_member_that_leaves_is_followed_by_the_others(f: &Fixture) -> Verdict {
    let members = [group(f).join().await?, group(f).join().await?];
    settled(&members, &[8, 8], f).await?;
    streams(f, 10, 4).await?;
    let mut handled = work(&members, 15).await?;
    let [first, second] = members;
    first.leave().await?;
    handled.extend(work(&[second], 25).await?);
    once(&handled)?;
    in_order(&handled)
}

async fn a_member_that_is_dropped_is_followed_at_once(f: &Fixture) -> Verdict {
    let hour = Duration::from_hours(1);
    let first = group(f).lease(hour).join().await?;
    let second = group(f).lease(hour).join().await?;
    let members = [first, second];
    settled(&members, &[8, 8], f).await?;
    let [first, second] = members;
    drop(first);
    settled(&[second], &[16], f).await
}

async fn a_member_that_is_killed_is_followed_by_the_others(f: &Fixture) -> Verdict {
    let doomed = f.another().await?;
    let first = doomed.group("g").lease(LEASE).save_after(1, Duration::ZERO).join().await?;
    let members = [first, group(f).lease(LEASE).join().await?];
    settled(&members, &[8, 8], f).await?;
    streams(f, 10, 4).await?;
    work(&members, 20).await?;
    let [first, second] = members;
    doomed.close().await;
    drop(first);
    settled(std::slice::from_ref(&second), &[16], f).await?;
    streams(f, 10, 1).await?;
    let mut last = Vec::new();
    while last.len() < 10 {
        let delivery = takes(&second).await?;
        if delivery.event().aggregate_version.get() == 5 {
            last.push(delivery.event().aggregate_id.clone());
        }
        second.ack(delivery)?;
    }
    everything(f, &second).await
}

async fn a_killed_member_that_seems_alive_for_years_is_followed(f: &Fixture) -> Verdict {
    let doomed = f.another().await?;
    let first = doomed.group("g").lease(LEASE).join().await?;
    settled(std::slice::from_ref(&first), &[16], f).await?;
    doomed.close().await;
    drop(first);
    let far = match dialect(f) {
        Dialect::Sqlite => "4000000000000000",
        Dialect::Postgres => "TIMESTAMPTZ '2096-01-01 00:00:00+00'",
        Dialect::Mssql => "CAST('2096-01-01T00:00:00' AS datetime2(6))",
    };
    let sql = format!("UPDATE {} SET seen_until = {far}", table(f, "subscription_members"));
    f.store.backend().session().await?.execute(&sql).await?;
    let second = group(f).lease(LEASE).join().await?;
    settled(&[second], &[16], f).await
}

async fn a_member_that_lost_a_share_does_not_move_its_checkpoint(f: &Fixture) -> Verdict {
    streams(f, 8, 1).await?;
    let stale = group(f).join().await?;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(takes(&stale).await?);
    }
    let other = f.another().await?;
    let heir = other.group("g").lease(CALM).in_flight(100).join().await?;
    let heir_id = info(f).await?.members.pop().map(|member| member.member).unwrap_or_default();
    let shares = table(f, "subscription_shares");
    let sql = format!("UPDATE {shares} SET lease_owner = '{heir_id}'");
    f.store.backend().session().await?.execute(&sql).await?;
    for delivery in held {
        // It may know already.
        let _ = stale.ack(delivery);
    }
    stale.save().await?;
    let checkpoint = checkpoint(f).await?;
    ensure!(checkpoint.iter().all(|position| *position == 0), "the checkpoint was moved to {checkpoint:?}");
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(takes(&heir).await?);
    }
    drop((taken, stale, heir));
    other.close().await;
    Ok(())
}

async fn a_member_that_was_given_up_joins_anew(f: &Fixture) -> Verdict {
    streams(f, 1, 1).await?;
    let member = group(f).join().await?;
    let delivery = takes(&member).await?;
    let mut session = f.store.backend().session().await?;
    session.execute(&format!("UPDATE {} SET lease_owner = NULL", table(f, "subscription_shares"))).await?;
    session.execute(&format!("DELETE FROM {}", table(f, "subscription_members"))).await?;
    let again = takes(&member).await?;
    ensure_eq!(again.event().position, delivery.event().position, "the event that was lost and came again");
    ensure_err!(member.ack(delivery), Error::LeaseLost { .. });
    member.ack(again)?;
    everything(f, &member).await
}

async fn the_members_of_several_lanes_share_all_of_them(f: &Fixture) -> Verdict {
    f.store.create_topic("lanes", 3).await?;
    let store = f.database.open(&[("topic", "lanes")]).await?;
    let f = &Fixture { store, ..f.clone() };
    let members = [group(f).join().await?, group(f).join().await?];
    settled(&members, &[9, 9], f).await?;
    streams(f, 20, 3).await?;
    let handled = work(&members, 60).await?;
    once(&handled)?;
    in_order(&handled)?;
    for member in &members {
        member.save().await?;
    }
    everything(f, &members[0]).await?;
    drop(members);
    f.store.close().await;
    Ok(())
}

async fn the_deletion_of_a_stream_is_an_event_of_it(f: &Fixture) -> Verdict {
    let stream = f.filled("s-0", 2).await?;
    f.store.delete(&stream, Expected::Any).await?;
    let member = group(f).join().await?;
    in_order(&work(std::slice::from_ref(&member), 3).await?)?;
    everything(f, &member).await
}

async fn a_group_begins_where_it_says(f: &Fixture) -> Verdict {
    streams(f, 3, 1).await?;
    let member = group(f).start(Start::Now).join().await?;
    streams(f, 3, 1).await?;
    let handled = work(std::slice::from_ref(&member), 3).await?;
    ensure!(handled.iter().all(|event| event.version == 2), "events before the start came: {handled:?}");
    nothing_comes(&member).await?;
    member.leave().await?;
    // It goes on where it stands, whatever the next member says.
    streams(f, 3, 1).await?;
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let member = group(f).start(Start::At(later)).join().await?;
    work(std::slice::from_ref(&member), 3).await.map(drop)
}

async fn a_name_stands_for_one_filter_and_one_kind(f: &Fixture) -> Verdict {
    let member = group(f).join().await?;
    let other = Query::new().event_types(["Other"])?;
    ensure_err!(group(f).query(other).join().await.map(drop), Error::FilterChanged { .. });
    ensure_err!(f.store.durable("g").try_open().await.map(drop), Error::Invalid { what: "subscription", .. });
    f.store.durable("d").try_open().await?.close().await?;
    ensure_err!(f.store.group("d").join().await.map(drop), Error::Invalid { what: "subscription", .. });
    member.leave().await?;
    Ok(())
}

async fn a_group_with_members_is_not_deleted(f: &Fixture) -> Verdict {
    streams(f, 2, 1).await?;
    let member = group(f).attempts(1).join().await?;
    member.fail(takes(&member).await?, "broken")?;
    member.ack(takes(&member).await?)?;
    member.save().await?;
    ensure_err!(f.store.delete_subscription("g").await, Error::LeaseHeld { .. });
    member.leave().await?;
    ensure!(f.store.delete_subscription("g").await?, "there was nothing to delete");
    ensure!(!f.store.delete_subscription("g").await?, "it was deleted twice");
    ensure_err!(f.store.dead_letters("g", None, 10).await, Error::SubscriptionNotFound { .. });
    let member = group(f).join().await?;
    ensure_eq!(info(f).await?.dead_letters, 0, "dead letters of the new group");
    work(&[member], 2).await.map(drop)
}

async fn a_deleted_group_ends_for_who_did_not_notice(f: &Fixture) -> Verdict {
    let member = group(f).join().await?;
    let mut session = f.store.backend().session().await?;
    for name in ["subscription_members", "subscription_shares", "subscriptions"] {
        session.execute(&format!("DELETE FROM {}", table(f, name))).await?;
    }
    let told = tokio::time::timeout(PATIENCE, member.next()).await;
    let told = told.map_err(|_| Failure("the member was not told".into()))?;
    ensure_err!(told, Error::SubscriptionNotFound { .. });
    Ok(())
}

async fn a_listing_shows_the_members_of_a_group(f: &Fixture) -> Verdict {
    streams(f, 3, 1).await?;
    f.store.durable("d").try_open().await?.close().await?;
    let members = [group(f).join().await?, group(f).join().await?];
    settled(&members, &[8, 8], f).await?;
    let found = info(f).await?;
    ensure_eq!(count_shares(&found), [found.shares / 2, found.shares / 2], "shares of the members");
    ensure!(found.members.iter().all(|member| member.is_alive), "members that are not alive: {found:?}");
    let all = f.store.subscriptions().await?;
    let of = |name: &str| all.iter().find(|info| info.name == name);
    ensure!(of("d").is_some_and(|info| info.group.is_none()), "a subscription of one process is a group");
    ensure!(of("g").is_some_and(|info| info.is_running && info.lag == 3), "the group is {:?}", of("g"));
    Ok(())
}

async fn closing_the_store_ends_the_wait_of_a_member(f: &Fixture) -> Verdict {
    let store = f.another().await?;
    let member = store.group("g").lease(LEASE).join().await?;
    let (waited, ()) = tokio::join!(tokio::time::timeout(PATIENCE, member.next()), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.close().await;
    });
    ensure_err!(waited.map_err(|_| Failure("the wait went on".into()))?, Error::Closed);
    Ok(())
}
