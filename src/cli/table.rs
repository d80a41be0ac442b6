//! Plain tables: columns as wide as their widest cell, no lines.

use std::fmt::Write;

use anstyle::Style;

use super::terminal::{DIM, paint};

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
        self.rows.push(cells.to_vec());
    }

    /// Writes the table.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut out = String::new();
        for row in &self.rows {
            let used = row.iter().rposition(|(_, text)| !text.is_empty()).map_or(0, |last| last + 1);
            for (column, (style, text)) in row[..used].iter().enumerate() {
                let is_last = column + 1 == used;
                out.push_str(&paint(*style, text));
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
}
