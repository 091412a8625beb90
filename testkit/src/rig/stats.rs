//! Quantiles, and tables that line up.

/// The q-quantile (0 to 1) by nearest rank; NaN where there is no value.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// Median, 99th percentile and maximum.
pub fn spread(mut values: Vec<f64>) -> [f64; 3] {
    [0.5, 0.99, 1.0].map(|q| quantile(&mut values, q))
}

/// A number with as many digits as a reader needs; `-` where there is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        "-".to_owned()
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Rows of text; the first is the head.
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with a head.
    pub fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    /// Prints it as Markdown, lined up.
    pub fn print(&self) {
        let columns = self.0[0].len();
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (n, row) in self.0.iter().enumerate() {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if n == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                println!("|-{}-|", rules.join("-|-"));
            }
        }
    }
}
