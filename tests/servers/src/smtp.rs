//! A mail server of a test's own: on a free port of 127.0.0.1, and gone with the process that
//! started it.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use serde::Deserialize;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A running server. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    lines: Receiver<String>,
}

/// A mail that the server has taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mail {
    /// Who it is for.
    pub to: Vec<String>,
    /// Its `Message-ID`.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// What it says.
    pub text: String,
}

/// The first thing the server tells.
#[derive(Deserialize)]
struct Address {
    port: u16,
}

/// Where `.ci/test` puts what Python has to have: beside what is built.
fn packages() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let mut folders = test.ancestors().map(|built| built.join("ci-python"));
    folders.find(|folder| folder.exists())
}

/// A Python that has aiosmtpd.
fn python() -> Command {
    let packages = packages().map_or(OsString::new(), Into::into);
    let command = |name: &str| {
        let mut command = Command::new(name);
        command.env("PYTHONPATH", &packages).arg("-c");
        command
    };
    let has_it = |name: &&str| {
        let mut asked = command(name);
        let asked = asked.arg("import aiosmtpd.smtp").stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_it);
    command(found.expect("python3 or its package aiosmtpd is missing: `.ci/test` installs them"))
}

impl Server {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// Where there is no Python with aiosmtpd: `.ci/test` installs it.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// Starts one on this port.
    ///
    /// # Panics
    /// As for [`start`](Self::start), and where the port is taken.
    pub fn start_at(port: u16) -> Self {
        let mut command = python();
        command.args([include_str!("smtp.py"), &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it has been asked a moment ago");
        let told = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(told).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let mut server = Self { child, port, lines };
        let address: Address = server.next_line();
        server.port = address.port;
        server
    }

    fn next_line<T: for<'a> Deserialize<'a>>(&self) -> T {
        let line = self.lines.recv_timeout(LIMIT);
        let line = line.expect("the mail server is there and has something to tell");
        serde_json::from_str(&line).expect("it tells it in JSON")
    }

    /// The next mail, once it is there.
    pub fn next(&self) -> Mail {
        self.next_line()
    }

    /// A mail that is there already.
    pub fn next_now(&self) -> Option<Mail> {
        let line = self.lines.try_recv().ok()?;
        Some(serde_json::from_str(&line).expect("it tells it in JSON"))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}
