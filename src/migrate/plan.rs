//! From what is known and what was applied to the steps that are left: pure.

use chrono::{DateTime, Utc};

use super::catalog::Catalog;
use super::script::{Owner, RESERVED, Script, is_transactional, label};
use crate::error::Error;

/// A row of the bookkeeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The migration's number.
    pub version: i32,
    /// Its name when it was applied.
    pub name: String,
    /// The checksum of its statements up when it was applied.
    pub checksum: String,
    /// When it was applied, by the clock of the database.
    pub applied_at: DateTime<Utc>,
}

/// Where a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Everything that is known is applied.
    Newest,
    /// Everything that is known is applied up to and with this number.
    UpTo(i32),
    /// Nothing beyond this number is applied any more.
    DownTo(i32),
}

/// Which of a migration's two texts is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The statements that make the step.
    Up,
    /// The statements that undo it.
    Down,
}

/// One migration to be applied or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// Which way.
    pub direction: Direction,
    /// What.
    pub script: &'a Script,
    sql: &'a str,
}

impl<'a> Step<'a> {
    fn up(script: &'a Script) -> Self {
        Self { direction: Direction::Up, script, sql: &script.up }
    }

    fn down(script: &'a Script) -> Result<Self, Fault> {
        let sql = script.down.as_deref().ok_or_else(|| Fault::NoWayBack { label: script.label() })?;
        Ok(Self { direction: Direction::Down, script, sql })
    }

    /// Returns the statements that are run.
    #[must_use]
    pub const fn sql(&self) -> &'a str {
        self.sql
    }

    /// Returns whether the statements run in a transaction together with the bookkeeping.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        is_transactional(self.sql)
    }
}

/// Why the bookkeeping of a database and the known migrations don't fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The text of a migration is no longer what was applied.
    #[error(
        "migration {label} was applied with another text (checksum {applied}, now {known}): put the old text back, and make the change in a new migration"
    )]
    Changed {
        /// Number and name.
        label: String,
        /// The checksum of what was applied.
        applied: String,
        /// The checksum of what is known now.
        known: String,
    },
    /// A migration of a later release was applied.
    #[error(
        "the schema is at migration {label}, and this program knows none beyond {newest:03}: use a newer annals, or undo it there with `annals migrate down {newest}`"
    )]
    Newer {
        /// Number and name.
        label: String,
        /// The newest of the event store's migrations that this program knows.
        newest: i32,
    },
    /// A migration of the application was applied, and the directory has no such file.
    #[error("migration {label} was applied, and its file is not in the directory: update the directory")]
    FileMissing {
        /// Number and name.
        label: String,
    },
    /// A migration of the application would have to be undone, and no directory was given.
    #[error("migration {label} is the application's, and must be undone first: name its directory with --dir")]
    NoDirectory {
        /// Number and name.
        label: String,
    },
    /// Migrations were left out that come before one that was applied.
    #[error(
        "{} never applied, and {later:03}, which comes later, was: give new migrations numbers beyond {later:03}; where rows of annals_migrations were lost, put them back",
        left_out(labels)
    )]
    Hole {
        /// Numbers and names of what was left out.
        labels: Vec<String>,
        /// The newest of the same owner that was applied.
        later: i32,
    },
    /// A migration has no statements that undo it.
    #[error("migration {label} has no down file, so it can't be undone")]
    NoWayBack {
        /// Number and name.
        label: String,
    },
    /// The target of a run does not exist.
    #[error("there is no migration {version:03}; there are: {known}")]
    NoSuchTarget {
        /// The number that was asked for.
        version: i32,
        /// The numbers that exist.
        known: String,
    },
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSuchTarget { .. } => Self::invalid("target", fault.to_string()),
            fault => Self::Schema { reason: fault.to_string() },
        }
    }
}

/// Returns the steps from what was applied to the target, in the order in which they are to be made.
///
/// # Errors
/// A [`Fault`] where the two don't fit, whatever the target.
pub fn plan<'a>(catalog: &'a Catalog, applied: &[Applied], target: Target) -> Result<Vec<Step<'a>>, Fault> {
    check(catalog, applied)?;
    match target {
        Target::Newest => Ok(pending(catalog, applied).map(Step::up).collect()),
        Target::UpTo(last) => {
            if catalog.find(last).is_none() {
                let known: Vec<String> = catalog.scripts().iter().map(|x| format!("{:03}", x.version)).collect();
                return Err(Fault::NoSuchTarget { version: last, known: known.join(", ") });
            }
            Ok(pending(catalog, applied).take_while(|script| script.version <= last).map(Step::up).collect())
        }
        Target::DownTo(last) => {
            let mut undone: Vec<&Applied> = applied.iter().filter(|row| row.version > last).collect();
            undone.sort_unstable_by_key(|row| std::cmp::Reverse(row.version));
            let step = |row: &Applied| match catalog.find(row.version) {
                Some(script) => Step::down(script),
                None => Err(Fault::NoDirectory { label: label(row.version, &row.name) }),
            };
            undone.into_iter().map(step).collect()
        }
    }
}

fn pending<'a>(catalog: &'a Catalog, applied: &[Applied]) -> impl Iterator<Item = &'a Script> {
    catalog.scripts().iter().filter(|script| applied.iter().all(|row| row.version != script.version))
}

/// The two owners number their migrations apart from each other, so that a hole is one within an owner's own numbers:
/// a later release may bring a number below those of the application.
fn check(catalog: &Catalog, applied: &[Applied]) -> Result<(), Fault> {
    for row in applied {
        match catalog.find(row.version) {
            Some(script) if script.checksum() == row.checksum => {}
            Some(script) => {
                return Err(Fault::Changed {
                    label: script.label(),
                    applied: row.checksum.clone(),
                    known: script.checksum(),
                });
            }
            None => check_unknown(catalog, row)?,
        }
    }
    [Owner::Store, Owner::Application].into_iter().try_for_each(|owner| check_holes(catalog, applied, owner))
}

/// Says which migrations are missing, before the word for what they are not.
fn left_out(labels: &[String]) -> String {
    let (noun, verb) = if labels.len() == 1 { ("migration", "was") } else { ("migrations", "were") };
    format!("{noun} {} {verb}", labels.join(", "))
}

fn check_holes(catalog: &Catalog, applied: &[Applied], owner: Owner) -> Result<(), Fault> {
    let newest = applied.iter().map(|row| row.version).filter(|version| Owner::of(*version) == owner).max();
    let Some(later) = newest else { return Ok(()) };
    let missing = pending(catalog, applied).filter(|script| Owner::of(script.version) == owner);
    let labels: Vec<_> = missing.take_while(|script| script.version < later).map(Script::label).collect();
    if labels.is_empty() { Ok(()) } else { Err(Fault::Hole { labels, later }) }
}

fn check_unknown(catalog: &Catalog, row: &Applied) -> Result<(), Fault> {
    let label = label(row.version, &row.name);
    match Owner::of(row.version) {
        Owner::Store => {
            let own = catalog.scripts().iter().map(|script| script.version).filter(|x| RESERVED.contains(x));
            Err(Fault::Newer { label, newest: own.max().unwrap_or(*RESERVED.start()) })
        }
        Owner::Application if catalog.has_directory() => Err(Fault::FileMissing { label }),
        Owner::Application => Ok(()),
    }
}

#[cfg(test)]
mod tests;
