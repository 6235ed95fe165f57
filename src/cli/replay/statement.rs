//! A statement of a file: SQL with parameters by name, which are bound and never put into the text.

use super::parameter::Parameter;
use crate::event::RecordedEvent;
use crate::sql::{Dialect, Value};

/// A statement, taken apart.
#[derive(Debug)]
pub(super) struct Statement(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Parameter(Parameter),
}

impl Statement {
    /// Finds the parameters of a statement. What stands in quotes or comments is text, as is a cast, `::`.
    ///
    /// # Errors
    /// A reason, for a parameter that says nothing of an event, and for a quote that does not end.
    pub(super) fn parse(sql: &str) -> Result<Self, String> {
        if sql.trim().is_empty() {
            return Err("the statement is empty".to_owned());
        }
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), sql);
        while let Some(first) = rest.chars().next() {
            let name = rest.strip_prefix(':').map_or("", |after| &after[..name_end(after)]);
            let taken = if name.is_empty() {
                let length = text_end(rest).ok_or_else(|| format!("{first} does not end: {}", shortened(rest)))?;
                text.push_str(&rest[..length]);
                length
            } else {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Parameter(Parameter::parse(name)?));
                1 + name.len()
            };
            rest = &rest[taken..];
        }
        pieces.push(Piece::Text(text));
        Ok(Self(pieces))
    }

    /// Returns whether it has a parameter.
    pub(super) fn asks_for_an_event(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Parameter(_)))
    }

    /// Returns the text with a place for each value of an event, and the values.
    ///
    /// A null is written as such, as it has no type. Postgres prepares a statement with the types of its first values: there
    /// a text names the types, so that values of others have a text of their own.
    pub(super) fn bind(&self, dialect: Dialect, event: Option<&RecordedEvent>) -> Result<(String, Vec<Value>), String> {
        let (mut sql, mut values) = (String::new(), Vec::new());
        for piece in &self.0 {
            match piece {
                // A question mark is a place unless it is doubled.
                Piece::Text(text) => sql.push_str(&text.replace('?', "??")),
                Piece::Parameter(parameter) => match event.map(|event| parameter.value(event)).transpose()?.flatten() {
                    None => sql.push_str("NULL"),
                    Some(value) => {
                        sql.push('?');
                        sql.push_str(if dialect == Dialect::Postgres { cast(&value) } else { "" });
                        values.push(value);
                    }
                },
            }
        }
        Ok((sql, values))
    }
}

const fn cast(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "::boolean",
        Value::I64(_) | Value::I32(_) => "::bigint",
        Value::F64(_) => "::double precision",
        Value::Bytes(_) => "::bytea",
        _ => "::text",
    }
}

/// Returns the length of a parameter's name: words with points between them, of which the first is no number.
fn name_end(text: &str) -> usize {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| !is_word(c) || c.is_ascii_digit()) {
        return 0;
    }
    let mut end = 0;
    for word in text.split('.') {
        let length = word.find(|c| !is_word(c)).unwrap_or(word.len());
        if length == 0 {
            // A point that nothing follows is not part of the name.
            return end.max(1) - 1;
        }
        end += length + 1;
        if length < word.len() {
            break;
        }
    }
    end.max(1) - 1
}

/// Returns the length of the text at the start of SQL: a quotation, a comment, colons, or one character. `None` where a
/// quotation or comment does not end.
fn text_end(sql: &str) -> Option<usize> {
    let until = |start: usize, end: &str| Some(start + sql[start..].find(end)? + end.len());
    match sql.as_bytes() {
        [b':', ..] => Some(sql.find(|c| c != ':').unwrap_or(sql.len())),
        // A doubled quote within is the end of a quotation and the start of the next.
        [b'\'', ..] => until(1, "'"),
        [b'"', ..] => until(1, "\""),
        [b'-', b'-', ..] => until(2, "\n").or(Some(sql.len())),
        [b'/', b'*', ..] => until(2, "*/"),
        [b'$', ..] => match sql[1..].find('$').map(|end| &sql[..end + 2]) {
            Some(tag) if tag[1..tag.len() - 1].chars().all(|c| c.is_ascii_alphabetic() || c == '_') => {
                until(tag.len(), tag)
            }
            _ => Some(1),
        },
        _ => sql.chars().next().map(char::len_utf8),
    }
}

/// Returns the start of a text, for a message.
pub(super) fn shortened(text: &str) -> String {
    const CHARS: usize = 60;
    let start: String = text.chars().take(CHARS).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text as SQLite gets it where there is no event: each parameter is a null.
    fn text(sql: &str) -> String {
        Statement::parse(sql).unwrap().bind(Dialect::Sqlite, None).unwrap().0
    }

    #[test]
    fn parameters_are_found_and_what_is_quoted_or_cast_stays() {
        for (sql, bound) in [
            ("VALUES (:position, :data.a.b_1.0,:lane)", "VALUES (NULL, NULL,NULL)"),
            (":event_id::uuid", "NULL::uuid"),
            ("a::int, ':lane', 'it''s :lane', \":lane\"", "a::int, ':lane', 'it''s :lane', \":lane\""),
            ("1 -- :lane\n, :lane", "1 -- :lane\n, NULL"),
            ("/* ' :lane */ :lane", "/* ' :lane */ NULL"),
            ("$$it's :lane$$ :lane $a$ $$ :lane $a$", "$$it's :lane$$ NULL $a$ $$ :lane $a$"),
            ("x := 1, a[1:2], :data. 'ü'", "x := 1, a[1:2], NULL. 'ü'"),
            ("a ? 'b?'", "a ?? 'b??'"),
        ] {
            assert_eq!(text(sql), bound, "{sql}");
        }
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for sql in ["SELECT 'a :lane", "SELECT \"a", "/* a", "$a$ b $c$", " "] {
            assert!(Statement::parse(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn postgres_is_told_the_types() {
        assert_eq!(cast(&Value::from(1.5)), "::double precision");
        assert_eq!(cast(&Value::from("a")), "::text");
    }
}
