//! Makes the table of what was measured: lines of name, measure and value on standard input, two
//! sentences about machine and day as arguments, Markdown on standard output.
#![forbid(unsafe_code)]

mod peers;

use std::{collections::BTreeMap, io::Read};

use peers::{AHEAD, PEERS};

/// Where versions are from.
const LOCK: &str = include_str!("../../Cargo.lock");

/// How much better than bgjob is ahead of it, and not the noise of a run.
const CLEARLY: f64 = 1.1;

/// The columns: measure, heading, and whether less is better.
const COLUMNS: &[(&str, &str, bool)] = &[
    ("drain deleted", "drain, row deleted", false),
    ("drain kept", "drain, row kept", false),
    ("bulk", "enqueue by 1,000", false),
    ("enqueue", "enqueue from 256 tasks", false),
    ("pickup p50", "one process, p50", true),
    ("pickup p99", "one process, p99", true),
    ("across p50", "two processes, p50", true),
    ("across p99", "two processes, p99", true),
    ("cpu deleted", "client, row deleted", true),
    ("cpu kept", "client, row kept", true),
    ("server cpu deleted", "server, row deleted", true),
    ("server cpu kept", "server, row kept", true),
];

/// The columns of each table.
const TABLES: &[(&str, &[usize])] = &[
    ("jobs/s (and of bgjob's)", &[0, 1, 2, 3]),
    ("idle pickup, ms", &[4, 5, 6, 7]),
    ("CPU of a drained job, µs", &[8, 9, 10, 11]),
];

/// The values of each measure of each peer.
struct Figures(BTreeMap<(String, String), Vec<f64>>);

impl Figures {
    fn read(text: &str) -> Self {
        let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for line in text.lines() {
            let columns: Vec<_> = line.split('\t').collect();
            if let [peer, measure, value] = columns[..]
                && let Ok(value) = value.parse()
            {
                let key = (peer.to_owned(), measure.to_owned());
                all.entry(key).or_default().push(value);
            }
        }
        Self(all)
    }

    fn median(&self, peer: &str, measure: &str) -> Option<f64> {
        let mut values = self.0.get(&(peer.to_owned(), measure.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Some(if values.len() % 2 == 0 {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        })
    }

    fn rounds(&self) -> usize {
        self.0.values().map(Vec::len).max().unwrap_or(0)
    }

    fn has(&self, peer: &str) -> bool {
        self.0.keys().any(|(name, _)| name == peer)
    }
}

/// `63 k`, `2.2`.
fn short(value: f64) -> String {
    match value {
        v if v >= 99_500.0 => format!("{:.0} k", v / 1e3),
        v if v >= 1000.0 => format!("{:.1} k", v / 1e3),
        v if v >= 99.5 => format!("{v:.0}"),
        v if v >= 9.95 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn table(figures: &Figures, title: &str, columns: &[usize]) -> String {
    let columns: Vec<_> = columns.iter().map(|at| COLUMNS[*at]).collect();
    let heads: Vec<_> = columns.iter().map(|(_, head, _)| *head).collect();
    let mut text = format!("| {title} | {} |\n|---|", heads.join(" | "));
    text += &"---|".repeat(columns.len());
    text += "\n";
    for peer in PEERS.iter().filter(|peer| figures.has(peer.name)) {
        text += &format!("| {} |", peer.name);
        for (measure, _, less) in &columns {
            let value = figures.median(peer.name, measure);
            let ours = figures.median("bgjob", measure);
            text += &match (value, ours) {
                (None, _) => " |".to_owned(),
                (Some(value), Some(ours)) if peer.name != "bgjob" && !less => {
                    format!(" {} ({:.2}) |", short(value), value / ours)
                }
                (Some(value), _) => format!(" {} |", short(value)),
            };
        }
        text += "\n";
    }
    text + "\n"
}

fn version(name: &str) -> &str {
    let start = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split(&start).nth(1);
    version
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("")
}

fn abouts(figures: &Figures) -> String {
    let mut text = "| | settings | is an end fenced? | rows of done jobs | a dead worker's jobs \
                    are back after |\n|---|---|---|---|---|\n"
        .to_owned();
    for peer in PEERS.iter().filter(|peer| figures.has(peer.name)) {
        let (name, version) = (peer.name, version(peer.name));
        let cells = [peer.settings, peer.fence, peer.rows, peer.rescue].join(" | ");
        text += &format!("| {} | {cells} |\n", format!("{name} {version}").trim());
    }
    text + "\n"
}

/// Where others are ahead, and why: a line a column.
fn ahead(figures: &Figures) -> String {
    let mut lines = String::new();
    for (measure, head, less) in COLUMNS {
        let Some(ours) = figures.median("bgjob", measure) else {
            continue;
        };
        let others = PEERS.iter().map(|peer| peer.name);
        let others = others.filter(|name| !["bgjob", "raw"].contains(name));
        let ahead: Vec<_> = others
            .filter_map(|name| Some((name, figures.median(name, measure)?)))
            .filter(|(_, theirs)| *theirs > 0.0)
            .filter(|(_, theirs)| CLEARLY <= if *less { ours / theirs } else { theirs / ours })
            .map(|(name, theirs)| format!("{name} {}", short(theirs)))
            .collect();
        if ahead.is_empty() {
            continue;
        }
        let why = AHEAD.iter().find(|(of, _)| of == measure);
        let why = why.map(|(_, why)| format!(" {why}")).unwrap_or_default();
        let (ahead, ours) = (ahead.join(", "), short(ours));
        lines += &format!("* {head}: {ahead}; bgjob {ours}.{why}\n");
    }
    if lines.is_empty() {
        return "No peer is ahead of bgjob by a tenth or more in any column.\n".to_owned();
    }
    format!("Peers that are ahead of bgjob by a tenth or more:\n\n{lines}")
}

fn main() {
    let about: Vec<_> = std::env::args().skip(1).collect();
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .expect("the figures are text");
    let figures = Figures::read(&input);
    let rounds = figures.rounds();
    println!("{}; medians of {rounds}.\n", about.join(" "));
    for (title, columns) in TABLES {
        print!("{}", table(&figures, title, columns));
    }
    print!("{}{}", abouts(&figures), ahead(&figures));
}
