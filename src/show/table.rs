//! Rows under each other, as `ps` shows them.

use crate::show::{Paint, clean};

/// A table with a heading: columns as wide as their widest cell, the last one ragged.
pub fn render(heading: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| clean(cell)).collect())
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([heading[column].len()])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<_> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| super::pad(cell, *width))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = format!("{}\n", paint.dim(&line(heading.to_vec())));
    for row in &rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            vec!["analytics".to_owned(), "running".to_owned()],
            vec!["ivr".to_owned(), "exited\x1b".to_owned()],
        ];
        assert_eq!(
            render(&["SERVICE", "STATE"], &rows, Paint::default()),
            "SERVICE    STATE\nanalytics  running\nivr        exited\\x1b\n"
        );
    }
}
