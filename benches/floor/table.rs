//! The rows of the table: a measure, what it is compared with, the medians over all runs, their ratio, and the target.

/// One printed row.
pub struct Row<'a> {
    /// What is measured.
    pub measure: &'a str,
    /// What it is compared with; empty where nothing is.
    pub floor_name: &'a str,
    /// The unit of both values.
    pub unit: &'a str,
    /// One pair of values a run: the floor's and the router's. A row without a floor has 0 for it.
    pub runs: Vec<(u64, u64)>,
    /// What the ratio, or the value, should reach.
    pub target: &'a str,
}

/// Prints the head of the table.
pub fn print_head() {
    println!(
        "{:<44} {:<14} {:>12} {:>12} {:>7}  target",
        "measure", "beside", "floor", "router", "ratio"
    );
}

impl Row<'_> {
    /// Prints the row. The ratio is the median of the runs' ratios: each run measures both in turn.
    pub fn print(&self) {
        let floor = median(self.runs.iter().map(|(floor, _)| *floor));
        let router = median(self.runs.iter().map(|(_, router)| *router));
        let (unit, ratio) = (self.unit, median(self.runs.iter().map(ratio_in_thousandths)));
        let (floor, ratio) = match floor {
            0 => (String::new(), String::new()),
            _ => (
                format!("{floor}{unit}"),
                format!("{}.{:03}", ratio / 1_000, ratio % 1_000),
            ),
        };
        println!(
            "{:<44} {:<14} {floor:>12} {:>12} {ratio:>7}  {}",
            self.measure,
            self.floor_name,
            format!("{router}{unit}"),
            self.target,
        );
    }
}

fn ratio_in_thousandths((floor, router): &(u64, u64)) -> u64 {
    router.saturating_mul(1_000) / (*floor).max(1)
}

/// Returns the median; of an even number of values, the upper of the two in the middle.
pub fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
