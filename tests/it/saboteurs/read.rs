//! The faults of a read.

use annals::limits::PAGE_ROWS;
use annals::{Direction, LaneId, Page, Query, RecordedEvent, Result, StreamFilter, StreamInfo};
use chrono::{DurationRound, TimeDelta};

use super::backend::Saboteur;
use super::fault::Fault;
use super::hide;

/// Reads a page with the saboteur's fault.
pub async fn read(saboteur: &Saboteur, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
    let mut asked = query.clone();
    if let Some(range) = &mut asked.stream {
        range.aggregate_id = saboteur.fold(&range.aggregate_id);
        if matches!(saboteur.fault, Fault::ShowsDeletedStreams | Fault::ShowsWhatWasReused) {
            let stream = saboteur.inner.stream(lane, &range.aggregate_id).await?;
            let deleted = stream.is_some_and(|stream| stream.deleted_at.is_some());
            asked.include_deleted |= deleted == (saboteur.fault == Fault::ShowsDeletedStreams);
        }
    }
    spoil(saboteur.fault, &mut asked);
    let mut page = match saboteur.fault {
        Fault::LimitsBeforeFiltering if !query.is_unfiltered() && query.stream.is_none() => {
            limit_first(saboteur, lane, &asked, rows).await?
        }
        Fault::MatchesNumbersAsTexts if !query.json.is_empty() => {
            numbers_as_texts(saboteur, lane, &asked, rows).await?
        }
        Fault::MatchesAnyTag if query.tags.len() > 1 => any_tag(saboteur, lane, &asked, rows).await?,
        _ => hide::read(saboteur, lane, &asked, rows).await?,
    };
    page.events = page.events.into_iter().map(|event| show(saboteur.fault, event)).collect();
    match saboteur.fault {
        Fault::ReadsTheHeadLast => {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            page.head = saboteur.inner.head(lane).await?;
            if !page.more {
                page.scanned = page.head;
            }
        }
        Fault::HidesHowFarItLooked if !page.more => {
            page.scanned = page.events.last().map_or(query.after.unwrap_or_default(), |event| event.position);
        }
        Fault::ClaimsToHaveLooked if page.more && !query.is_unfiltered() && query.direction == Direction::Forward => {
            page.scanned = page.head;
        }
        Fault::CountsPositionsByRead if query.event_types.len() == 1 => {
            for (index, event) in page.events.iter_mut().enumerate() {
                event.position = query.after.unwrap_or_default().plus(i64::try_from(index).unwrap() + 1);
            }
        }
        _ => {}
    }
    Ok(page)
}

fn spoil(fault: Fault, query: &mut Query) {
    match fault {
        Fault::AfterIsInclusive => {
            let step = if query.direction == Direction::Forward { -1 } else { 1 };
            query.after = query.after.filter(|position| position.get() > 0).map(|position| position.plus(step));
        }
        Fault::UntilIsExclusive => {
            let step = if query.direction == Direction::Forward { -1 } else { 1 };
            query.until = query.until.map(|position| position.plus(step));
        }
        Fault::IgnoresDirection => query.direction = Direction::Forward,
        Fault::TimeRangeIsInclusive => query.to = query.to.map(|time| time + TimeDelta::microseconds(1)),
        Fault::IgnoresActor => query.actor = None,
        _ => {}
    }
}

/// Shows an event as the saboteur does.
pub fn show(fault: Fault, mut event: RecordedEvent) -> RecordedEvent {
    match fault {
        Fault::CutsMicroseconds => {
            event.event_timestamp = event.event_timestamp.duration_trunc(TimeDelta::milliseconds(1)).unwrap();
        }
        Fault::HidesTags => event.tags.clear(),
        Fault::ClockGoesBackwards if event.position.get() % 2 == 0 => {
            event.event_timestamp -= TimeDelta::seconds(60);
        }
        _ => {}
    }
    event
}

/// Takes the first events of the log, and of these the ones that the query asks for, as if there were no more.
async fn limit_first(saboteur: &Saboteur, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
    let all = Query { direction: query.direction, after: query.after, until: query.until, ..Query::new() };
    let limited = saboteur.inner.read(lane, &all, rows).await?;
    let mut page = saboteur.inner.read(lane, query, rows).await?;
    page.events.retain(|event| limited.events.iter().any(|known| known.position == event.position));
    page.more = false;
    Ok(page)
}

/// Takes the events of any of the tags.
async fn any_tag(saboteur: &Saboteur, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
    let mut page = saboteur.inner.read(lane, query, rows).await?;
    for tag in &query.tags {
        let one = Query { tags: vec![tag.clone()], ..query.clone() };
        page.events.extend(saboteur.inner.read(lane, &one, rows).await?.events);
    }
    page.events.sort_by_key(|event| event.position);
    page.events.dedup_by_key(|event| event.position);
    Ok(page)
}

/// Takes the events that hold the numbers of a query, or the same as texts.
async fn numbers_as_texts(saboteur: &Saboteur, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
    let mut page = saboteur.inner.read(lane, query, rows).await?;
    let mut texts = query.clone();
    for filter in texts.json.iter_mut().filter(|filter| filter.equals.is_number()) {
        filter.equals = filter.equals.to_string().into();
    }
    if texts != *query {
        page.events.extend(saboteur.inner.read(lane, &texts, rows).await?.events);
        page.events.sort_by_key(|event| event.position);
    }
    Ok(page)
}

/// Lists streams with the saboteur's fault.
pub async fn streams(saboteur: &Saboteur, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
    let mut asked = filter.clone();
    match saboteur.fault {
        Fault::ShowsDeletedStreams => asked.include_deleted = true,
        Fault::PrefixIsAPattern => {
            if let Some(prefix) = asked.prefix.take_if(|prefix| prefix.contains(['%', '_'])) {
                let all = saboteur.inner.streams(lane, &asked).await?;
                return Ok(all.into_iter().filter(|stream| like(&prefix, &stream.aggregate_id)).collect());
            }
        }
        _ => {}
    }
    if saboteur.fault == Fault::ListsInOrderOfCreation {
        asked.limit = PAGE_ROWS;
    }
    let mut streams = saboteur.inner.streams(lane, &asked).await?;
    if saboteur.fault == Fault::ListsInOrderOfCreation {
        streams.sort_by_key(|stream| stream.created_at);
        streams.truncate(filter.limit);
    }
    Ok(streams)
}

/// Whether a text begins as a LIKE pattern says.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => true,
        Some('%') => {
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| like(rest.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut text = text.chars();
            text.next().is_some_and(|found| wanted == '_' || wanted == found) && like(rest.as_str(), text.as_str())
        }
    }
}
