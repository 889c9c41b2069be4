//! T2 (claim), by id and of ready jobs.

use std::{collections::HashSet, time::Duration};

use super::{
    Documents,
    change::{Read, one_of_each},
    keys::{self, Served, Waiting},
};
use crate::{
    Job, JobId, Priority, Result, Timestamp,
    job::{
        ClaimedJob, Grant, Phase, Room, Serves, Token,
        transition::{self, Refusal},
    },
    store::{Claim, Claimed, DocumentStore, Filed, Want},
};

/// Keys looked at in one scan.
const PAGE: usize = 256;

impl<D: DocumentStore> Documents<D> {
    pub(super) async fn claim_ids(
        &self,
        ids: &[JobId],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Vec<Claim>> {
        let mut serves = serves.clone();
        let mut room = Room::default();
        let mut answers: Vec<Option<Claim>> = ids.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..ids.len()).collect();
        let mut futile = 0;
        while !open.is_empty() {
            Self::give_way(futile).await;
            let (mut turn, mut again) = one_of_each(&open, |nth| ids[nth]);
            let portion = self.sizes.portion().min(turn.len());
            again.extend(turn.drain(portion..));
            let wanted: Vec<_> = turn.iter().map(|&nth| ids[nth]).collect();
            let claims = self
                .try_claim(&wanted, grant, &mut serves, &mut room, OwnClaims::Answered)
                .await?;
            let duplicates = again.len();
            for (&nth, claim) in turn.iter().zip(claims) {
                match claim {
                    Some(claim) => answers[nth] = Some(claim),
                    None => again.push(nth),
                }
            }
            let lost = again.len() - duplicates;
            futile = if lost == turn.len() { futile + 1 } else { 0 };
            if futile == Self::ROUNDS {
                return Err(self.contended());
            }
            again.sort_unstable();
            open = again;
        }
        Ok(answers
            .into_iter()
            .map(|claim| claim.unwrap_or(Claim::Missing))
            .collect())
    }

    /// Claims what it can of these jobs, each named once. `None` where another writer was faster.
    /// Updates in `serves` whether a suspect is still wanted.
    async fn try_claim(
        &self,
        ids: &[JobId],
        grant: &Grant,
        serves: &mut Serves,
        room: &mut Room,
        held: OwnClaims,
    ) -> Result<Vec<Option<Claim>>> {
        let now = self.clock();
        let mut reads = self.read(ids).await?;
        let suspects = |read: &Read| match read {
            Read::Job(job, _) => job.is_suspect() && holds(job, grant.token),
            Read::Unreadable | Read::Nothing => false,
        };
        serves.suspect &= !reads.iter().any(suspects);
        let mut claims = Vec::with_capacity(ids.len());
        let (mut writes, mut written) = (Vec::new(), Vec::new());
        for (nth, read) in reads.iter_mut().enumerate() {
            let (job, version) = match read {
                Read::Job(job, version) => (job, version),
                Read::Unreadable => {
                    claims.push(Some(Claim::Unreadable));
                    continue;
                }
                Read::Nothing => {
                    claims.push(Some(Claim::Missing));
                    continue;
                }
            };
            let again = holds(job, grant.token);
            if again && held == OwnClaims::LeftOut {
                claims.push(Some(Claim::Busy));
                continue;
            }
            let bytes = job.spec.bytes();
            let claim = transition::claim(job, grant, serves, now);
            if claim.is_ok() && !again {
                if !room.fits(bytes) {
                    claims.push(Some(Claim::Full));
                    continue;
                }
                room.take(bytes);
                serves.suspect &= !job.is_suspect();
                writes.push(((**job).clone(), version.clone()));
                written.push(nth);
            }
            claims.push(Some(claim.map_or_else(refused, Claim::Claimed)));
        }
        for (nth, done) in written.into_iter().zip(self.write_jobs(writes).await?) {
            if !done {
                claims[nth] = None;
            }
        }
        Ok(claims)
    }

    pub(super) async fn claim_scanned(
        &self,
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<Claimed> {
        let mut scan = Scan {
            jobs: Vec::new(),
            unreadable: Vec::new(),
            lost: HashSet::new(),
            portion: 0,
            full: 0,
            room: Room::default(),
            no_room: false,
            more: false,
            next: None,
            now: self.clock(),
            grant,
            serves: serves.clone(),
            served: Served::new(serves),
            suspects: serves.suspect,
        };
        if grant.repeat {
            scan.jobs = self.held_by(grant.token).await?;
            scan.serves.suspect &= scan.jobs.iter().all(|job| !job.is_suspect());
            let held = scan.jobs.iter();
            held.for_each(|job| scan.room.take(job.spec.bytes()));
        }
        for Want { queue, max } in want {
            let held = scan
                .jobs
                .iter()
                .filter(|job| job.spec.queue == *queue)
                .count();
            scan.full = scan.jobs.len() + max.saturating_sub(held);
            // Scan once more where another claimer was faster: jobs that were added since were not
            // in the scan, and an empty answer would say that there are none.
            loop {
                let lost = scan.lost.len();
                for priority in Priority::ALL {
                    if !scan.no_room {
                        self.claim_rank(queue, priority, &mut scan).await?;
                    }
                }
                if scan.lost.len() == lost || scan.jobs.len() >= scan.full || scan.no_room {
                    break;
                }
            }
        }
        let next = scan.next.filter(|_| !scan.more);
        let next = next.map(|due_at| due_at.since(scan.now));
        Ok(Claimed {
            jobs: scan.jobs,
            next_due_in: if scan.no_room {
                Some(Duration::ZERO)
            } else {
                next
            },
            unreadable: scan.unreadable,
        })
    }

    /// Claims the jobs of one queue and priority, the longest due first.
    async fn claim_rank(&self, queue: &str, priority: Priority, scan: &mut Scan<'_>) -> Result<()> {
        let range = keys::waiting(queue, priority.rank());
        let mut after = None;
        loop {
            let page = self.store.scan(&range, after.as_ref(), PAGE).await?;
            let mut rest = page.as_slice();
            while !rest.is_empty() {
                scan.portion = self.sizes.portion();
                let taken = scan.take(rest);
                let claims = self
                    .try_claim(
                        &taken.ids,
                        scan.grant,
                        &mut scan.serves,
                        &mut scan.room,
                        OwnClaims::LeftOut,
                    )
                    .await?;
                for (claim, id) in claims.into_iter().zip(&taken.ids) {
                    match claim {
                        Some(Claim::Claimed(job)) => scan.jobs.push(job),
                        Some(Claim::Unreadable) if scan.unreadable.contains(id) => {}
                        Some(Claim::Unreadable) => scan.unreadable.push(*id),
                        None | Some(Claim::Busy | Claim::Terminal | Claim::Missing) => {
                            scan.lost.insert(*id);
                        }
                        Some(Claim::Full) => scan.no_room = true,
                        Some(Claim::NotDue | Claim::NotServed) => {}
                    }
                }
                if taken.last || scan.no_room {
                    return Ok(());
                }
                rest = taken.rest;
            }
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.into_iter().last();
        }
    }

    /// The jobs that this token holds. Reads all running jobs, so it is called only after a lost
    /// answer.
    async fn held_by(&self, token: Token) -> Result<Vec<ClaimedJob>> {
        let mut held: Vec<ClaimedJob> = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .store
                .scan(&keys::all(keys::LEASE), after.as_ref(), PAGE)
                .await?;
            let ids: Vec<_> = page.iter().map(|(_, id)| *id).collect();
            for ids in ids.chunks(self.sizes.portion()) {
                for (job, _) in self.read_jobs(ids).await?.into_iter().flatten() {
                    // A renewal between two pages makes a job appear twice.
                    if let Phase::Running(hold) = &job.phase
                        && hold.token == token
                        && held.iter().all(|known| known.id != job.id)
                    {
                        held.push(transition::claimed(&job, hold));
                    }
                }
            }
            if page.len() < PAGE {
                return Ok(held);
            }
            after = page.into_iter().last();
        }
    }
}

/// What a claim does with a job that its token already holds.
#[derive(Clone, Copy, PartialEq)]
enum OwnClaims {
    /// Returns it again.
    Answered,
    /// Leaves it out: it was returned before, or it was not asked for and an old key has led to it.
    LeftOut,
}

/// A claim of ready jobs, under way.
struct Scan<'a> {
    jobs: Vec<ClaimedJob>,
    unreadable: Vec<JobId>,
    /// Jobs that looked ready and that others have claimed or changed.
    lost: HashSet<JobId>,
    /// How many jobs are read at a time.
    portion: usize,
    /// How many jobs the answer may have when the current queue is done.
    full: usize,
    room: Room,
    /// A job was left because the batch had no room for its bytes.
    no_room: bool,
    /// There are more ready jobs than were wanted.
    more: bool,
    next: Option<Timestamp>,
    now: Timestamp,
    grant: &'a Grant,
    serves: Serves,
    served: Served,
    /// Suspects were wanted at first.
    suspects: bool,
}

/// Which part of a page of keys to try next.
struct Chunk<'a> {
    ids: Vec<JobId>,
    rest: &'a [Filed],
    /// The rest of the keys is of no use.
    last: bool,
}

impl Scan<'_> {
    fn take<'p>(&mut self, page: &'p [Filed]) -> Chunk<'p> {
        let mut ids = Vec::new();
        let mut suspect = self.serves.suspect;
        for (nth, (key, id)) in page.iter().enumerate() {
            let Some(waiting) = Waiting::read(key) else {
                continue;
            };
            let due_at = waiting.due_at;
            let served = self.served.may_run(&waiting) && (self.suspects || !waiting.suspect);
            if due_at > self.now {
                if served {
                    self.next = Some(self.next.map_or(due_at, |next| next.min(due_at)));
                }
                if self.next.is_some_and(|next| next <= due_at) {
                    let (rest, last) = (&page[nth..], true);
                    return Chunk { ids, rest, last };
                }
                continue;
            }
            if !served || waiting.suspect && !self.serves.suspect {
                continue;
            }
            if waiting.suspect && !suspect {
                // The suspect before this one may turn out to be too late; then this one is tried.
                let (rest, last) = (&page[nth..], false);
                return Chunk { ids, rest, last };
            }
            if ids.len() >= self.portion {
                let (rest, last) = (&page[nth..], false);
                return Chunk { ids, rest, last };
            }
            if self.jobs.len() + ids.len() >= self.full {
                // The jobs taken may turn out to be another claimer's; then this one is tried.
                let (rest, last) = (&page[nth..], ids.is_empty());
                self.more |= last;
                return Chunk { ids, rest, last };
            }
            suspect &= !waiting.suspect;
            ids.push(*id);
        }
        let (rest, last) = (&page[page.len()..], false);
        Chunk { ids, rest, last }
    }
}

fn holds(job: &Job, token: Token) -> bool {
    matches!(&job.phase, Phase::Running(hold) if hold.token == token)
}

fn refused(refusal: Refusal) -> Claim {
    match refusal {
        Refusal::NotDue => Claim::NotDue,
        Refusal::Busy => Claim::Busy,
        Refusal::NotServed => Claim::NotServed,
        Refusal::Terminal => Claim::Terminal,
    }
}
