//! Who carries a batch: those that wait, and the leads that go from one of them to the next.
//!
//! A lead is the right to have one batch on its way. When its batch is over it goes to the first
//! that waits, and the next batch is carried in *that* one's runtime, which lives at least until
//! its own job is answered. So a runtime that ends takes along what was on its way in it, and
//! nothing else: who waits in the line stays there.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
};

use super::batch::{Creates, fitting};
use crate::{JobId, Result, job::NewJob, store::Created, task};

/// Batches that may be on their way at a time: while the store works on one, the next is made.
const ABREAST: usize = 2;

/// What one who waits is told. Nothing, if the runtime that carried its job has ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// What became of its job.
    Answer(Result<Created>),
    /// It has no runtime that could carry a batch: it is to store its own job by itself.
    Go(Lead),
}

type Answer = oneshot::Sender<Turn>;

/// Those that wait, and the batches that are on their way.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    on_the_way: [Option<OnTheWay>; ABREAST],
    /// The number of the last lead.
    last: u64,
    waiting: VecDeque<Waiting>,
    /// Somebody hands out leads just now, and looks again before he stops.
    passing: bool,
    /// The last batch had more than one job. Those whose answers came with it are likely to be here
    /// again at once, so nobody goes alone then.
    crowded: bool,
}

/// A lead that is out.
#[derive(Debug)]
struct OnTheWay {
    number: u64,
    /// Whose runtime carries the batch; nobody's if it is a lone job.
    leader: Option<JobId>,
    /// Those whose jobs are in the batch.
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Waiting {
    job: NewJob,
    answer: Answer,
    /// Where it waits, if that is a runtime.
    home: Option<Handle>,
    /// The lead it was given. Until that one loads its batch, another may take the job along.
    led: Option<u64>,
}

impl Inner {
    /// A free lead, which is out then.
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

    /// A free lead for a job that need not wait for others.
    fn lone(&mut self) -> Option<u64> {
        (!self.crowded).then(|| self.lead(None)).flatten()
    }

    fn out(&mut self, number: u64) -> Option<&mut OnTheWay> {
        let mut out = self.on_the_way.iter_mut().flatten();
        out.find(|lead| lead.number == number)
    }

    /// Takes a lead back, and out of the line who had it and has not got away.
    fn free(&mut self, which: impl Fn(&OnTheWay) -> bool) -> Option<(OnTheWay, Option<Waiting>)> {
        let mut places = self.on_the_way.iter_mut();
        let home = places
            .find(|place| place.as_ref().is_some_and(&which))?
            .take()?;
        let leader = self.led_by(home.number);
        Some((home, leader.and_then(|place| self.waiting.remove(place))))
    }

    fn led_by(&self, number: u64) -> Option<usize> {
        // They stand in front of all others.
        let mut led = self.waiting.iter().map_while(|waiting| waiting.led);
        led.position(|led| led == number)
    }

    /// The first that still waits for a lead, if there is one for it.
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

    /// Gives it one.
    fn next_led(&mut self) -> Option<(Next, u64)> {
        let place = self.next()?;
        let next = &self.waiting[place];
        let (id, home) = (next.job.id, next.home.clone());
        let number = self.lead(home.is_some().then_some(id))?;
        let next = match home {
            Some(home) => {
                self.waiting[place].led = Some(number);
                Next::Home(home)
            }
            None => {
                self.crowded = false;
                Next::Homeless(self.waiting.remove(place)?.answer)
            }
        };
        Some((next, number))
    }

    /// What the holder of this lead carries: its own job and those that have gathered behind it.
    /// Nothing if another has taken it along, or it was given up.
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
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have one batch on its way. Its drop hands it on, also when the batch was lost: then
/// those whose jobs were in it hear that nobody knows.
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
        // Those who have just had their answer are likely to enqueue again: they share this batch.
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
        // Without a pause between them: whose runtime this is may end it once he has his own.
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            // Whoever dropped its future does not want to know.
            let _ = waiting.send(Turn::Answer(answer));
        }
    }
}

/// What one who comes gets.
pub(super) enum Place {
    /// The way is free: it may go at once.
    Go(Lead),
    /// It waits for this.
    Wait(oneshot::Receiver<Turn>),
}

impl Creates {
    /// A free lead, for a lone job.
    pub(super) fn lead(self: &Arc<Self>) -> Option<Lead> {
        let number = self.line.lock().lone()?;
        Some(self.led(number))
    }

    /// A free lead, or a place at the end of the line.
    pub(super) fn place(self: &Arc<Self>, job: &NewJob) -> Place {
        let mut line = self.line.lock();
        if let Some(number) = line.lone() {
            return Place::Go(self.led(number));
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
        Place::Wait(receiver)
    }

    fn led(self: &Arc<Self>, number: u64) -> Lead {
        Lead {
            creates: Arc::clone(self),
            number,
        }
    }

    /// An enqueue that has led a batch is dropped before the answer came. Its runtime goes on with
    /// the batch, but for one that runs only while somebody blocks on it, and maybe nobody does any
    /// more: then the batch is given up, so that the others need not wait for ever.
    pub(super) fn give_up(self: &Arc<Self>, id: JobId) {
        let threads = |home: Handle| home.runtime_flavor() != RuntimeFlavor::CurrentThread;
        let goes_on = tokio::task::try_id().is_some() || Handle::try_current().is_ok_and(threads);
        if !goes_on {
            self.come_home(|lead| lead.leader == Some(id));
        }
    }

    /// A lead has come home, and goes to the next.
    fn come_home(self: &Arc<Self>, which: impl Fn(&OnTheWay) -> bool) {
        // Dropped behind the lock: it wakes those whose answers it has.
        let home = self.line.lock().free(which);
        if home.is_some() {
            drop(home);
            self.pass_on();
        }
    }

    /// Hands out the leads that are free. A runtime that has ended drops what it is given at once,
    /// which comes back here: whoever is at it already then goes on with the next one.
    fn pass_on(self: &Arc<Self>) {
        if std::mem::replace(&mut self.line.lock().passing, true) {
            return;
        }
        while let Some((next, lead)) = self.next() {
            match next {
                Next::Home(home) => task::spawn_on(&home, lead.carry()),
                Next::Homeless(answer) => _ = answer.send(Turn::Go(lead)),
            }
        }
    }

    /// The first that waits, and a lead for it. If there is none nobody hands out leads any more.
    fn next(self: &Arc<Self>) -> Option<(Next, Lead)> {
        let mut line = self.line.lock();
        let next = line.next_led();
        line.passing = next.is_some();
        let (next, number) = next?;
        Some((next, self.led(number)))
    }
}

/// Who gets a lead.
enum Next {
    /// It waits in this runtime, which is to carry its batch.
    Home(Handle),
    /// It stores its own job.
    Homeless(Answer),
}
