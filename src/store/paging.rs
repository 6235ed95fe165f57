//! Reading page after page, one ahead of the caller where a server does that.

use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::Store;
use super::reading::looks_back;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::LaneId;
use crate::read::{Direction, Query};

/// Events of one page where a caller reads without naming a size.
const PAGE: usize = 1_000;

/// The pages of a read.
pub(super) enum Pages {
    /// The caller reads: the first page, which is the only one most often, and all of them where that is cheaper.
    Here(Box<Reading>),
    /// A task reads the next page while the caller deals with one.
    Ahead(mpsc::Receiver<Ahead>),
}

/// What a task has read.
pub(super) enum Ahead {
    Page(Vec<RecordedEvent>),
    /// There are no more. It is told, so that a task that is lost is not taken for the end.
    End,
    /// The page could not be read, which the caller is to find out for himself: it may be over by then.
    Failed(Box<Reading>),
}

/// A paged read between two pages.
pub(super) struct Reading {
    store: Store,
    query: Query,
    /// The lanes that are still to be read, the current one first.
    lanes: Vec<LaneId>,
    /// What is still to be read of the current lane; `None` before its first page.
    rest: Option<Query>,
    left: u64,
    /// How many events to ask for at once.
    rows: usize,
}

impl Pages {
    pub(super) fn new(store: Store, query: Query, lanes: Vec<LaneId>) -> Self {
        let left = query.limit.unwrap_or(u64::MAX);
        Self::Here(Box::new(Reading { store, query, lanes, rest: None, left, rows: PAGE }))
    }

    /// Returns the next page, and what gives those after it.
    pub(super) async fn next(self) -> Result<Option<(Vec<RecordedEvent>, Self)>> {
        let mut reading = match self {
            Self::Here(reading) => reading,
            Self::Ahead(mut pages) => match pages.recv().await.ok_or(Error::Closed)? {
                Ahead::Page(events) => return Ok(Some((events, Self::Ahead(pages)))),
                Ahead::End => return Ok(None),
                Ahead::Failed(reading) => reading,
            },
        };
        let Some(events) = reading.next_page().await? else { return Ok(None) };
        let ahead = !reading.is_done() && reading.store.inner.backend.reads_ahead();
        Ok(Some((events, if ahead { Self::Ahead(reading.ahead()) } else { Self::Here(reading) })))
    }
}

impl Reading {
    fn is_done(&self) -> bool {
        self.lanes.is_empty() || self.left == 0
    }

    /// Reads on in a task that is one page ahead, and ends once nobody takes them.
    fn ahead(mut self: Box<Self>) -> mpsc::Receiver<Ahead> {
        let (sender, pages) = mpsc::channel(1);
        let work = async move {
            while let Ok(place) = sender.reserve().await {
                match self.next_page().await {
                    Ok(Some(events)) => place.send(Ahead::Page(events)),
                    Ok(None) => return place.send(Ahead::End),
                    Err(error) => {
                        tracing::debug!(error = %error.report(), "a page could not be read ahead");
                        return place.send(Ahead::Failed(self));
                    }
                }
            }
        };
        tokio::spawn(work.in_current_span());
        pages
    }

    /// Reads a page. After an error, the next call reads the same.
    async fn next_page(&mut self) -> Result<Option<Vec<RecordedEvent>>> {
        if self.is_done() {
            return Ok(None);
        }
        let lane = self.lanes[0];
        let rows = usize::try_from(self.left).unwrap_or(PAGE).min(self.rows);
        let mut query = match &self.rest {
            Some(rest) => rest.clone(),
            None if looks_back(&self.query) => self.store.resolve_as_of(lane, &self.query).await?,
            None => self.query.clone(),
        };
        let page = self.store.page(lane, &query, rows).await?;
        self.left -= page.events.len() as u64;
        self.rows = self.store.rows_after(&page.events, PAGE);
        if page.more {
            if query.direction == Direction::Forward {
                query.until = Some(query.until.map_or(page.head, |until| until.min(page.head)));
            }
            query.after = Some(page.scanned);
            self.rest = Some(query);
        } else {
            self.lanes.remove(0);
            self.rest = None;
        }
        Ok(Some(page.events))
    }
}
