//! The statements that remove a lane with all that it holds.

use std::time::Duration;

use super::{Dialect, Sql, Statement, copy, holds};
use crate::position::LaneId;
use crate::schema::model;

/// For how long each of the statements may run.
pub(crate) const LIMIT: Duration = Duration::from_mins(10);

/// Removes a lane and its rows from every table, in an open transaction. The triggers that keep the log let these deletes
/// through, and no later ones.
pub(crate) fn lane(dialect: Dialect, lane: LaneId) -> Vec<Statement> {
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
    all.extend(tables.into_iter().rev().map(|table| copy::clear(dialect, table, lane)));
    all.push(statement(revoke));
    // Nobody who still knows the lane's number is to meet another topic there: it is not given again.
    all.push(holds::begin(dialect, lane, holds::MOVE, holds::FOR_EVER, "nowhere: it was purged"));
    all
}
