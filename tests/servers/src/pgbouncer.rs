//! A PgBouncer of a test's own, in front of a server of a test's own: on a free port of 127.0.0.1,
//! and gone with the process that started it.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::postgres::{Port, Server, unprivileged};

/// A running pooler, which gives a connection for one transaction only. It ends when this is
/// dropped or its process ends, however that happens.
#[derive(Debug)]
pub struct PgBouncer {
    folder: PathBuf,
    port: Port,
    password: String,
    guard: Option<Child>,
}

/// Keeps the pooler running until the end of its own input, which is that of the test.
const GUARD: &str = r#"
    "$@" &
    read -r _
    kill -TERM "$!"
    wait
    rm -rf "$FOLDER"
"#;

impl PgBouncer {
    /// Starts one that has at most so many connections to each database of the server.
    ///
    /// # Panics
    /// Where there is no PgBouncer: `.ci/test` installs it.
    pub fn start(server: &Server, connections: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("bgjob-pgbouncer-{}", crate::unique()));
        fs::create_dir(&folder).expect("the folder for temporary files can be written");
        let mut pooler = Self {
            folder,
            port: Port::free(),
            password: server.password.clone(),
            guard: None,
        };
        // No more than Debian's own file says, but for what it can't know: all a driver sends by
        // itself has to be understood.
        let users = pooler.folder.join("users");
        let config = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = plain\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             max_client_conn = 200\n",
            server.port.number,
            pooler.port.number,
            users.display()
        );
        let listed = format!("\"postgres\" \"{}\"\n", server.password);
        fs::write(users, listed).expect("its folder is ours");
        let path = pooler.folder.join("pgbouncer.ini");
        fs::write(&path, config).expect("its folder is ours");
        let log = fs::File::create(pooler.folder.join("log")).expect("its folder is ours");
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "sh"])
            .args(unprivileged(program()))
            .arg(path)
            .env("FOLDER", &pooler.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        pooler.guard = Some(command.spawn().expect("there is a shell"));
        pooler.await_answers();
        pooler
    }

    fn await_answers(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port.number)).is_err() {
            assert!(
                Instant::now() < until,
                "PgBouncer is missing or does not answer; `.ci/test` installs it: {}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
    }

    /// The URL of a database of the server.
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port.number);
        format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Some(guard) = &mut self.guard {
            drop(guard.stdin.take());
            guard.wait().ok();
        }
    }
}

/// Where Debian puts it, which the `PATH` of a user may not have.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if debian.exists() {
        debian
    } else {
        "pgbouncer".into()
    }
}
