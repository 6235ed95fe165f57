//! The statements that remove a lane with all that it holds.

use std::time::Duration;

use super::{Dialect, Sql, Statement, holds};
use crate::position::{LaneId, Position};
use crate::schema::model;
use crate::schema::shape::Table;

/// For how long each of the statements may run.
pub(crate) const LIMIT: Duration = Duration::from_mins(10);

/// Events that one statement removes, at most.
const AT_ONCE: i64 = 1_000_000;

/// Removes a lane that ends at a position, and its rows from every table, in an open transaction. The triggers that keep the log
/// let these deletes through, and no later ones.
pub(crate) fn lane(dialect: Dialect, lane: LaneId, head: Position) -> Vec<Statement> {
    let (permit, revoke) = match dialect {
        Dialect::Sqlite => ("INSERT INTO {s}purge_permits (id) VALUES (1)", "DELETE FROM {s}purge_permits"),
        Dialect::Postgres => ("SET LOCAL annals.purge = 'on'", "SET LOCAL annals.purge = 'off'"),
        Dialect::Mssql => (
            "EXEC sys.sp_set_session_context @key = N'annals.purge', @value = 1",
            "EXEC sys.sp_set_session_context @key = N'annals.purge', @value = 0",
        ),
    };
    let tables: Vec<_> = model::all_tables().filter(|table| table.primary_key.contains(&"lane_id")).collect();
    let statement = |text: &str| {
        let mut sql = Sql::new(dialect, "purge");
        sql.push(text);
        sql.done()
    };
    let mut all = vec![statement(permit)];
    if dialect == Dialect::Postgres {
        // The session's own is for calls that take no time to speak of.
        all.push(statement(&format!("SET LOCAL statement_timeout = '{}s'", LIMIT.as_secs())));
    }
    for table in tables.into_iter().rev() {
        // Of the events, so many at once as are removed within the limit, however long the log.
        let parts = if is_log(table) { head.get() / AT_ONCE } else { 0 };
        all.extend((1..=parts).map(|part| clear(dialect, table, lane, Some(Position::new(part * AT_ONCE)))));
        all.push(clear(dialect, table, lane, None));
    }
    all.push(statement(revoke));
    // Nobody who still knows the lane's number is to meet another topic there: it is not given again.
    all.push(holds::begin(dialect, lane, holds::MOVE, holds::FOR_EVER, "nowhere: it was purged"));
    all
}

/// Whether a table has its rows in the order of the positions.
fn is_log(table: &Table) -> bool {
    table.primary_key == ["lane_id", "position"]
}

/// Removes the rows of a lane, up to a position or all.
fn clear(dialect: Dialect, table: &'static Table, lane: LaneId, until: Option<Position>) -> Statement {
    let mut sql = Sql::new(dialect, "purge");
    sql.push("DELETE FROM {s}").push(table.name).add(" WHERE lane_id = ?", [lane.get().into()]);
    if let Some(until) = until {
        sql.add(" AND position <= ?", [until.get().into()]);
    }
    sql.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_long_log_are_removed_part_by_part() {
        let deletes = |head| {
            let all = super::lane(Dialect::Sqlite, LaneId::new(1), Position::new(head));
            all.iter().filter(|statement| statement.sql.starts_with("DELETE FROM events ")).count()
        };
        assert_eq!([0, 999_999, 1_000_000, 2_500_000].map(deletes), [1, 1, 2, 3]);
    }
}
