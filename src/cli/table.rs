//! Tables for people: aligned, and cut at the terminal's edge.

use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};

use super::Failure;
use super::output::Output;

/// Rows that are held back to find the columns' widths.
const BATCH: usize = 500;

/// A column's title, and whether it holds numbers, which stand to the right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    align: Alignment,
    shown: bool,
}

impl Column {
    /// Makes a column of text.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self { title, align: Alignment::Left, shown: true }
    }

    /// Makes a column of numbers.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, align: Alignment::Right, shown: true }
    }

    /// Leaves the column out unless it says something.
    pub(crate) const fn shown_if(mut self, shown: bool) -> Self {
        self.shown = shown;
        self
    }
}

/// A table that is printed in batches, so that any number of rows takes constant memory.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
    rows: Vec<[String; N]>,
    headed: bool,
    limit: Option<usize>,
}

impl<const N: usize> Table<N> {
    /// Makes a table, as wide as the terminal where the output is one.
    pub(crate) fn new(columns: [Column; N]) -> Self {
        let term = Term::stdout();
        let limit = term.is_term().then(|| usize::from(term.size().1));
        let widths = columns.map(|column| measure_text_width(column.title));
        Self { columns, widths, rows: Vec::new(), headed: false, limit }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N], out: &mut Output) -> Result<(), Failure> {
        let cells = cells.map(|cell| if cell.chars().any(char::is_control) { plain(&cell) } else { cell });
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(measure_text_width(cell));
        }
        self.rows.push(cells);
        if self.rows.len() >= BATCH { self.finish(out) } else { Ok(()) }
    }

    /// Prints what is held back.
    pub(crate) fn finish(&mut self, out: &mut Output) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.headed, true) {
            let titles = self.columns.map(|column| column.title.to_owned());
            out.line(self.text(&titles))?;
        }
        for row in std::mem::take(&mut self.rows) {
            out.line(self.text(&row))?;
        }
        Ok(())
    }

    fn text(&self, cells: &[String; N]) -> String {
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate().filter(|(index, _)| self.columns[*index].shown) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            line.push_str(&pad_str(cell, self.widths[index], self.columns[index].align, None));
        }
        let line = line.trim_end();
        self.limit.map_or_else(|| line.to_owned(), |limit| truncate_str(line, limit, "…").into_owned())
    }
}

/// Takes line breaks and terminal codes out of a text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
