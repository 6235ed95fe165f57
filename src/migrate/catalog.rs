//! The migrations that are known: the event store's own, and those of the application from a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::script::{Owner, RESERVED, Script, normalized};
use crate::error::{Error, Result};
use crate::schema;
use crate::sql::Dialect;

/// The migrations that are known, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    scripts: Vec<Script>,
    has_directory: bool,
}

impl Catalog {
    /// Returns the event store's own migrations.
    #[must_use]
    pub fn built_in(dialect: Dialect, schema: &str) -> Self {
        let scripts = schema::migrations(dialect, schema).into_iter().map(Script::from).collect();
        Self { scripts, has_directory: false }
    }

    /// Adds the application's migrations: the files `NNN_name.up.sql` and `NNN_name.down.sql` of a directory.
    ///
    /// Files of the event store's own numbers may be there too, where they say the same.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a file can't be read or has no such name, and where a number is taken.
    pub fn with_directory(self, directory: &Path) -> Result<Self> {
        self.with_scripts(read_directory(directory)?)
    }

    pub(super) fn with_scripts(mut self, scripts: Vec<Script>) -> Result<Self> {
        for script in scripts {
            match Owner::of(script.version) {
                Owner::Application => self.scripts.push(script),
                Owner::Store => self.check_own(&script)?,
            }
        }
        self.scripts.sort_unstable_by_key(|script| script.version);
        self.has_directory = true;
        Ok(self)
    }

    fn check_own(&self, script: &Script) -> Result<()> {
        let own = self.find(script.version);
        if own.is_some_and(|own| own.name == script.name && normalized(&own.up) == normalized(&script.up)) {
            return Ok(());
        }
        let (first, last) = (RESERVED.start(), RESERVED.end());
        let what = if own.is_some() { "another text" } else { "no such migration" };
        Err(Error::invalid(
            "migrations",
            format!(
                "{} has a number of the event store's own ({first:03} to {last:03}), and this program has {what} under \
                 it: give it another number, or write the store's files anew with `annals migrate generate`",
                script.label()
            ),
        ))
    }

    /// Returns the migrations in the order of their numbers.
    #[must_use]
    pub fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    /// Returns the migration with this number.
    #[must_use]
    pub fn find(&self, version: i32) -> Option<&Script> {
        self.scripts.iter().find(|script| script.version == version)
    }

    /// Returns whether the application's migrations are among them.
    #[must_use]
    pub const fn has_directory(&self) -> bool {
        self.has_directory
    }
}

/// Reads the pairs of files of a directory, by number.
pub(super) fn read_directory(directory: &Path) -> Result<Vec<Script>> {
    let mut halves: BTreeMap<i32, Halves> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| unreadable(directory, &error))? {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let (version, name, is_up) = parse_file_name(&file)?;
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        // Some editors put a byte order mark before the first statement.
        let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
        let half = halves.entry(version).or_insert_with(|| Halves { name: name.clone(), up: None, down: None });
        if half.name != name {
            let reason =
                format!("{version:03} is the number of both {:?} and {name:?}: renumber one of them", half.name);
            return Err(Error::invalid("migrations", reason));
        }
        let side = if is_up { &mut half.up } else { &mut half.down };
        if side.replace(text).is_some() {
            let reason = format!("{file:?} is there twice, with and without leading zeros: remove one of the two");
            return Err(Error::invalid("migrations", reason));
        }
    }
    halves.into_iter().map(|(version, half)| half.join(version)).collect()
}

/// What was found of a pair of files.
struct Halves {
    name: String,
    up: Option<String>,
    down: Option<String>,
}

impl Halves {
    fn join(self, version: i32) -> Result<Script> {
        let Self { name, up, down } = self;
        let missing = || {
            let reason = format!("{version:03}_{name}.down.sql has no {version:03}_{name}.up.sql beside it");
            Error::invalid("migrations", reason)
        };
        Ok(Script { version, up: up.ok_or_else(missing)?, name: name.clone(), down })
    }
}

/// Takes the name of a file apart: its number, its name, and whether it leads up.
fn parse_file_name(file: &str) -> Result<(i32, String, bool)> {
    let parse = || {
        let stem = file.strip_suffix(".sql")?;
        let (stem, is_up) =
            stem.strip_suffix(".up").map(|x| (x, true)).or_else(|| stem.strip_suffix(".down").map(|x| (x, false)))?;
        let (number, name) = stem.split_once('_')?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let version = number.parse().ok().filter(|version| digits && *version > 0)?;
        (!name.is_empty() && name.len() <= crate::limits::NAME_BYTES).then(|| (version, name.to_owned(), is_up))
    };
    parse().ok_or_else(|| {
        let reason = format!("{file:?} is not called like 100_add_orders.up.sql or 100_add_orders.down.sql");
        Error::invalid("migrations", reason)
    })
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid("migrations", format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("001_users.up.sql", (1, "users", true))]
    #[case("100_add_orders.down.sql", (100, "add_orders", false))]
    #[case("20240131_x.up.sql", (20_240_131, "x", true))]
    fn a_file_name_says_number_name_and_direction(#[case] file: &str, #[case] parts: (i32, &str, bool)) {
        let (version, name, is_up) = parse_file_name(file).unwrap();
        assert_eq!((version, name.as_str(), is_up), parts);
    }

    #[rstest]
    fn other_file_names_are_refused(
        #[values("x.sql", "100.up.sql", "100_.up.sql", "000_x.up.sql", "+10_x.up.sql", "100_x.sql", "100_x.side.sql")]
        file: &str,
    ) {
        assert!(parse_file_name(file).unwrap_err().to_string().contains(file));
    }

    #[test]
    fn a_number_of_the_store_is_refused_unless_the_text_is_the_same() {
        let store = Catalog::built_in(Dialect::Sqlite, "main");
        let mut same = store.scripts()[0].clone();
        same.up = same.up.replace('\n', "\r\n");
        assert_eq!(store.clone().with_scripts(vec![same.clone()]).unwrap().scripts(), store.scripts());

        let other = Script { up: "SELECT 1".into(), ..same.clone() };
        assert!(store.clone().with_scripts(vec![other]).unwrap_err().to_string().contains("another text"));

        let later = Script { version: 42, ..same };
        assert!(store.with_scripts(vec![later]).unwrap_err().to_string().contains("no such migration"));
    }
}
