//! What a test has: a database, a process of the application, and somebody who asks it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use bgjob::JobId;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::postgres::Server;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The URL of a new database.
pub(crate) async fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(&["fsync=off"]));
    let name = format!("web_{}", JobId::new().to_string().replace('-', ""));
    let mut db = connect(&server.url()).await;
    raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut db)
        .await
        .expect("the name is new");
    let url = server.url();
    let (server, _) = url.rsplit_once('/').expect("it ends with a name");
    format!("{server}/{name}")
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    let connected = PgConnection::connect(url).await;
    connected.expect("the server answers")
}

/// The application as a process of its own. It is killed when this is dropped.
pub(crate) struct Web {
    child: Child,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Web {
    /// Starts it, and waits until it listens.
    #[allow(clippy::print_stdout, reason = "shown where a test fails")]
    pub(crate) fn start(database: &str, smtp: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_web"));
        command
            .env("DATABASE_URL", database)
            .env("SMTP_URL", smtp)
            .env("LISTEN", "127.0.0.1:0")
            // As short as it can be: a test waits for it.
            .env("LEASE_SECONDS", "5")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it is built with this test");
        let told = child.stderr.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(Result::ok) {
                println!("{line}");
                let _ = sender.send(line);
            }
        });
        let address = ([0, 0, 0, 0], 0).into();
        let mut web = Self {
            child,
            lines,
            address,
        };
        let line = web.says("listening on http://");
        let (_, address) = line.rsplit_once('/').expect("it was looked for");
        web.address = address.parse().expect("it is an address");
        web
    }

    /// The next line of its log with these words.
    pub(crate) fn says(&self, words: &str) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not say: {words}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Signs somebody up: the status, and what else is answered.
    pub(crate) fn sign_up(&self, email: &str) -> (u16, Value) {
        Request::sign_up(self, email).answer()
    }

    /// Signs somebody up who may: the id of the job.
    pub(crate) fn job_of(&self, email: &str) -> String {
        let (status, answer) = self.sign_up(email);
        assert_eq!(status, 201, "{answer}");
        assert!(answer["user"].is_i64(), "{answer}");
        answer["job"].as_str().expect("it has an id").to_owned()
    }

    /// Where a job stands.
    pub(crate) fn job(&self, id: &str) -> (u16, Value) {
        Request::send(self, &format!("GET /jobs/{id}"), String::new()).answer()
    }

    /// Asks until the job is as it is waited for.
    pub(crate) fn job_until(&self, id: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + LIMIT;
        loop {
            let (status, job) = self.job(id);
            assert_eq!(status, 200, "{job}");
            if is_it(&job) {
                return job;
            }
            assert!(Instant::now() < until, "{job}");
            std::thread::yield_now();
        }
    }

    /// `kill -9`; returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "it runs");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("it was started here") {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request whose body is still to be sent.
pub(crate) struct Request {
    stream: TcpStream,
    body: String,
}

impl Request {
    /// A sign-up that the application waits for the rest of.
    pub(crate) fn sign_up(web: &Web, email: &str) -> Self {
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let body = json!({ "name": "Ada", "email": email }).to_string();
        let mut request = Self::send(web, "POST /sign-up", body);
        let mut heard = [0; GO_ON.len()];
        let read = request.stream.read_exact(&mut heard);
        read.expect("it asks for the body");
        assert_eq!(heard, GO_ON);
        request
    }

    fn send(web: &Web, line: &str, body: String) -> Self {
        let mut stream = TcpStream::connect(web.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("it is a time");
        let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !body.is_empty() {
            head += "Content-Type: application/json\r\nExpect: 100-continue\r\n";
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).expect("it listens");
        Self { stream, body }
    }

    /// Sends the rest; the status, and the body where it is JSON.
    pub(crate) fn answer(mut self) -> (u16, Value) {
        let sent = self.stream.write_all(self.body.as_bytes());
        sent.expect("it listens");
        let mut text = String::new();
        let read = self.stream.read_to_string(&mut text);
        read.expect("it answers to the end");
        let (head, body) = text.split_once("\r\n\r\n").expect("it is HTTP");
        let status = head.split(' ').nth(1).map(str::parse);
        let status = status.expect("it has a status").expect("it is a number");
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

/// A mail server that takes a call and never says a word.
pub(crate) struct Silent(TcpListener);

impl Silent {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        listener.set_nonblocking(true).expect("it can");
        Self(listener)
    }

    pub(crate) fn url(&self) -> String {
        let address = self.0.local_addr().expect("it has one");
        format!("smtp://{address}")
    }

    /// The next call, once it is there.
    pub(crate) fn call(&self) -> TcpStream {
        let until = Instant::now() + LIMIT;
        loop {
            if let Ok((call, _)) = self.0.accept() {
                return call;
            }
            assert!(Instant::now() < until, "nobody calls");
            std::thread::yield_now();
        }
    }
}
