//! The hash of a table's rows in any order.

use super::Hasher;
use crate::sql::Value;

/// The hash of rows in any order: how many they are, and the sum of the SHA-256 of each, as four numbers of 64 bits, each modulo
/// 2⁶⁴. It tells rows that were lost or changed by accident, not those that somebody has chosen to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowsHash {
    rows: u64,
    sums: [u64; 4],
}

impl RowsHash {
    /// Takes in a row.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a Value>) {
        let mut hasher = Hasher::new("annals-row-1");
        for cell in cells {
            match cell {
                Value::Bool(truth) => hasher.optional_number(truth.map(i64::from)),
                Value::I32(number) => hasher.optional_number(number.map(i64::from)),
                Value::I64(number) => hasher.optional_number(*number),
                Value::F64(number) => hasher.optional(number.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
                Value::Text(text) | Value::Json(text) => hasher.optional(text.as_deref().map(str::as_bytes)),
                Value::Uuid(id) => hasher.optional(id.as_ref().map(|id| &id.as_bytes()[..])),
                Value::Time(time) => hasher.optional_number(time.map(|time| time.timestamp_micros())),
                Value::Bytes(bytes) => hasher.optional(bytes.as_deref()),
            }
        }
        self.rows += 1;
        for (sum, part) in self.sums.iter_mut().zip(hasher.finish().as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(rows: &[&[Value]]) -> RowsHash {
        let mut hash = RowsHash::default();
        for row in rows {
            hash.row(*row);
        }
        hash
    }

    #[test]
    fn rows_in_another_order_have_the_same_hash() {
        let (one, two) = ([Value::I64(Some(1))], [Value::I64(Some(2))]);
        assert_eq!(hash(&[&one, &two]), hash(&[&two, &one]));
        assert_ne!(hash(&[&one, &two]), hash(&[&one, &one]));
        assert_ne!(hash(&[&one]), hash(&[&one, &one]));
        assert_ne!(hash(&[]), hash(&[&one]));
    }

    #[test]
    fn a_cell_that_is_null_is_not_one_that_is_empty_and_none_runs_into_the_next() {
        let text = |text: Option<&str>| Value::Text(text.map(str::to_owned));
        assert_ne!(hash(&[&[text(None)]]), hash(&[&[text(Some(""))]]));
        assert_ne!(hash(&[&[text(Some("a")), text(Some("bc"))]]), hash(&[&[text(Some("ab")), text(Some("c"))]]));
        assert_ne!(
            hash(&[&[Value::I64(None), Value::I64(Some(0))]]),
            hash(&[&[Value::I64(Some(0)), Value::I64(None)]])
        );
    }
}
