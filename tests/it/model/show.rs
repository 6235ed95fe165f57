//! What a person reads where the model check fails.

use std::fmt;

use super::words::{Answer, Ask, Commit, Condition, Event, Expect, Named, New, Op};

/// Writes items with a separator between them.
fn joined<T: fmt::Display>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => commit.fmt(f),
            Self::Live { change, stream, expected } => {
                write!(f, "{} {stream} at {expected}", format!("{change:?}").to_lowercase())
            }
            Self::Version(id) => write!(f, "version of {id}"),
            Self::Count(id) => write!(f, "count of {id}"),
            Self::Info(id) => write!(f, "row of {id}"),
            Self::ReadStream { stream, from, backward } => {
                write!(f, "read {stream} from version {from}{}", if *backward { " backward" } else { "" })
            }
            Self::AsOf { stream, version } => write!(f, "read {stream} as of version {version}"),
            Self::Head => f.write_str("head"),
            Self::Page(ask) => ask.fmt(f),
            Self::Streams { deleted } => write!(f, "streams{}", if *deleted { ", deleted ones too" } else { "" }),
            Self::Command(id) => write!(f, "look up command c{id}"),
            Self::Event(id) => write!(f, "look up event e{id}"),
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let verb = if part.events.is_empty() { "guard" } else { "append to" };
            write!(f, "{}{verb} {} at {}", if index > 0 { " and " } else { "" }, part.stream, part.expected)?;
            write!(f, "{}{}", if part.events.is_empty() { "" } else { ": " }, joined(&part.events, ", "))?;
        }
        if let Some(condition) = &self.condition {
            write!(f, " unless there is {condition}")?;
        }
        self.command.map_or(Ok(()), |id| write!(f, " as command c{id}"))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = |(types, tags): &(Vec<&str>, Vec<&str>)| match (types.as_slice(), tags.as_slice()) {
            ([], tags) => format!("any [{}]", tags.join(" ")),
            (types, []) => types.join("|"),
            (types, tags) => format!("{} [{}]", types.join("|"), tags.join(" ")),
        };
        let items: Vec<_> = self.items.iter().map(item).collect();
        write!(f, "{} after ", if items.is_empty() { "nothing".to_owned() } else { items.join(" or ") })?;
        match self.after {
            None => f.write_str("the head seen last"),
            Some(after) => after.fmt(f),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.backward { "log backward" } else { "log" })?;
        if let Some(after) = self.after {
            write!(f, " after {after}")?;
        }
        if self.rows < super::words::EVERYTHING.rows {
            write!(f, ", {} rows", self.rows)?;
        }
        if !self.types.is_empty() {
            write!(f, ", of {}", self.types.join("|"))?;
        }
        if !self.tags.is_empty() {
            write!(f, ", tagged [{}]", self.tags.join(" "))?;
        }
        self.category.map_or(Ok(()), |category| write!(f, ", of streams of {category}"))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.id, self.category)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("some version"),
            Self::At(version) => write!(f, "version {version}"),
            Self::Seen => f.write_str("the version seen last"),
        }
    }
}

/// Writes what an event is: its type, its data, and its id and tags where it has some.
fn event(
    f: &mut fmt::Formatter<'_>,
    event_type: &str,
    data: Option<u16>,
    id: Option<u8>,
    tags: &[&str],
) -> fmt::Result {
    write!(f, "{event_type}{}", data.map_or(String::new(), |data| format!("#{data}")))?;
    if let Some(id) = id {
        write!(f, " e{id}")?;
    }
    if tags.is_empty() { Ok(()) } else { write!(f, " [{}]", tags.join(" ")) }
}

impl fmt::Display for New {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        event(f, self.event_type, Some(self.data), self.id, &self.tags)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}@{} ", self.position, self.stream, self.version)?;
        event(f, self.event_type, self.data, self.id, &self.tags)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = |list: &[(&str, i64)]| -> Vec<String> {
            list.iter().map(|(id, version)| format!("{id}@{version}")).collect()
        };
        match self {
            Self::Appended { positions, versions: written, duplicate } => {
                let positions = positions.map(|(first, last)| format!("{first} to {last}"));
                let mut parts = vec![positions.unwrap_or("no events".to_owned())];
                parts.extend(versions(written));
                parts.extend(duplicate.then(|| "a duplicate".to_owned()));
                write!(f, "ok: {}", parts.join(", "))
            }
            Self::Refused(reason) | Self::Unknown(reason) => f.write_str(reason),
            Self::Number(number) => number.fmt(f),
            Self::Info(None) | Self::Command(None) | Self::Event(None) => f.write_str("none"),
            Self::Info(Some(info)) => write!(f, "{info:?}"),
            Self::Events(events) => write!(f, "{{{}}}", joined(events, "; ")),
            Self::Page { events, head, scanned } => {
                let scanned = scanned.map_or(String::new(), |scanned| format!(", looked to {scanned}"));
                write!(f, "{{{}}}, head {head}{scanned}", joined(events, "; "))
            }
            Self::Streams(streams) => write!(f, "{{{}}}", joined(&versions(streams), ", ")),
            Self::Command(Some((first, last))) => write!(f, "{first} to {last}"),
            Self::Event(Some(event)) => event.fmt(f),
        }
    }
}
