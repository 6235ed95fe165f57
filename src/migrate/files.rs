//! Writing migrations to files: the event store's own, and a new pair for the application.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::catalog::{read_directory, unreadable};
use super::script::{RESERVED, label};
use crate::error::{Error, Result};
use crate::schema;
use crate::sql::Dialect;

/// Writes the event store's own migrations into a directory, which is made if need be, and returns the files. They
/// replace what they find under their names.
///
/// # Errors
/// [`Error::Invalid`] where a file can't be written.
pub fn generate(dialect: Dialect, schema: &str, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).map_err(|error| unreadable(directory, &error))?;
    let mut files = Vec::new();
    for migration in schema::migrations(dialect, schema) {
        for (direction, text) in [("up", &migration.up), ("down", &migration.down)] {
            let path = directory.join(migration.file_name(direction));
            fs::write(&path, text).map_err(|error| unreadable(&path, &error))?;
            files.push(path);
        }
    }
    Ok(files)
}

/// Writes the next numbered pair of files for a migration of the application into a directory, which is made if need
/// be, and returns the two.
///
/// The numbers go on from the highest in the directory, beyond those that are [`RESERVED`].
///
/// # Errors
/// [`Error::Invalid`] where the name is not made of letters, digits, `_` and `-`, and where a file can't be written.
pub fn create_files(directory: &Path, name: &str) -> Result<[PathBuf; 2]> {
    let name = file_name(name)?;
    fs::create_dir_all(directory).map_err(|error| unreadable(directory, &error))?;
    let highest = read_directory(directory)?.last().map_or(0, |script| script.version);
    let version = highest
        .max(*RESERVED.end())
        .checked_add(1)
        .ok_or_else(|| Error::invalid("migrations", "the highest number in the directory is the last there is"))?;
    let create = |direction: &str, comment: &str| {
        let path = directory.join(format!("{}.{direction}.sql", label(version, &name)));
        let write = || fs::File::create_new(&path)?.write_all(comment.as_bytes());
        write().map_err(|error| unreadable(&path, &error))?;
        Ok::<_, Error>(path)
    };
    let up = create("up", &format!("-- {name}: the statements that make this step.\n"))?;
    let down = create("down", &format!("-- {name}: the statements that undo this step.\n"))?;
    Ok([up, down])
}

fn file_name(name: &str) -> Result<String> {
    let name: String = name.trim().to_lowercase().replace([' ', '-'], "_");
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 100 || !name.chars().all(valid) {
        let reason = format!("{name:?} is not 1 to 100 letters, digits, `_` and `-`, such as add_orders");
        return Err(Error::invalid("name", reason));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_are_numbered_on_from_the_highest() {
        let folder = tempfile::tempdir().unwrap();
        let [up, down] = create_files(folder.path(), "Add orders").unwrap();
        assert!(up.ends_with("100_add_orders.up.sql") && down.ends_with("100_add_orders.down.sql"));
        fs::write(folder.path().join("205_x.up.sql"), "").unwrap();
        let [up, _] = create_files(folder.path(), "more").unwrap();
        assert!(up.ends_with("206_more.up.sql"));
    }

    #[test]
    fn a_name_that_leads_out_of_the_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["../x", "a/b", "", "  ", "é"] {
            assert!(create_files(folder.path(), name).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
