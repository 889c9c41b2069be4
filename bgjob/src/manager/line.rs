//! Decides which enqueue carries a batch: the line of waiting enqueues, and the leads that are
//! passed on from one to the next.
//!
//! A lead is the right to have one batch under way. When that batch is done, the lead goes to the
//! first waiting enqueue. The next batch is carried in the runtime of *that* enqueue, which lives
//! at least until its own job is answered. So a runtime that ends takes along only the batch under
//! way in it; enqueues that wait in the line stay there.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
};

use super::batch::{Creates, fitting};
use crate::lock::Locked;
use crate::{JobId, Result, job::NewJob, store::Created, task};

/// How many batches may be under way at a time: while the store works on one, the next is made.
const ABREAST: usize = 2;

/// What a waiting enqueue gets. It gets nothing if the runtime that carried its job has ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// The answer for its job.
    Answer(Result<Created>),
    /// It has no runtime that could carry a batch, so it stores its own job by itself.
    Go(Lead),
}

type Answer = oneshot::Sender<Turn>;

/// The waiting enqueues, and the batches under way.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<LineState>);

#[derive(Debug, Default)]
struct LineState {
    on_the_way: [Option<OnTheWay>; ABREAST],
    /// The number of the last lead.
    last: u64,
    waiting: VecDeque<Waiting>,
    /// A caller is handing out leads at this moment, and looks again before it stops.
    passing: bool,
    /// The last batch had more than one job. Callers whose answers came with it are likely to
    /// enqueue again at once, so no enqueue goes alone then.
    crowded: bool,
}

/// A lead that is in use.
#[derive(Debug)]
struct OnTheWay {
    number: u64,
    /// The job whose runtime carries the batch. `None` for a lone job.
    leader: Option<JobId>,
    /// Where the answers of the batch go.
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Waiting {
    job: NewJob,
    answer: Answer,
    /// The runtime it waits in, if there is one.
    home: Option<Handle>,
    /// The lead it was given. Until that lead loads its batch, another may take the job along.
    led: Option<u64>,
}

impl LineState {
    /// Takes a free lead, if there is one.
    fn lead(&mut self, leader: Option<JobId>) -> Option<u64> {
        let free = self.on_the_way.iter_mut().find(|place| place.is_none())?;
        self.last += 1;
        *free = Some(OnTheWay {
            number: self.last,
            leader,
            answers: Vec::new(),
        });
        Some(self.last)
    }

    /// Takes a free lead for a job that need not wait for others.
    fn lone(&mut self) -> Option<u64> {
        (!self.crowded).then(|| self.lead(None)).flatten()
    }

    fn out(&mut self, number: u64) -> Option<&mut OnTheWay> {
        let mut out = self.on_the_way.iter_mut().flatten();
        out.find(|lead| lead.number == number)
    }

    /// Takes a lead back. Also takes its holder out of the line, if that is still in it.
    fn free(&mut self, which: impl Fn(&OnTheWay) -> bool) -> Option<(OnTheWay, Option<Waiting>)> {
        let mut places = self.on_the_way.iter_mut();
        let home = places
            .find(|place| place.as_ref().is_some_and(&which))?
            .take()?;
        let leader = self.led_by(home.number);
        Some((home, leader.and_then(|place| self.waiting.remove(place))))
    }

    fn led_by(&self, number: u64) -> Option<usize> {
        // Those that were given a lead stand in front of all others.
        let mut led = self.waiting.iter().map_while(|waiting| waiting.led);
        led.position(|led| led == number)
    }

    /// The first enqueue that still waits for a lead, if there is a free lead for it.
    fn next(&mut self) -> Option<usize> {
        self.on_the_way.iter().find(|place| place.is_none())?;
        let is_next = |waiting: &Waiting| waiting.led.is_none();
        loop {
            let place = self.waiting.iter().position(is_next)?;
            if !self.waiting[place].answer.is_closed() {
                return Some(place);
            }
            self.waiting.remove(place);
        }
    }

    /// Gives that enqueue a lead.
    fn next_led(&mut self) -> Option<(NextLead, u64)> {
        let place = self.next()?;
        let next = &self.waiting[place];
        let (id, home) = (next.job.id, next.home.clone());
        let number = self.lead(home.is_some().then_some(id))?;
        let next = match home {
            Some(home) => {
                self.waiting[place].led = Some(number);
                NextLead::Home(home)
            }
            None => {
                self.crowded = false;
                NextLead::Homeless(self.waiting.remove(place)?.answer)
            }
        };
        Some((next, number))
    }

    /// The batch of this lead: its holder's own job and the jobs that have gathered behind it.
    /// Empty if another lead has taken the job along, or the lead was given up.
    fn load(&mut self, number: u64) -> Vec<NewJob> {
        let Some(own) = self.led_by(number).and_then(|own| self.waiting.remove(own)) else {
            return Vec::new();
        };
        self.waiting.push_front(own);
        let n = fitting(self.waiting.iter().map(|waiting| &waiting.job));
        let batch = self.waiting.drain(..n);
        let (jobs, answers): (Vec<_>, _) = batch.map(|one| (one.job, one.answer)).unzip();
        if let Some(lead) = self.out(number) {
            lead.answers = answers;
        }
        self.crowded = jobs.len() > 1;
        jobs
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.0.locked()
    }
}

/// The right to have one batch under way. Its drop passes it on, also when the batch was lost: then
/// the enqueues in the batch get no answer, because their result is unknown.
#[derive(Debug)]
pub(super) struct Lead {
    creates: Arc<Creates>,
    number: u64,
}

impl Drop for Lead {
    fn drop(&mut self) {
        let number = self.number;
        self.creates.come_home(|lead| lead.number == number);
    }
}

impl Lead {
    /// Carries a batch, in the order in which its jobs came.
    async fn carry(self) {
        // Callers that have just had their answer are likely to enqueue again: they share this
        // batch.
        tokio::task::yield_now().await;
        let jobs = self.creates.line.lock().load(self.number);
        if jobs.is_empty() {
            return;
        }
        let answers = self.creates.create(&jobs).await;
        let waiting = match self.creates.line.lock().out(self.number) {
            Some(lead) => std::mem::take(&mut lead.answers),
            None => return,
        };
        // No await between the answers: the enqueue whose runtime this is may end the runtime once
        // it has its own.
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            // An enqueue whose future was dropped needs no answer.
            let _ = waiting.send(Turn::Answer(answer));
        }
    }
}

/// What a new enqueue gets.
pub(super) enum Admission {
    /// A lead: it may go at once.
    Go(Lead),
    /// A place in the line: it waits for this.
    Wait(oneshot::Receiver<Turn>),
}

impl Creates {
    /// Takes a free lead, for a lone job.
    pub(super) fn lead(self: &Arc<Self>) -> Option<Lead> {
        let number = self.line.lock().lone()?;
        Some(self.led(number))
    }

    /// Takes a free lead, or a place at the end of the line.
    pub(super) fn place(self: &Arc<Self>, job: &NewJob) -> Admission {
        let mut line = self.line.lock();
        if let Some(number) = line.lone() {
            return Admission::Go(self.led(number));
        }
        let (answer, receiver) = oneshot::channel();
        line.waiting.push_back(Waiting {
            job: job.clone(),
            answer,
            home: Handle::try_current().ok(),
            led: None,
        });
        let free = line.on_the_way.iter().any(Option::is_none);
        drop(line);
        if free {
            self.pass_on();
        }
        Admission::Wait(receiver)
    }

    fn led(self: &Arc<Self>, number: u64) -> Lead {
        Lead {
            creates: Arc::clone(self),
            number,
        }
    }

    /// Called when an enqueue that leads a batch is dropped before its answer came. Its runtime
    /// goes on with the batch, except a runtime that runs only while somebody blocks on it, which
    /// may be over. Then the batch is given up, so that the others need not wait for ever.
    pub(super) fn give_up(self: &Arc<Self>, id: JobId) {
        let threads = |home: Handle| home.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let goes_on = tokio::task::try_id().is_some() || Handle::try_current().is_ok_and(threads);
        if !goes_on {
            self.come_home(|lead| lead.leader == Some(id));
        }
    }

    /// Takes a lead back and passes it on.
    fn come_home(self: &Arc<Self>, which: impl Fn(&OnTheWay) -> bool) {
        // Dropped after the lock is released: the drop wakes the enqueues whose answers it has.
        let home = self.line.lock().free(which);
        if home.is_some() {
            drop(home);
            self.pass_on();
        }
    }

    /// Hands out the free leads. A runtime that has ended drops what it is given at once, which
    /// calls this again; the caller that is already handing out leads then goes on with the next
    /// one.
    fn pass_on(self: &Arc<Self>) {
        if std::mem::replace(&mut self.line.lock().passing, true) {
            return;
        }
        while let Some((next, lead)) = self.next() {
            match next {
                NextLead::Home(home) => task::spawn_on(&home, lead.carry()),
                NextLead::Homeless(answer) => _ = answer.send(Turn::Go(lead)),
            }
        }
    }

    /// The first waiting enqueue, and a lead for it. If there is none, this ends the handing out of
    /// leads.
    fn next(self: &Arc<Self>) -> Option<(NextLead, Lead)> {
        let mut line = self.line.lock();
        let next = line.next_led();
        line.passing = next.is_some();
        let (next, number) = next?;
        Some((next, self.led(number)))
    }
}

/// Which kind of enqueue gets a lead.
enum NextLead {
    /// It waits in this runtime, which will carry its batch.
    Home(Handle),
    /// It stores its own job.
    Homeless(Answer),
}
