//! Sessions that run SQL text as it is.

use async_trait::async_trait;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use tiberius::{ColumnData, ColumnType, FromSql, Row};

use super::convert::class;
use super::pool::{Connection, Results};
use crate::backend::Session;
use crate::error::{Error, ErrorClass, Result};
use crate::migrate::batches;
use crate::sql::rows::damaged;

/// A connection of its own. It is gone while a call runs, so that one whose caller left is closed and not used again.
pub(super) struct MssqlSession(Option<Connection>);

impl MssqlSession {
    pub(super) const fn new(connection: Connection) -> Self {
        Self(Some(connection))
    }

    async fn run(&mut self, operation: &'static str, sql: &str) -> Result<Results> {
        let mut connection = self.0.take().ok_or(Error::Closed)?;
        match connection.raw(sql).await {
            Ok(results) => {
                self.0 = Some(connection);
                Ok(results)
            }
            Err(error) => {
                let class = class(&error, false);
                if class != ErrorClass::Reconnect {
                    self.0 = Some(connection);
                }
                Err(Error::backend("mssql", operation, class, error))
            }
        }
    }
}

#[async_trait]
impl Session for MssqlSession {
    async fn execute(&mut self, sql: &str) -> Result<()> {
        for batch in batches(sql) {
            self.run("execute", batch).await?;
        }
        Ok(())
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let results = self.run("query", sql).await?;
        results.into_iter().next().unwrap_or_default().iter().map(texts).collect()
    }
}

fn texts(row: &Row) -> Result<Vec<Option<String>>> {
    row.cells().map(|(column, data)| text(column.column_type(), data)).collect()
}

/// Writes a cell as text: numbers in digits, bits as 0 and 1, uuids in lower case, times as ISO 8601 says, bytes in
/// hexadecimal digits.
fn text(column: ColumnType, data: &ColumnData<'static>) -> Result<Option<String>> {
    let failed = |error: tiberius::error::Error| damaged(error.to_string());
    Ok(match data {
        ColumnData::U8(number) => number.map(|number| number.to_string()),
        ColumnData::I16(number) => number.map(|number| number.to_string()),
        ColumnData::I32(number) => number.map(|number| number.to_string()),
        ColumnData::I64(number) => number.map(|number| number.to_string()),
        ColumnData::F32(number) => number.map(|number| number.to_string()),
        ColumnData::F64(number) if matches!(column, ColumnType::Money | ColumnType::Money4) => {
            number.map(|number| format!("{number:.4}"))
        }
        ColumnData::F64(number) => number.map(|number| number.to_string()),
        ColumnData::Numeric(number) => number.map(|number| match number.scale() {
            0 => number.value().to_string(),
            _ => number.to_string(),
        }),
        ColumnData::Bit(bit) => bit.map(|bit| u8::from(bit).to_string()),
        ColumnData::String(text) => text.as_deref().map(str::to_owned),
        ColumnData::Xml(xml) => xml.as_ref().map(ToString::to_string),
        ColumnData::Guid(id) => id.map(|id| id.to_string()),
        ColumnData::Binary(bytes) => bytes.as_deref().map(crate::hash::hex),
        ColumnData::Date(_) => NaiveDate::from_sql(data).map_err(failed)?.map(|date| date.to_string()),
        ColumnData::Time(time) => {
            let digits = time.map_or(0, tiberius::time::Time::scale);
            NaiveTime::from_sql(data).map_err(failed)?.map(|time| clock(time, digits))
        }
        ColumnData::DateTime2(time) => {
            let digits = time.map_or(0, |time| time.time().scale());
            NaiveDateTime::from_sql(data).map_err(failed)?.map(|time| moment(time, digits))
        }
        ColumnData::DateTime(_) => NaiveDateTime::from_sql(data).map_err(failed)?.map(|time| moment(time, 3)),
        ColumnData::SmallDateTime(_) => NaiveDateTime::from_sql(data).map_err(failed)?.map(|time| moment(time, 0)),
        ColumnData::DateTimeOffset(time) => {
            let digits = time.map_or(0, |time| time.datetime2().time().scale());
            let time: Option<DateTime<FixedOffset>> = DateTime::from_sql(data).map_err(failed)?;
            time.map(|time| format!("{}{}", moment(time.naive_local(), digits), time.format("%:z")))
        }
    })
}

fn moment(time: NaiveDateTime, digits: u8) -> String {
    format!("{}T{}", time.date(), clock(time.time(), digits))
}

/// Writes a time of day with as many digits after the second as its column keeps.
fn clock(time: NaiveTime, digits: u8) -> String {
    let whole = time.format("%H:%M:%S").to_string();
    let fraction = format!("{:09}", time.nanosecond());
    match fraction.get(..usize::from(digits)) {
        Some(fraction) if !fraction.is_empty() => format!("{whole}.{fraction}"),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::{ColumnData, ColumnType, text};
    use rstest::rstest;
    use tiberius::numeric::Numeric;
    use tiberius::time::{Date, DateTime2, Time};

    fn moment(scale: u8, increments: u64) -> ColumnData<'static> {
        ColumnData::DateTime2(Some(DateTime2::new(Date::new(738_944), Time::new(increments, scale))))
    }

    #[rstest]
    #[case::null(ColumnType::NVarchar, ColumnData::String(None), None)]
    #[case::bit(ColumnType::Bitn, ColumnData::Bit(Some(true)), Some("1"))]
    #[case::number(ColumnType::Int8, ColumnData::I64(Some(-5)), Some("-5"))]
    #[case::decimal(ColumnType::Decimaln, ColumnData::Numeric(Some(Numeric::new_with_scale(-150, 2))), Some("-1.50"))]
    #[case::whole_decimal(ColumnType::Decimaln, ColumnData::Numeric(Some(Numeric::new_with_scale(5, 0))), Some("5"))]
    #[case::money(ColumnType::Money, ColumnData::F64(Some(2.5)), Some("2.5000"))]
    #[case::bytes(ColumnType::BigVarBin, ColumnData::Binary(Some(vec![1, 255].into())), Some("01ff"))]
    #[case::micros(ColumnType::Datetime2, moment(6, 86_399_999_999), Some("2024-02-29T23:59:59.999999"))]
    #[case::seconds(ColumnType::Datetime2, moment(0, 1), Some("2024-02-29T00:00:01"))]
    fn a_cell_is_written_as_text(
        #[case] column: ColumnType,
        #[case] data: ColumnData<'static>,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(text(column, &data).unwrap().as_deref(), expected);
    }
}
