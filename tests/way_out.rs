//! The way out of a process: once `run()` has returned the process ends when `main` does, also with
//! blocking code still at work, and a further signal ends it at once.
//!
//! It runs itself as the process that is to end, so it has a main of its own.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::ExitStatusExt,
        path::{Path, PathBuf},
        process::{Child, Command, ExitCode, ExitStatus, Stdio},
        sync::mpsc::{Receiver, channel},
        time::{Duration, Instant},
    };

    use bgjob::{Job, JobDispatcher, JobId, JobManager, JobState, Registry, job};
    use tokio::runtime::{Builder, Runtime};

    /// The drain, and the five seconds that are promised beyond.
    const MOST: Duration = Duration::from_secs(6);
    /// For what has nothing to wait for, on a busy machine.
    const AT_ONCE: Duration = Duration::from_secs(3);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Blocks for ten minutes and does not listen.
    #[job(blocking, timeout = "1h")]
    fn blocks(_: ()) {
        say("blocks");
        std::thread::park_timeout(Duration::from_secs(600));
    }

    #[allow(clippy::print_stdout, reason = "so the test hears of it")]
    fn say(word: &str) {
        println!("{word}");
    }

    /// What the process does once `run` has returned.
    const ENDS: &str = "ends";
    const LINGERS: &str = "lingers";
    /// What it does instead of `run`: it waits for the signal itself.
    const WAITS: &str = "waits";

    /// The process that is to end.
    fn worker(file: &Path, then: &str, runtime: &Runtime) -> bgjob::Result<()> {
        runtime.block_on(async {
            let jobs = JobManager::connect(url(file)).await?;
            let drained = JobDispatcher::builder(&jobs)
                .registry(Registry::new().with::<blocks>())
                .drain(Duration::from_secs(1))
                .cancel_within(Duration::from_millis(100))
                .run()
                .await?;
            assert_eq!(drained.released, 1);
            say("returned");
            if then == LINGERS {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    /// Waits for a signal with two futures, and then lingers.
    fn waiter(runtime: &Runtime) -> bgjob::Result<()> {
        runtime.block_on(async {
            let (polled_later, polled_now) = (bgjob::shutdown_signal(), bgjob::shutdown_signal());
            say("listens");
            polled_now.await?;
            say("heard");
            polled_later.await?;
            say("returned");
            std::future::pending().await
        })
    }

    fn url(file: &Path) -> String {
        format!("sqlite:{}", file.display())
    }

    struct Process {
        child: Child,
        words: Receiver<String>,
    }

    impl Process {
        fn start(file: &Path, then: &str, threads: &str) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--worker", file.to_str().unwrap(), then, threads])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let (say, words) = channel();
            std::thread::spawn(move || {
                for line in output.lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
            Self { child, words }
        }

        #[track_caller]
        fn hear(&self, word: &str) {
            assert_eq!(self.words.recv_timeout(PATIENCE).unwrap(), word);
        }

        fn signal(&self, signal: &str) {
            let id = self.child.id().to_string();
            let sent = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(sent.unwrap().success());
        }

        /// How it ended, if it did within so long.
        #[track_caller]
        fn ended(&mut self, within: Duration) -> ExitStatus {
            let begun = Instant::now();
            loop {
                if let Some(end) = self.child.try_wait().unwrap() {
                    return end;
                }
                assert!(begun.elapsed() < within, "it is still there");
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// A database with one job in it.
    struct Place {
        folder: PathBuf,
        runtime: Runtime,
        jobs: JobManager,
        id: JobId,
    }

    impl Place {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("bgjob-way-out-{}", JobId::new()));
            std::fs::create_dir(&folder).unwrap();
            let runtime = Runtime::new().unwrap();
            let file = folder.join("jobs.db");
            let (jobs, id) = runtime.block_on(async {
                let jobs = JobManager::connect(url(&file)).await.unwrap();
                let id = blocks::enqueue(&jobs, ()).await.unwrap().id();
                (jobs, id)
            });
            Self {
                folder,
                runtime,
                jobs,
                id,
            }
        }

        fn start(&self, then: &str, threads: &str) -> Process {
            Process::start(&self.folder.join("jobs.db"), then, threads)
        }

        fn job(&self) -> Job {
            let job = self.runtime.block_on(self.jobs.get(self.id));
            job.unwrap().unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }

    fn the_process_ends_with_main_whatever_blocks() {
        for threads in ["many", "one"] {
            let place = Place::new();
            let mut process = place.start(ENDS, threads);
            process.hear("blocks");
            process.signal("TERM");
            let asked = Instant::now();
            process.hear("returned");
            let end = process.ended(AT_ONCE);
            assert!(end.success(), "{end}");
            assert!(asked.elapsed() < MOST, "{:?}", asked.elapsed());
            let job = place.job();
            assert_eq!(
                (job.state(), job.crashes, job.errors),
                (JobState::Ready, 0, 0)
            );
        }
    }

    fn a_signal_after_run_ends_the_process_at_once() {
        for (signal, number) in [("TERM", 15), ("INT", 2)] {
            let place = Place::new();
            let mut process = place.start(LINGERS, "many");
            process.hear("blocks");
            process.signal("TERM");
            process.hear("returned");
            process.signal(signal);
            assert_eq!(process.ended(AT_ONCE).signal(), Some(number));
        }
    }

    fn a_signal_before_that_hurries() {
        let place = Place::new();
        let mut process = place.start(ENDS, "many");
        process.hear("blocks");
        for _ in 0..3 {
            process.signal("INT");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert!(process.ended(MOST).success(), "it ended in order");
        assert_eq!(place.job().state(), JobState::Ready);
    }

    fn a_signal_is_waited_for_and_the_next_one_ends_the_process() {
        for (signal, number) in [("TERM", 15), ("INT", 2)] {
            let mut process = Process::start(Path::new("none"), WAITS, "one");
            process.hear("listens");
            process.signal(signal);
            process.hear("heard");
            process.hear("returned");
            process.signal(signal);
            assert_eq!(process.ended(AT_ONCE).signal(), Some(number));
        }
    }

    pub(crate) fn main() -> ExitCode {
        let args: Vec<_> = std::env::args().skip(1).collect();
        if let [role, file, then, threads] = args.as_slice()
            && role == "--worker"
        {
            let mut builder = if threads == "one" {
                Builder::new_current_thread()
            } else {
                Builder::new_multi_thread()
            };
            let runtime = builder.enable_all().build().unwrap();
            match then.as_str() {
                WAITS => waiter(&runtime),
                then => worker(Path::new(file), then, &runtime),
            }
            .unwrap();
            return ExitCode::SUCCESS;
        }
        let cases: [(&str, fn()); 4] = [
            (
                "the_process_ends_with_main_whatever_blocks",
                the_process_ends_with_main_whatever_blocks,
            ),
            (
                "a_signal_after_run_ends_the_process_at_once",
                a_signal_after_run_ends_the_process_at_once,
            ),
            ("a_signal_before_that_hurries", a_signal_before_that_hurries),
            (
                "a_signal_is_waited_for_and_the_next_one_ends_the_process",
                a_signal_is_waited_for_and_the_next_one_ends_the_process,
            ),
        ];
        let asked: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
        let (mut passed, mut failed) = (0, 0);
        for (name, case) in cases {
            if !asked.is_empty() && !asked.iter().any(|asked| name.contains(asked.as_str())) {
                continue;
            }
            let good = std::panic::catch_unwind(case).is_ok();
            say(&format!(
                "test {name} ... {}",
                if good { "ok" } else { "FAILED" }
            ));
            (passed, failed) = (passed + u32::from(good), failed + u32::from(!good));
        }
        // The form that `cargo test` prints, for whoever adds the lines up.
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        say(&format!(
            "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored"
        ));
        ExitCode::from(u8::from(failed > 0))
    }
}
