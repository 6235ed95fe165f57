//! `write_costs`: what each index, the hash and an index over payloads add to an insert.
//!
//! Bare inserts of whole rows, prepared, without any check by the program, so that nothing else varies: on a database with
//! the full schema, and on one for each thing that can be left out or added. Rounds take turns.

use std::time::Instant;

use super::contender::{Inserter, event_type, nanoseconds};
use super::study::{Subject, stream_name};
use super::{Contender, Plan, bytes, median, store::StoreContender};
use crate::backend::Session;
use crate::error::{Error, Result};
use crate::read::Query;
use crate::schema::model::TABLES;
use crate::schema::shape::Table;
use crate::sql::Dialect;
use crate::store::Store;

/// The path of the index over payloads that is added.
const PAYLOAD: &str = "data.number";

/// How a database differs from one with the full schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// SQLite's trigger that looks up each key before an insert is dropped.
    NoTrigger,
    NoIndex(&'static str),
    /// A unique key is dropped, and the trigger that would look it up.
    NoKey(&'static str),
    NoHash,
    Payload,
}

/// A database, and what inserting into it took so far, in microseconds an event.
struct Variant {
    change: Change,
    inserter: Box<dyn Inserter>,
    store: Store,
    batches: Vec<f64>,
    singles: Vec<f64>,
}

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let mut variants = Vec::new();
    for change in changes(subject.scheme)? {
        variants.push(Variant::open(change, subject).await?);
    }
    let mut next = 0;
    for round in 0..=plan.rounds {
        let first = next;
        for variant in &mut variants {
            next = variant.round(first, plan.thousands, round > 0).await?;
        }
    }
    report(&variants, subject);
    let sizes = bytes::sizes(&variants[0].store).await?;
    for (name, bytes) in sizes.into_iter().filter(|(name, bytes)| name.contains("events_") && *bytes > 0) {
        subject.found(format!("{name}: size"), bytes as f64 / next as f64, "bytes");
    }
    for variant in variants {
        variant.store.close().await;
    }
    hash_time(plan, subject).await
}

/// Returns the table of events as the schema's model describes it.
fn events() -> Result<&'static Table> {
    TABLES.iter().find(|table| table.name == "events").ok_or(Error::Unsupported { backend: "this", what: "costs" })
}

fn changes(scheme: &str) -> Result<Vec<Change>> {
    let mut changes = vec![Change::Nothing];
    if scheme == "sqlite" {
        changes.push(Change::NoTrigger);
    }
    let table = events()?;
    changes.extend(table.unique_keys.iter().map(|key| Change::NoKey(key.name)));
    changes.extend(table.indexes.iter().map(|index| Change::NoIndex(index.name)));
    changes.extend([Change::NoHash, Change::Payload]);
    Ok(changes)
}

impl Change {
    fn name(self) -> String {
        match self {
            Self::Nothing => "full schema".to_owned(),
            Self::NoTrigger => "trigger against replacing".to_owned(),
            Self::NoIndex(name) | Self::NoKey(name) => name.to_owned(),
            Self::NoHash => "hash, stored".to_owned(),
            Self::Payload => format!("index over {PAYLOAD}"),
        }
    }

    /// Returns what the difference is taken from.
    fn base(self, scheme: &str) -> Self {
        if matches!(self, Self::NoKey(_)) && scheme == "sqlite" { Self::NoTrigger } else { Self::Nothing }
    }

    async fn apply(self, store: &Store) -> Result<()> {
        let mut session = store.backend().session().await?;
        let sqlite = store.capabilities().sql == Some(Dialect::Sqlite);
        match self {
            Self::Nothing | Self::NoHash => Ok(()),
            Self::Payload => store.add_index(PAYLOAD).await.map(drop),
            Self::NoTrigger => drop_insert_triggers(&mut *session).await,
            Self::NoIndex(name) => session.execute(&format!("DROP INDEX \"{name}\"")).await,
            Self::NoKey(name) if sqlite => rebuild_without(&mut *session, name).await,
            Self::NoKey(name) => session.execute(&format!("ALTER TABLE events DROP CONSTRAINT \"{name}\"")).await,
        }
    }
}

/// Returns the statements in SQLite's catalog, of one type, for the table of events.
async fn catalog(session: &mut dyn Session, kind: &str) -> Result<Vec<(String, String)>> {
    let sql = format!(
        "SELECT name, sql FROM sqlite_master WHERE type = '{kind}' AND tbl_name = 'events' AND sql IS NOT NULL"
    );
    let rows = session.query(&sql).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        })
        .collect())
}

async fn drop_insert_triggers(session: &mut dyn Session) -> Result<()> {
    for (name, sql) in catalog(session, "trigger").await? {
        if sql.contains("BEFORE INSERT") {
            session.execute(&format!("DROP TRIGGER \"{name}\"")).await?;
        }
    }
    Ok(())
}

/// Makes SQLite's empty table anew without a unique key, which can't be dropped there, and without triggers.
async fn rebuild_without(session: &mut dyn Session, key: &str) -> Result<()> {
    let mut statements = catalog(session, "table").await?;
    statements.extend(catalog(session, "index").await?);
    session.execute("DROP TABLE events").await?;
    for (_, sql) in statements {
        session.execute(&without_constraint(&sql, key)).await?;
    }
    Ok(())
}

/// Takes a constraint, which ends at its first closing parenthesis, and the comma behind it out of a statement.
fn without_constraint(sql: &str, name: &str) -> String {
    let Some((before, rest)) = sql.split_once(&format!("CONSTRAINT \"{name}\"")) else { return sql.to_owned() };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{}", after.strip_prefix(',').unwrap_or(after))
}

impl Variant {
    async fn open(change: Change, subject: &mut Subject<'_>) -> Result<Self> {
        let database = subject.fresh().await?;
        let store = database.open(&[]).await?;
        change.apply(&store).await?;
        let inserter = super::raw_inserter(&*database, subject.scheme).await?;
        Ok(Self { change, inserter, store, batches: Vec::new(), singles: Vec::new() })
    }

    /// Inserts events from a number on, in batches of 100 and then one by one, and returns the next number.
    async fn round(&mut self, first: usize, thousands: usize, counts: bool) -> Result<usize> {
        let hashed = self.change != Change::NoHash;
        let mut next = first;
        for (size, requests) in [(100, thousands * 10), (1, thousands * 100)] {
            let start = Instant::now();
            for _ in 0..requests {
                self.inserter.insert(next, size, hashed).await?;
                next += size;
            }
            if counts {
                let taken = if size == 1 { &mut self.singles } else { &mut self.batches };
                taken.push(start.elapsed().as_secs_f64() * 1e6 / (size * requests) as f64);
            }
        }
        Ok(next)
    }
}

fn report(variants: &[Variant], subject: &mut Subject<'_>) {
    for variant in variants {
        let name = variant.change.name();
        if variant.change == Change::Nothing {
            subject.found(format!("{name}: an event in batches of 100"), median(variant.batches.clone()), "µs");
            subject.found(format!("{name}: an event alone"), median(variant.singles.clone()), "µs");
            continue;
        }
        let base = variant.change.base(subject.scheme);
        let Some(base) = variants.iter().find(|other| other.change == base) else { continue };
        let sign = if variant.change == Change::Payload { -1.0 } else { 1.0 };
        let difference = |base: &[f64], without: &[f64]| {
            median(base.iter().zip(without).map(|(base, without)| (base - without) * sign).collect())
        };
        let (batches, singles) =
            (difference(&base.batches, &variant.batches), difference(&base.singles, &variant.singles));
        subject.found(format!("{name}: more an event in batches of 100"), batches, "µs");
        subject.found(format!("{name}: more an event alone"), singles, "µs");
    }
}

/// Measures the time to compute the hash of an event.
async fn hash_time(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    ours.append_to_each((0..100).map(stream_name), 0..10).await?;
    let lane = ours.store().topic().lanes[0];
    let page = ours.store().page(lane, &Query::new().event_types([event_type(0)])?, 1_000).await?;
    let mut taken = Vec::new();
    for _ in 0..=plan.rounds * 10 {
        let start = Instant::now();
        for event in &page.events {
            std::hint::black_box(crate::hash::of(event));
        }
        taken.push(nanoseconds(start) as f64 / 1_000.0 / page.events.len().max(1) as f64);
    }
    subject.found("hash, computed: an event", median(taken), "µs");
    ours.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_taken_out_with_its_comma() {
        let sql = "CREATE TABLE t (a, CONSTRAINT \"k\" UNIQUE (\"a\", \"b\"), CHECK (a))";
        assert_eq!(without_constraint(sql, "k"), "CREATE TABLE t (a,  CHECK (a))");
        assert_eq!(without_constraint(sql, "other"), sql);
    }

    #[test]
    fn every_index_of_the_model_is_measured() {
        let table = events().unwrap();
        let measured = changes("postgres").unwrap().len();
        assert_eq!(measured, 1 + table.unique_keys.len() + table.indexes.len() + 2);
    }
}
