//! The table, or a JSON line a measurement.

/// What was measured so far.
pub struct Report {
    json: bool,
}

impl Report {
    pub fn new(json: bool) -> Self {
        if !json {
            println!(
                "{:<58} {:>14} {:>8} {:>9}",
                "what", "measured", "ratio", "goal"
            );
        }
        Self { json }
    }

    /// A rate beside the raw limit of the same work, and the ratio that is aimed at.
    pub fn rate(&mut self, what: &str, rate: f64, raw: Option<(f64, f64)>) {
        let ratio = raw.map(|(limit, goal)| (rate / limit, format!("≥ {goal}")));
        self.line(what, rate, "jobs/s", ratio);
    }

    /// A figure with its goal as a text.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, goal: &str) {
        let goal = (!goal.is_empty()).then(|| (f64::NAN, goal.to_owned()));
        self.line(what, value, unit, goal);
    }

    fn line(&mut self, what: &str, value: f64, unit: &str, ratio: Option<(f64, String)>) {
        let (ratio, goal) = ratio.unwrap_or((f64::NAN, String::new()));
        if self.json {
            let ratio = if ratio.is_nan() { None } else { Some(ratio) };
            let line = serde_json::json!({
                "what": what, "value": value, "unit": unit, "ratio": ratio, "goal": goal,
            });
            println!("{line}");
            return;
        }
        let ratio = if ratio.is_nan() {
            String::new()
        } else {
            format!("{ratio:.2}")
        };
        let digits = if value < 100.0 { 3 } else { 0 };
        println!(
            "{what:<58} {:>14} {ratio:>8} {goal:>9}",
            format!("{value:.digits$} {unit}")
        );
    }

    pub fn end(&self) {
        if !self.json {
            println!("ratio: to the raw limit measured in this run. Settings: default everywhere.");
        }
    }
}
