//! A row of a table beside the events, as an object with its columns by name.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::cli::line::Members;
use crate::copy::rows::{self, Cells};
use crate::error::{Error, Result};
use crate::hash::{self, hex};
use crate::json::Json;
use crate::schema::shape::{Column, Kind, Table};
use crate::sql::Value;

/// A row that was read.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub table: &'static Table,
    pub partition: usize,
    /// The cells; that of the lane is null.
    pub cells: Cells,
}

/// A row to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowLine<'a> {
    pub table: &'static Table,
    pub partition: usize,
    pub cells: &'a [Value],
}

impl Row {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut members = Members::parse(text)?;
        let name: String = members.read("row")?.unwrap_or_default();
        let table = rows::lasting().chain(rows::tables(&rows::MOVING)).find(|table| table.name == name);
        let table =
            table.ok_or_else(|| Error::invalid("row", format!("there are no rows of {name:?} in an export")))?;
        let partition = members.read("partition")?.ok_or_else(|| Error::invalid("partition", "the row has none"))?;
        let mut exact: BTreeMap<String, String> = members.read("exact")?.unwrap_or_default();
        let cell = |column: &Column| {
            let value =
                if is_written(column) { cell(&mut members, exact.remove(column.name), column)? } else { null(column) };
            if value.is_null() && is_written(column) && !column.nullable {
                return Err(Error::invalid(column.name, "the row has none, and needs one"));
            }
            Ok(value)
        };
        let cells = table.columns.iter().map(cell).collect::<Result<_>>()?;
        match members.rest().first() {
            Some((name, _)) => Err(Error::invalid("row", format!("{} has no column {name:?}", table.name))),
            None => Ok(Self { table, partition, cells }),
        }
    }
}

impl Serialize for RowLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("row", self.table.name)?;
        map.serialize_entry("partition", &self.partition)?;
        let mut exact = BTreeMap::new();
        for (column, value) in self.table.columns.iter().zip(self.cells).filter(|(column, _)| is_written(column)) {
            if let Value::Json(Some(text)) = value
                && text.contains(['\n', '\r'])
            {
                exact.insert(column.name, text);
            }
            write(&mut map, column.name, value)?;
        }
        if !exact.is_empty() {
            map.serialize_entry("exact", &exact)?;
        }
        map.end()
    }
}

/// Whether a column says the same in every database.
fn is_written(column: &Column) -> bool {
    column.name != "lane_id" && !rows::LEASES.contains(&column.name)
}

fn write<M: SerializeMap>(map: &mut M, name: &str, value: &Value) -> Result<(), M::Error> {
    match value {
        Value::Bool(value) => map.serialize_entry(name, value),
        Value::I32(value) => map.serialize_entry(name, value),
        Value::I64(value) => map.serialize_entry(name, value),
        Value::F64(value) => map.serialize_entry(name, value),
        Value::Text(value) => map.serialize_entry(name, value),
        Value::Uuid(value) => map.serialize_entry(name, value),
        Value::Bytes(value) => map.serialize_entry(name, &value.as_deref().map(hex)),
        Value::Time(value) => {
            map.serialize_entry(name, &value.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true)))
        }
        // A null would be a document.
        Value::Json(None) => Ok(()),
        Value::Json(Some(text)) => {
            let json: &RawValue = serde_json::from_str(text).map_err(M::Error::custom)?;
            map.serialize_entry(name, json)
        }
    }
}

fn cell(members: &mut Members<'_>, exact: Option<String>, column: &Column) -> Result<Value> {
    let name = column.name;
    Ok(match column.kind {
        Kind::Uuid => Value::Uuid(members.read(name)?),
        Kind::Name | Kind::Text(_) | Kind::OneOf(_) => Value::Text(members.read(name)?),
        Kind::Counter => Value::I64(members.read(name)?),
        Kind::Int => Value::I32(members.read(name)?),
        Kind::Time => Value::Time(members.read::<DateTime<Utc>>(name)?),
        Kind::Digest => {
            let text: Option<String> = members.read(name)?;
            Value::Bytes(text.map(|text| hash::from_hex(&text)).transpose()?.map(Vec::from))
        }
        Kind::Json(_) => {
            let there = members.take(name).map(|value| value.get().to_owned());
            Value::Json(exact.or(there).map(|text| Json::parse(text).map(|json| json.as_str().to_owned())).transpose()?)
        }
    })
}

fn null(column: &Column) -> Value {
    match column.kind {
        Kind::Time => Value::Time(None),
        Kind::Counter => Value::I64(None),
        _ => Value::Text(None),
    }
}
