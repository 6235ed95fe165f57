//! The functions and procedures for people with a SQL prompt. They keep the same rules as the library: they take the
//! lane's lock first, in a statement of its own, and read what decides in later ones.

use super::render::{qualified, quoted};
use crate::sql::Dialect;

/// A routine's name and text. For SQL Server, the text spells the schema `[dbo]`.
struct Routine {
    name: &'static str,
    text: &'static str,
}

macro_rules! routines {
    ($folder:literal: $($name:literal)*) => {
        &[$(Routine { name: $name, text: include_str!(concat!("routines/", $folder, "/", $name, ".sql")) }),*]
    };
}

const POSTGRES: &[Routine] = routines!("postgres":
    "annals_check_name" "annals_check_json" "annals_lane" "annals_json_key" "annals_append"
    "annals_first_matches" "annals_append_batch"
    "append_to_stream" "read_stream_forward" "get_event_stream"
    "create_snapshot" "get_latest_snapshot"
    "create_subscription" "checkpoint_subscription" "delete_subscription"
);

const MSSQL: &[Routine] = routines!("mssql":
    "annals_check_name" "annals_lane"
    "append_to_stream" "read_stream_forward" "get_event_stream"
    "create_snapshot" "get_latest_snapshot"
    "create_subscription" "checkpoint_subscription" "delete_subscription"
);

/// Whether appends look for holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldsAre {
    /// They do, since migration 011.
    Heeded,
    /// They do not.
    Unknown,
}

/// A line of a routine, and what looks for holds behind it.
struct Look {
    routine: &'static str,
    after: &'static str,
    look: &'static str,
}

/// The library's own appends leave what is held to be decided with all else; the others refuse it.
const LOOKS: &[(Dialect, &[Look])] = &[
    (
        Dialect::Postgres,
        &[
            Look {
                routine: "annals_append",
                after: "  odd := found_type <> stream_type OR found_deleted IS NOT NULL OR last_version IS NULL OR head IS NULL",
                look: HELD_HERE,
            },
            Look { routine: "annals_append_batch", after: "  odd := odd OR head IS NULL OR furthest_after > head", look: HELD_HERE },
            Look {
                routine: "append_to_stream",
                after: "  PERFORM 1 FROM lanes WHERE lane_id = lane FOR NO KEY UPDATE;\n",
                look: "  IF EXISTS (SELECT FROM holds AS h WHERE h.lane_id = lane AND h.kind = 'append' AND h.until > clock_timestamp()) THEN
    RAISE EXCEPTION 'topic \"%\" takes no events: it is being moved, or was', append_to_stream.topic
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
",
            },
        ],
    ),
    (
        Dialect::Mssql,
        &[Look {
            routine: "append_to_stream",
            after: "  UPDATE [dbo].[lanes] WITH (ROWLOCK) SET [floor] = [floor] WHERE [lane_id] = @lane;\n",
            look: "  IF EXISTS (SELECT 1 FROM [dbo].[holds] WHERE [lane_id] = @lane AND [kind] = N'append' AND [until] > SYSUTCDATETIME())
  BEGIN
    SET @message = CONCAT(N'topic \"', @topic, N'\" takes no events: it is being moved, or was');
    THROW 51006, @message, 1;
  END;
",
        }],
    ),
];

const HELD_HERE: &str = "
    OR EXISTS (SELECT FROM holds AS h WHERE h.lane_id = lane AND h.kind = 'append' AND h.until > clock_timestamp())";

/// Returns the names of the routines.
pub fn names(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    routines(dialect).iter().map(|routine| routine.name)
}

const fn routines(dialect: Dialect) -> &'static [Routine] {
    match dialect {
        Dialect::Sqlite => &[],
        Dialect::Postgres => POSTGRES,
        Dialect::Mssql => MSSQL,
    }
}

/// Returns the statements that create the routines, in batches on SQL Server.
#[must_use]
pub fn create(dialect: Dialect, schema: &str) -> String {
    match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => POSTGRES.iter().flat_map(|routine| ["\n", routine.text]).collect(),
        Dialect::Mssql => {
            let schema = quoted(dialect, schema);
            MSSQL
                .iter()
                .flat_map(|routine| ["\n".into(), routine.text.replace("[dbo]", &schema), "GO\n".into()])
                .collect()
        }
    }
}

/// Returns the statements that replace the routines that append by those that heed holds, or by those that do not.
#[must_use]
pub fn replace(dialect: Dialect, schema: &str, holds: HoldsAre) -> String {
    let looks = LOOKS.iter().filter(|(of, _)| *of == dialect).flat_map(|(_, looks)| *looks);
    let text = |look: &Look| {
        let text = routines(dialect).iter().find(|routine| routine.name == look.routine).map_or("", |found| found.text);
        match holds {
            HoldsAre::Heeded => text.replacen(look.after, &[look.after, look.look].concat(), 1),
            HoldsAre::Unknown => text.to_owned(),
        }
    };
    let (create, replace, end) = match dialect {
        Dialect::Sqlite | Dialect::Postgres => ("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", ""),
        Dialect::Mssql => ("CREATE PROCEDURE", "ALTER PROCEDURE", "GO\n"),
    };
    let schema = quoted(dialect, schema);
    let texts = looks.map(|look| text(look).replacen(create, replace, 1).replace("[dbo]", &schema));
    texts.flat_map(|text| ["\n".to_owned(), text, end.to_owned()]).collect()
}

/// Returns the statements that drop the routines.
#[must_use]
pub fn drop(dialect: Dialect, schema: &str) -> String {
    let kind = match dialect {
        Dialect::Sqlite | Dialect::Postgres => "FUNCTION",
        Dialect::Mssql => "PROCEDURE",
    };
    let statement = |routine: &Routine| format!("DROP {kind} {};\n", qualified(dialect, schema, routine.name));
    routines(dialect).iter().rev().map(statement).collect()
}
