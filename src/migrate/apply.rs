//! Making the steps of a plan: under a lock, a transaction each, together with their row of the bookkeeping.

use std::time::{Duration, Instant};

use super::batches::batches;
use super::catalog::Catalog;
use super::ledger;
use super::plan::{Direction, Step, Target, plan};
use super::sql::Place;
use super::{Consent, consent_missing};
use crate::backend::Session;
use crate::error::{Error, ErrorClass, Result};
use crate::schema::{self, FIRST_VERSION};
use crate::sql::Dialect;

/// How long a runner waits for another one to end.
pub(super) const LOCK_WAIT: Duration = Duration::from_mins(10);

/// How often it looks.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// One connection that migrates.
pub(super) struct Runner<'a> {
    pub session: Box<dyn Session>,
    pub place: Place<'a>,
    pub catalog: &'a Catalog,
}

/// What came of one look at the plan.
enum Progress<'a> {
    /// Nothing is left to do.
    Finished,
    /// This step was made, and is committed.
    Made(Step<'a>),
    /// This step comes next, and runs outside a transaction.
    Outside(Step<'a>),
}

impl<'a> Runner<'a> {
    /// Makes the steps to each target in turn, and returns them.
    pub(super) async fn run(&mut self, targets: &[Target], consent: Consent) -> Result<Vec<Step<'a>>> {
        if let Some(sql) = self.place.prepare() {
            self.session.execute(sql).await?;
        }
        self.lock().await?;
        let outcome = self.locked(targets, consent).await;
        if let Some(sql) = self.place.unlock() {
            // The lock ends with the connection in any case, and the steps count for more than this.
            if let Err(error) = self.session.execute(&sql).await {
                tracing::warn!("the lock of the migrations could not be given back: {}", error.report());
            }
        }
        outcome
    }

    /// Waits until no other runner is at work. SQLite has the lock of each transaction instead.
    async fn lock(&mut self) -> Result<()> {
        let Some(sql) = self.place.try_lock() else { return Ok(()) };
        let begin = Instant::now();
        loop {
            if ledger::cell(&self.session.query(&sql).await?) == Some("1") {
                return Ok(());
            }
            if begin.elapsed() > LOCK_WAIT {
                let milliseconds = LOCK_WAIT.as_millis().try_into().unwrap_or(u64::MAX);
                return Err(Error::Deadline { operation: "waiting for another migration to end", milliseconds });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn locked(&mut self, targets: &[Target], consent: Consent) -> Result<Vec<Step<'a>>> {
        let mut made = Vec::new();
        for target in targets {
            self.check_consent(*target, consent).await?;
            self.prepare_bookkeeping().await?;
            let mut executed = None;
            loop {
                match self.next(*target, consent, executed.take()).await? {
                    Progress::Finished => break,
                    Progress::Made(step) => {
                        tracing::info!(migration = step.script.label(), direction = ?step.direction, "migrated");
                        made.push(step);
                    }
                    Progress::Outside(step) => {
                        self.execute(&step).await?;
                        executed = Some(step);
                    }
                }
            }
        }
        Ok(made)
    }

    /// Refuses before the first step what would be refused at a later one.
    async fn check_consent(&mut self, target: Target, consent: Consent) -> Result<()> {
        let applied = ledger::read(&mut *self.session, self.place).await?;
        if plan(self.catalog, &applied, target)?.iter().any(loses_events) {
            self.spare_events(consent).await?;
        }
        Ok(())
    }

    async fn spare_events(&mut self, consent: Consent) -> Result<()> {
        if consent == Consent::Withheld {
            let events = ledger::count_events(&mut *self.session, self.place).await?;
            if events > 0 {
                return Err(consent_missing("migrating down", events));
            }
        }
        Ok(())
    }

    /// Makes the next step in a transaction that begins before the bookkeeping is read: what another runner has done
    /// meanwhile is not done again.
    async fn next(&mut self, target: Target, consent: Consent, executed: Option<Step<'a>>) -> Result<Progress<'a>> {
        self.session.execute(self.place.begin()).await?;
        let outcome = self.in_transaction(target, consent, executed).await;
        self.end(outcome).await
    }

    async fn end<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if outcome.is_ok() {
            self.session.execute(self.place.commit()).await?;
        } else {
            // A connection that is gone, or an error that ended the transaction, leaves nothing to roll back.
            let _ = self.session.execute(self.place.roll_back()).await;
        }
        outcome
    }

    async fn in_transaction(
        &mut self,
        target: Target,
        consent: Consent,
        executed: Option<Step<'a>>,
    ) -> Result<Progress<'a>> {
        let applied = ledger::read(&mut *self.session, self.place).await?;
        let Some(step) = plan(self.catalog, &applied, target)?.into_iter().next() else {
            return Ok(Progress::Finished);
        };
        if step.is_transactional() {
            if loses_events(&step) {
                if let Some(sql) = self.place.lock_events() {
                    self.session.execute(&sql).await?;
                }
                self.spare_events(consent).await?;
            }
            self.execute_marked(&step).await?;
        } else if executed != Some(step) {
            return Ok(Progress::Outside(step));
        }
        self.session.execute(&self.place.record(&step)).await?;
        Ok(Progress::Made(step))
    }

    async fn execute_marked(&mut self, step: &Step<'_>) -> Result<()> {
        if let Some(sql) = self.place.mark() {
            self.session.execute(sql).await?;
        }
        self.execute(step).await?;
        self.session.execute(self.place.check_mark()).await.map_err(|error| {
            if matches!(error, Error::Backend { class: ErrorClass::Reconnect | ErrorClass::Ambiguous, .. }) {
                return error;
            }
            let label = step.script.label();
            let reason = format!(
                "{label} ends the transaction that it runs in, so that it was not written down: take BEGIN, COMMIT and \
                 ROLLBACK out of the file, or declare it with `-- annals: no-transaction` if it is one statement"
            );
            Error::invalid("migration", reason)
        })
    }

    async fn execute(&mut self, step: &Step<'_>) -> Result<()> {
        let batches = match self.place.dialect {
            Dialect::Sqlite | Dialect::Postgres => vec![step.sql()],
            Dialect::Mssql => batches(step.sql()),
        };
        for batch in batches {
            self.session.execute(batch).await.map_err(|error| failed(step, error))?;
        }
        Ok(())
    }

    /// Creates the schema and the table of the bookkeeping, where they are missing.
    async fn prepare_bookkeeping(&mut self) -> Result<()> {
        if ledger::exists(&mut *self.session, self.place).await? {
            return Ok(());
        }
        self.session.execute(self.place.begin()).await?;
        let outcome = self.create_bookkeeping().await;
        self.end(outcome).await
    }

    async fn create_bookkeeping(&mut self) -> Result<()> {
        if let Some(sql) = self.place.find_schema()
            && self.session.query(&sql).await?.is_empty()
        {
            self.session.execute(&self.place.create_schema()).await?;
        }
        if ledger::exists(&mut *self.session, self.place).await? {
            return Ok(());
        }
        self.session.execute(&schema::bookkeeping(self.place.dialect, self.place.schema)).await
    }
}

/// Returns whether the step drops the table of events.
fn loses_events(step: &Step<'_>) -> bool {
    step.direction == Direction::Down && step.script.version == FIRST_VERSION
}

/// Says which migration it was that failed.
fn failed(step: &Step<'_>, error: Error) -> Error {
    let label = step.script.label();
    match error {
        Error::Backend { backend, class, source, .. } => {
            let mut text = source.to_string();
            let mut cause = source.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            Error::backend(backend, "a migration", class, format!("{label}: {text}"))
        }
        other => other,
    }
}
