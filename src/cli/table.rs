//! Plain tables: columns as wide as their widest cell, no lines.

use std::fmt::Write;

use anstyle::Style;

use super::terminal::{DIM, paint};
use crate::model::{printable, width};

/// The narrowest column that text is wrapped in.
const NARROWEST: usize = 16;

/// A table under construction.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// Begins a table with its heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|word| (DIM, (*word).to_owned())).collect()] }
    }

    /// Adds a row; its last cell may be of any length.
    pub fn row<const N: usize>(&mut self, cells: [(Style, String); N]) {
        self.cells(cells.to_vec());
    }

    /// Adds a row of as many cells as there are. Whatever is in a cell, it stays in its row.
    pub fn cells(&mut self, cells: Vec<(Style, String)>) {
        self.rows
            .push(cells.into_iter().map(|(style, text)| (style, printable(&text, usize::MAX))).collect());
    }

    /// Its rows as texts, the heading first.
    pub fn texts(&self) -> impl Iterator<Item = Vec<&str>> {
        self.rows.iter().map(|row| row.iter().map(|(_, text)| text.as_str()).collect())
    }

    /// Tells whether every row fits into one line of a terminal of so many columns.
    pub fn fits(&self, limit: Option<usize>) -> bool {
        let Some(limit) = limit else { return true };
        self.render().lines().all(|line| width(line) <= limit)
    }

    /// Writes the table, with lines as long as they are.
    pub fn render(&self) -> String {
        self.fit(None)
    }

    /// Writes the table for a terminal of so many columns: a last cell that does not fit goes on
    /// in the next line, below itself.
    pub fn fit(&self, limit: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| width(text)).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in &self.rows {
            let used = row.iter().rposition(|(_, text)| !text.is_empty()).map_or(0, |last| last + 1);
            let mut start = 0;
            for (column, (style, text)) in row[..used].iter().enumerate() {
                let is_last = column + 1 == used;
                if is_last && column + 1 == columns {
                    let lines = wrapped(text, limit.map(|limit| limit.saturating_sub(start)));
                    let lines: Vec<String> = lines.iter().map(|line| paint(*style, line)).collect();
                    out.push_str(&lines.join(&format!("\n{:start$}", "")));
                    continue;
                }
                out.push_str(&paint(*style, text));
                start += widths[column] + 2;
                if !is_last {
                    let gap = widths[column] - width(text) + 2;
                    let _ = write!(out, "{:gap$}", "");
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Cuts a text between words into lines of at most `limit` columns; a longer word stays
/// whole, and where there is hardly room nothing is cut.
fn wrapped(text: &str, limit: Option<usize>) -> Vec<String> {
    let Some(limit) = limit.filter(|limit| *limit >= NARROWEST) else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) > limit {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the marks of styles.
    fn unmarked(text: &str) -> String {
        text.chars().filter(|c| *c == '\n' || crate::model::is_plain(*c)).collect()
    }

    #[test]
    fn a_cell_makes_no_row_and_no_column() {
        let mut table = Table::new(&["BOX", "STATE"]);
        table.row([
            (Style::new(), "漢字".to_owned()),
            (Style::new(), "a\nevil  present\r\u{1b}[1A\u{202e}".to_owned()),
        ]);
        table.row([(Style::new(), "e\u{301}t".to_owned()), (Style::new(), "x".to_owned())]);
        let text = unmarked(&table.render());
        assert_eq!(text, "BOX   STATE\n漢字  a\\nevil  present\\r\\u{1b}[1A\\u{202e}\ne\u{301}t    x\n");
    }

    #[test]
    fn columns_line_up() {
        let plain = Style::new();
        let mut table = Table::new(&["BOX", "STATE"]);
        table.row([(plain, "base-long".to_owned()), (plain, "present".to_owned())]);
        table.row([(plain, "b".to_owned()), (plain, "x".to_owned())]);
        table.row([(plain, "c".to_owned()), (plain, String::new())]);
        let text = unmarked(&table.render());
        assert_eq!(text, "BOX        STATE\nbase-long  present\nb          x\nc\n");
    }

    #[test]
    fn a_last_cell_goes_on_below_itself() {
        let plain = Style::new();
        let mut table = Table::new(&["BOX", "REASON"]);
        table.row([(plain, "base".to_owned()), (plain, "no image has this key at all".to_owned())]);
        let fit = |width| unmarked(&table.fit(Some(width)));
        assert_eq!(fit(23), "BOX   REASON\nbase  no image has this\n      key at all\n");
        assert_eq!(fit(12), "BOX   REASON\nbase  no image has this key at all\n");
        assert!(table.fits(None) && table.fits(Some(34)) && !table.fits(Some(33)));
    }
}
