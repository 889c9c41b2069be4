//! A PostgreSQL server of a test's own: on a port of 127.0.0.1 that no other test takes, with its
//! own data folder and a password, and gone with the process that started it.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running server. It ends, and its data goes, when this is dropped or its process ends, however
/// that happens.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    pub(crate) port: Port,
    /// Of `postgres`, who may do all on this host. Roles that a test makes have none.
    pub(crate) password: String,
    guard: Option<Child>,
}

/// Who may connect as whom.
const RIGHTS: &str = "host all postgres 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n";

/// Keeps the server running until the end of its own input, which is that of the test.
const GUARD: &str = r#"
    stop="$FOLDER/stop"
    while [ ! -e "$stop" ]; do "$@"; done &
    read -r _
    touch "$stop"
    kill -INT "$(head -n 1 "$FOLDER/data/postmaster.pid")"
    wait
    rm -rf "$FOLDER"
"#;

/// Where Debian and others put what `PATH` does not have.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
];

/// Where a program of PostgreSQL's is.
pub fn program(name: &str) -> PathBuf {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| name.into())
}

/// A command line. The server refuses to run as root: then it runs as the user its package made.
pub(crate) fn unprivileged(program: PathBuf) -> Vec<PathBuf> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let switch = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    let switch = switch.iter().filter(|_| is_root).map(PathBuf::from);
    switch.chain([program]).collect()
}

impl Server {
    /// Starts one with these settings besides the usual ones.
    ///
    /// # Panics
    /// Where there is no PostgreSQL: `.ci/test` installs it.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// The same, with its data in a folder of its own within this one.
    ///
    /// # Panics
    /// Where there is no PostgreSQL: `.ci/test` installs it.
    pub fn start_in(parent: &Path, settings: &[&str]) -> Self {
        let folder = parent.join(format!("bgjob-postgres-{}", crate::unique()));
        fs::create_dir(&folder).expect("its parent can be written");
        let password = crate::unique();
        let secret = folder.join("password");
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&secret);
        let written = file.and_then(|mut file| writeln!(file, "{password}"));
        written.expect("its folder is ours");
        let line = unprivileged(program("initdb"));
        if line.len() > 1 {
            let owned = Command::new("chown")
                .args(["-R", "postgres"])
                .arg(&folder)
                .status();
            assert!(
                owned.is_ok_and(|owned| owned.success()),
                "there is no user `postgres`"
            );
        }
        let mut make = Command::new(&line[0]);
        make.args(&line[1..])
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C"])
            .arg("--auth=password")
            .arg(format!("--pwfile={}", secret.display()))
            .args(["--no-sync", "--pgdata"])
            .arg(folder.join("data"));
        let made = make.stdout(Stdio::null()).status();
        assert!(
            made.is_ok_and(|made| made.success()),
            "PostgreSQL's initdb is missing or failed: `.ci/test` installs the package"
        );
        fs::remove_file(secret).expect("its folder is ours");
        fs::write(folder.join("data/pg_hba.conf"), RIGHTS).expect("its folder is ours");
        let mut server = Self {
            folder,
            port: Port::free(),
            password,
            guard: None,
        };
        server.launch(settings);
        server
    }

    fn launch(&mut self, settings: &[&str]) {
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "sh"])
            .args(unprivileged(program("postgres")));
        command.arg("-D").arg(self.folder.join("data"));
        let port = format!("port={}", self.port.number);
        let usual = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            &port,
        ];
        for setting in usual.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(self.folder.join("log")).expect("its folder is ours");
        command.env("FOLDER", &self.folder).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(log);
        self.guard = Some(command.spawn().expect("there is a shell"));
        self.await_answers();
    }

    /// Until the server of this folder, and no other, says that it is ready.
    fn await_answers(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        let is_ready = || {
            let lines = fs::read_to_string(self.folder.join("data/postmaster.pid"));
            lines.is_ok_and(|lines| lines.lines().nth(7).map(str::trim) == Some("ready"))
        };
        while !is_ready() {
            assert!(
                Instant::now() < until,
                "the server does not answer: {}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
    }

    /// Ends it as a crash would (`kill -9`). It comes back by itself: when this returns, another
    /// process has taken its place and may still be at its recovery.
    #[allow(dead_code, reason = "not every test has one that crashes")]
    pub fn crash(&self) {
        let pid = self.process().expect("it runs");
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        assert!(killed.is_ok_and(|killed| killed.success()), "it was there");
        let until = Instant::now() + Duration::from_secs(60);
        while self.process().is_none_or(|now| now == pid) {
            assert!(Instant::now() < until, "the server did not come back");
            std::thread::yield_now();
        }
    }

    /// The id of its process, as it has written it down; not while it does that.
    fn process(&self) -> Option<String> {
        let lines = fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        let (pid, _) = lines.split_once('\n')?;
        Some(pid.to_owned())
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        self.url_at(self.port.number, "postgres")
    }

    /// The URL of one of its databases, where it is reached at this port.
    pub(crate) fn url_at(&self, port: u16, database: &str) -> String {
        let password = &self.password;
        format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
    }

    /// The URL of its database for another user.
    #[allow(dead_code, reason = "not every test has one")]
    pub fn url_as(&self, url: &str, user: &str) -> String {
        let (_, rest) = url.split_once('@').expect("it has a user");
        format!("postgres://{user}@{rest}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(guard) = &mut self.guard {
            drop(guard.stdin.take());
            guard.wait().ok();
        }
    }
}

/// A port that no other test takes until this is dropped or its process ends. None of those that
/// the system gives to who connects somewhere.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _held: fs::File,
}

impl Port {
    pub(crate) fn free() -> Self {
        let first = u16::try_from(std::process::id() * 37 % 10_000).expect("it is small");
        let all = (first..10_000).chain(0..first).map(|nth| 20_000 + nth);
        let mut free = all.filter_map(|number| {
            let name = std::env::temp_dir().join(format!("bgjob-port-{number}"));
            let mut open = fs::OpenOptions::new();
            let held = open.create(true).append(true).open(name).ok()?;
            held.try_lock().ok()?;
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self {
                number,
                _held: held,
            })
        });
        free.next().expect("there is a free port")
    }
}
