//! Values of the command line.

use std::fs::File;
use std::io::{self, Read};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::Failure;
use crate::json::Json;
use crate::limits;
use crate::read::JsonFilter;
use crate::stream::Expected;

/// Parses `any`, `none`, `exists` or a version.
pub(crate) fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected::Any),
        "none" => Ok(Expected::NoStream),
        "exists" => Ok(Expected::Exists),
        number => match number.parse() {
            Ok(version) if version >= 0 => Ok(Expected::exact(version)),
            _ => Err("write any, none, exists, or the stream's current version".to_owned()),
        },
    }
}

/// Parses an RFC 3339 time, or a date, which is its midnight in UTC.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "write an RFC 3339 time such as 2026-01-31T09:30:00Z, or a date".to_owned())
}

/// Returns who runs this, as the environment says.
pub(crate) fn actor() -> Option<String> {
    let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    ["ANNALS_ACTOR", "USER", "USERNAME"].into_iter().find_map(named)
}

/// Returns the bytes of an argument: as they stand there, or those of `@FILE`, or of `-`, standard input.
pub(crate) fn bytes(argument: &str) -> Result<Vec<u8>, Failure> {
    let limit = limits::EVENT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = |source: &mut dyn Read, bytes: &mut Vec<u8>| source.take(limit).read_to_end(bytes);
    match argument.strip_prefix('@') {
        Some(path) => {
            let advice = if path == "-" { ": write - alone for standard input" } else { "" };
            let failed = |error: io::Error| Failure::usage(format!("can't read {path}: {error}{advice}"));
            read(&mut File::open(path).map_err(failed)?, &mut bytes).map_err(failed)?;
        }
        None if argument == "-" => {
            read(&mut io::stdin().lock(), &mut bytes)?;
        }
        None => bytes.extend_from_slice(argument.as_bytes()),
    }
    if bytes.len() as u64 == limit {
        let place = argument.strip_prefix('@').unwrap_or("standard input");
        return Err(Failure::usage(format!("{place} has more than {} bytes", limits::EVENT_BYTES_MAX)));
    }
    Ok(bytes)
}

/// Returns the JSON text of an argument: see [`bytes`]. A line break at the end of a file is not part of it.
pub(crate) fn json(argument: &str) -> Result<Json, Failure> {
    let text = String::from_utf8(bytes(argument)?).map_err(|_| Failure::usage("the json is not utf-8"))?;
    Ok(Json::parse(text.trim_end_matches(['\r', '\n']))?)
}

/// Parses `PATH=VALUE`.
pub(crate) fn json_filter(text: &str) -> Result<JsonFilter, String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, as in data.customer.id=7")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value));
    JsonFilter::new(path, value).map_err(|error| error.to_string())
}
