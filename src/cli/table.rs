//! Plain tables: columns as wide as their widest cell, no lines.

use std::fmt::Write;

use anstyle::Style;

use super::terminal::{DIM, paint};

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

    /// Adds a row of as many cells as there are.
    pub fn cells(&mut self, cells: Vec<(Style, String)>) {
        self.rows.push(cells);
    }

    /// Its rows as texts, the heading first.
    pub fn texts(&self) -> impl Iterator<Item = Vec<&str>> {
        self.rows.iter().map(|row| row.iter().map(|(_, text)| text.as_str()).collect())
    }

    /// Tells whether every row fits into one line of a terminal of so many columns.
    pub fn fits(&self, limit: Option<usize>) -> bool {
        let Some(limit) = limit else { return true };
        let text = anstream::adapter::strip_str(&self.render()).to_string();
        text.lines().all(|line| line.chars().count() <= limit)
    }

    /// Writes the table, with lines as long as they are.
    pub fn render(&self) -> String {
        self.fit(None)
    }

    /// Writes the table for a terminal of so many columns: a last cell that does not fit goes on
    /// in the next line, below itself.
    pub fn fit(&self, limit: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
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
                    let gap = widths[column] - text.chars().count() + 2;
                    let _ = write!(out, "{:gap$}", "");
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Cuts a text between words into lines of at most `width` characters; a longer word stays
/// whole, and where there is hardly room nothing is cut.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|width| *width >= NARROWEST) else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
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

    #[test]
    fn columns_line_up() {
        let plain = Style::new();
        let mut table = Table::new(&["BOX", "STATE"]);
        table.row([(plain, "base-long".to_owned()), (plain, "present".to_owned())]);
        table.row([(plain, "b".to_owned()), (plain, "x".to_owned())]);
        table.row([(plain, "c".to_owned()), (plain, String::new())]);
        let text = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(text, "BOX        STATE\nbase-long  present\nb          x\nc\n");
    }

    #[test]
    fn a_last_cell_goes_on_below_itself() {
        let plain = Style::new();
        let mut table = Table::new(&["BOX", "REASON"]);
        table.row([(plain, "base".to_owned()), (plain, "no image has this key at all".to_owned())]);
        let fit = |width| anstream::adapter::strip_str(&table.fit(Some(width))).to_string();
        assert_eq!(fit(23), "BOX   REASON\nbase  no image has this\n      key at all\n");
        assert_eq!(fit(12), "BOX   REASON\nbase  no image has this key at all\n");
        assert!(table.fits(None) && table.fits(Some(34)) && !table.fits(Some(33)));
    }
}
