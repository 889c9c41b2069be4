//! The keys that documents are filed under. [`Documents`](super::Documents) has the table.

use crate::{
    Job, Timestamp,
    job::{Phase, Serves, State},
    store::{Key, KeyRange},
};

pub(super) const TOUCH: char = 't';
pub(super) const EXPIRE: char = 'x';
pub(super) const LEASE: char = 'l';
pub(super) const PURGE: char = 'p';
pub(super) const LOOK: char = 'k';
pub(super) const READY: char = 'r';

/// The keys of a job.
pub(super) fn of_job(job: &Job) -> Vec<Key> {
    let queue = &job.spec.queue;
    match &job.phase {
        Phase::Ready { touch_at } => {
            let limit = job.expires_at.into_iter().chain(job.deadline_at).min();
            [ready(job), at(TOUCH, *touch_at)]
                .into_iter()
                .chain(limit.map(|limit| at(EXPIRE, limit)))
                .collect()
        }
        Phase::Running(hold) => {
            let rest = format!("{queue},{:08x}", tag(&job.spec.name));
            vec![with(LEASE, hold.lease_until, &rest)]
        }
        Phase::Ended(end) => {
            let rest = format!("{queue},{},{:08x}", job.state(), tag(&job.spec.name));
            vec![with(PURGE, end.purge_at, &rest)]
        }
    }
}

/// The key of an id that is kept until this time.
pub(super) fn purge(until: Timestamp) -> Key {
    at(PURGE, until)
}

/// The key of a unique key's document that is checked at this time.
pub(super) fn look(time: Timestamp) -> Key {
    at(LOOK, time)
}

/// What is filed by time, up to and including `now`.
pub(super) fn until(kind: char, now: Timestamp) -> KeyRange {
    let next = now.as_millis() + 1;
    KeyRange {
        from: Key::new(format!("{kind},")),
        until: Key::new(format!("{kind},{next:012x}")),
    }
}

/// All of one kind.
pub(super) fn all(kind: char) -> KeyRange {
    within(format!("{kind},"))
}

/// The waiting jobs of a queue that have this rank.
pub(super) fn waiting(queue: &str, rank: u8) -> KeyRange {
    within(format!("{READY},{queue},{rank},"))
}

/// All keys with this prefix, which ends in a comma: `-` is the byte after it.
fn within(prefix: String) -> KeyRange {
    let stem = &prefix[..prefix.len() - 1];
    KeyRange {
        until: Key::new(format!("{stem}-")),
        from: Key::new(prefix),
    }
}

fn at(kind: char, time: Timestamp) -> Key {
    Key::new(format!("{kind},{:012x}", time.as_millis()))
}

fn with(kind: char, time: Timestamp, rest: &str) -> Key {
    Key::new(format!("{kind},{:012x},{rest}", time.as_millis()))
}

fn ready(job: &Job) -> Key {
    let spec = &job.spec;
    Key::new(format!(
        "{READY},{},{},{:012x},{:08x},{},{}{}",
        spec.queue,
        spec.priority.rank(),
        job.due_at.as_millis(),
        tag(&spec.name),
        spec.version,
        u8::from(job.is_suspect()),
        if job.has_started() { ",1" } else { "" },
    ))
}

/// What the key of a waiting job says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) due_at: Timestamp,
    pub(super) suspect: bool,
    tag: u32,
    version: u32,
}

impl Waiting {
    pub(super) fn read(key: &Key) -> Option<Self> {
        let mut fields = key.as_str().split(',').skip(3);
        let due_at = i64::from_str_radix(fields.next()?, 16).ok()?;
        let tag = u32::from_str_radix(fields.next()?, 16).ok()?;
        let version = fields.next()?.parse().ok()?;
        Some(Self {
            due_at: Timestamp::from_millis(due_at),
            suspect: fields.next()? == "1",
            tag,
            version,
        })
    }
}

/// What a claimer serves, as far as keys can tell.
#[derive(Debug)]
pub(super) struct Served(Vec<(u32, u32)>);

impl Served {
    pub(super) fn new(serves: &Serves) -> Self {
        Self(
            serves
                .jobs
                .iter()
                .map(|(name, version)| (tag(name), *version))
                .collect(),
        )
    }

    /// Whether the claimer can run this job, as far as its key tells: names can share a tag.
    pub(super) fn may_run(&self, job: &Waiting) -> bool {
        self.0
            .iter()
            .any(|(tag, version)| *tag == job.tag && job.version <= *version)
    }
}

/// What a key says of its job, for counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted<'a> {
    pub(super) queue: &'a str,
    /// The tag of its name. Keys made by an earlier version may lack it.
    pub(super) tag: Option<u32>,
    pub(super) state: State,
    /// For a waiting job: when it is due, and whether it has been started before.
    pub(super) waits: Option<(Timestamp, bool)>,
}

impl<'a> Counted<'a> {
    /// `None` where the key does not belong to a job.
    pub(super) fn read(key: &'a Key) -> Option<Self> {
        let mut fields = key.as_str().split(',');
        let hex = |field: Option<&str>| u32::from_str_radix(field?, 16).ok();
        let (queue, tag, state, waits) = match fields.next()? {
            "r" => {
                let (waiting, queue) = (Waiting::read(key)?, fields.next()?);
                let waits = (waiting.due_at, fields.nth(5) == Some("1"));
                (queue, Some(waiting.tag), State::Ready, Some(waits))
            }
            "l" => {
                let queue = fields.nth(1)?;
                (queue, hex(fields.next()), State::Running, None)
            }
            "p" => {
                let (queue, name) = (fields.nth(1)?, fields.next()?);
                let mut states = State::ALL.into_iter();
                let state = states.find(|state| state.as_str() == name)?;
                (queue, hex(fields.next()), state, None)
            }
            _ => return None,
        };
        Some(Self {
            queue,
            tag,
            state,
            waits,
        })
    }
}

/// A hash of a name in 32 bits (FNV-1a). It is stored, so it must never change.
fn tag(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        JobId, JobSpec, Json,
        job::{Due, NewJob, limits, transition},
    };

    #[test]
    fn the_longest_names_fit() {
        let mut spec = JobSpec::new("n".repeat(limits::NAME), Json::null());
        (spec.queue, spec.version) = ("q".repeat(limits::QUEUE).into(), u32::MAX);
        let new = NewJob {
            id: JobId::new(),
            spec: spec.into(),
            due: Due::At(Timestamp::MAX),
            aliases: &[],
        };
        let job = transition::create(&new, Timestamp::MIN);
        for key in of_job(&job) {
            assert!(key.as_str().len() <= Key::MAX, "{key:?}");
        }
    }

    #[test]
    fn a_key_tells_what_counts_need() {
        let key = |text: &str| Key::new(text.to_owned());
        let counted = |text: &str| {
            let key = key(text);
            let read = Counted::read(&key)?;
            Some((read.queue.to_owned(), read.tag, read.state, read.waits))
        };
        let due_at = Timestamp::from_millis(0x018b_cfe5_6800);
        let ready = |started| {
            let waits = Some((due_at, started));
            Some(("a".to_owned(), Some(7), State::Ready, waits))
        };
        assert_eq!(counted("r,a,2,018bcfe56800,00000007,0,0"), ready(false));
        assert_eq!(counted("r,a,2,018bcfe56800,00000007,0,0,1"), ready(true));
        let of = |tag, state| Some(("a".to_owned(), tag, state, None));
        let running = |tag| of(tag, State::Running);
        assert_eq!(counted("l,018bcfe56800,a,00000007"), running(Some(7)));
        assert_eq!(counted("l,018bcfe56800,a"), running(None), "as of old");
        let dead = counted("p,018bcfe56800,a,dead,00000007");
        assert_eq!(dead, of(Some(7), State::Dead));
        assert_eq!(counted("p,018bcfe56800,a,dead"), of(None, State::Dead));
        assert_eq!(counted("p,018bcfe56800"), None, "an id that is remembered");
        assert_eq!(counted("t,018bcfe56800"), None);
    }

    #[test]
    fn queues_with_like_names_are_apart() {
        for (queue, other) in [
            ("a", "a.b"),
            ("a", "a-b"),
            ("a", "ab"),
            ("a", "a0"),
            ("a-b", "a"),
        ] {
            let key = Key::new(format!("r,{other},2,018bcfe56800,00000000,0,0"));
            assert!(!waiting(queue, 2).contains(&key), "{queue} {other}");
            assert!(waiting(other, 2).contains(&key));
        }
    }
}
