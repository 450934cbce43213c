//! Figures out of what was measured.

use std::time::Duration;

/// Times, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this share, in thousandths, does not exceed; in milliseconds.
    pub fn ms(&self, thousandths: usize) -> f64 {
        let at = (self.0.len() * thousandths).div_ceil(1_000).saturating_sub(1);
        self.0.get(at).map_or(f64::NAN, |it| it.as_secs_f64() * 1_000.0)
    }
}

/// One row for each run, and the medians of their columns below.
pub struct Table {
    /// Heads of the columns, and digits after the point.
    columns: Vec<(&'static str, usize)>,
    rows: Vec<Vec<f64>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, usize)]) -> Self {
        let heads: Vec<String> = columns.iter().map(|it| format!("{:>11}", it.0)).collect();
        println!("{:<8}{}", "run", heads.concat());
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn add(&mut self, row: Vec<f64>) {
        self.rows.push(row);
        let n = self.rows.len();
        self.print(&n.to_string(), &self.rows[n - 1]);
    }

    /// Prints the medians and returns them.
    pub fn medians(&self) -> Vec<f64> {
        let column = |at: usize| median(self.rows.iter().map(|it| it[at]).collect());
        let medians: Vec<f64> = (0..self.columns.len()).map(column).collect();
        self.print("median", &medians);
        medians
    }

    fn print(&self, name: &str, row: &[f64]) {
        let cell = |it: (&f64, &(&str, usize))| format!("{:>11.*}", it.1.1, it.0);
        println!("{name:<8}{}", row.iter().zip(&self.columns).map(cell).collect::<String>());
    }
}

/// Of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// How many a second.
pub fn rate(n: usize, time: Duration) -> f64 {
    count(n) / time.as_secs_f64()
}

pub fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

pub fn verdict(name: &str, is_met: bool) {
    println!("{name}: {}\n", if is_met { "met" } else { "MISSED" });
}
