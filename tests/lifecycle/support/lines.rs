//! [`Lines`]: a subscriber of `tracing` that keeps what it hears.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_core::span::Current;

/// All lines and spans of this thread. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Vec<Line>,
    spans: BTreeMap<u64, Fields>,
    kinds: BTreeMap<u64, &'static Metadata<'static>>,
    inside: Vec<u64>,
}

/// One line: `WARN what it says name=value …`, and the span that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) span: Fields,
}

/// Names and values, a value with its type where that is not a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) BTreeMap<&'static str, String>, Vec<&'static str>);

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        self.1.push(field.name());
        self.0.insert(field.name(), value);
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, format!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl Lines {
    /// Listens to this thread until the guard is dropped.
    pub(crate) fn listen() -> (Self, DefaultGuard) {
        // Where there is but one, a thread that has none decides for all that nobody listens.
        static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));
        LazyLock::force(&OTHER);
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        (lines, guard)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap()
    }

    /// The lines of this level that were heard so far.
    pub(crate) fn of(&self, level: &str) -> Vec<Line> {
        let heard = self.heard();
        let of = heard.lines.iter().filter(|l| l.text.starts_with(level));
        of.cloned().collect()
    }

    /// The lines that warn, or worse.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let heard = self.heard();
        let loud = |l: &&Line| l.text.starts_with("WARN") || l.text.starts_with("ERROR");
        let loud = heard.lines.iter().filter(loud);
        loud.map(|line| line.text.clone()).collect()
    }

    /// What was recorded in each span, by the time of its end.
    pub(crate) fn spans(&self) -> Vec<Fields> {
        self.heard().spans.values().cloned().collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "bgjob"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = 1 + self.0.next.fetch_add(1, SeqCst);
        let mut fields = Fields::default();
        fields.0.insert("span", span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut heard = self.heard();
        heard.spans.insert(id, fields);
        heard.kinds.insert(id, span.metadata());
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(fields) = self.heard().spans.get_mut(&span.into_u64()) {
            values.record(fields);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = event.metadata().level().to_string();
        let message = fields.0.remove("message").unwrap_or_default();
        write!(text, " {message}").unwrap();
        for name in fields.1.iter().filter(|name| **name != "message") {
            write!(text, " {name}={}", fields.0[name]).unwrap();
        }
        let mut heard = self.heard();
        let span = heard.inside.last().and_then(|id| heard.spans.get(id));
        let span = span.cloned().unwrap_or_default();
        heard.lines.push(Line { text, span });
    }

    fn enter(&self, span: &Id) {
        self.heard().inside.push(span.into_u64());
    }

    fn current_span(&self) -> Current {
        let heard = self.heard();
        let last = heard.inside.last();
        let known = last.and_then(|id| Some((Id::from_u64(*id), *heard.kinds.get(id)?)));
        known.map_or_else(Current::none, |(id, kind)| Current::new(id, kind))
    }

    fn exit(&self, span: &Id) {
        let mut heard = self.heard();
        let last = heard.inside.iter().rposition(|id| *id == span.into_u64());
        if let Some(last) = last {
            heard.inside.remove(last);
        }
    }
}
