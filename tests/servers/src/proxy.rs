//! A proxy of a test's own, between it and a server: it can cut connections, also at the worst of
//! moments, when the server has done what it was asked and nobody has heard.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::postgres::Server;

/// What it is told to do, and what it did.
#[derive(Debug)]
struct Orders {
    /// Counts the times that all connections were cut.
    cut: watch::Sender<u64>,
    /// Counts the times that all connections fell silent.
    silence: watch::Sender<u64>,
    /// Counts answers down to the one that is to be swallowed; 0 while none is.
    left: AtomicU64,
    swallowed: Notify,
}

/// Passes bytes both ways, until it is told otherwise.
#[derive(Debug)]
pub struct Proxy {
    /// Of a database, up to its name.
    url: String,
    orders: Arc<Orders>,
    accepts: JoinHandle<()>,
}

impl Proxy {
    /// Starts one, on a free port.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn start(server: &Server) -> Self {
        let to = server.port.number;
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let orders = Arc::new(Orders {
            cut: watch::Sender::new(0),
            silence: watch::Sender::new(0),
            left: AtomicU64::new(0),
            swallowed: Notify::new(),
        });
        let told = Arc::clone(&orders);
        let accepts = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (told, mut cut) = (Arc::clone(&told), told.cut.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        // Whoever is cut off and whoever leaves are not told apart by anybody.
                        _ = pass(client, to, &told) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            url: server.url_at(port, ""),
            orders,
            accepts,
        }
    }

    /// The URL of a database of the server.
    pub fn url(&self, database: &str) -> String {
        format!("{}{database}", self.url)
    }

    /// Cuts all connections, whatever is on its way.
    pub fn cut(&self) {
        self.orders.cut.send_modify(|times| *times += 1);
    }

    /// Lets the connections that there are lead nowhere, without a word to either side: as when the
    /// other machine is gone, or a firewall has forgotten them. New ones are as good as ever.
    pub fn silence(&self) {
        self.orders.silence.send_modify(|times| *times += 1);
    }

    /// Lets the n-th statement from now on reach the server and end there, then cuts its connection
    /// in place of passing on the answer. With 0, none.
    pub fn swallow(&self, nth: u64) {
        self.orders.left.store(nth, Relaxed);
    }

    /// The same, and returns when that has happened.
    pub async fn until_swallowed(&self, nth: u64) {
        let done = self.orders.swallowed.notified();
        self.swallow(nth);
        done.await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
        self.cut();
    }
}

/// A server that has run a prepared statement answers from `BindComplete` to this: it is ready for
/// the next, and in no transaction.
const BOUND: u8 = b'2';
const READY: &[u8] = b"Z\0\0\0\x05I";

/// Passes on what two have to say, until one of them leaves or an answer is swallowed.
async fn pass(mut client: TcpStream, to: u16, orders: &Orders) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // Whether what the server says next begins an answer.
    let mut begins = false;
    let mut silence = orders.silence.subscribe();
    loop {
        tokio::select! {
            _ = silence.changed() => pending::<()>().await,
            read = client.read(&mut asked) => {
                let Some(asked) = asked.get(..read?).filter(|asked| !asked.is_empty()) else {
                    return Ok(());
                };
                server.write_all(asked).await?;
                begins = true;
            }
            read = server.read(&mut answered) => {
                let Some(said) = answered.get(..read?).filter(|said| !said.is_empty()) else {
                    return Ok(());
                };
                if begins && said[0] == BOUND && orders.take() {
                    let mut end = said.to_vec();
                    while !end.ends_with(READY) {
                        if server.read_buf(&mut end).await? == 0 {
                            break;
                        }
                    }
                    orders.swallowed.notify_waiters();
                    return Ok(());
                }
                client.write_all(said).await?;
                begins = false;
            }
        }
    }
}

impl Orders {
    /// Whether this answer is the one to be swallowed.
    fn take(&self) -> bool {
        let less = |left: u64| left.checked_sub(1);
        let left = self.left.fetch_update(Relaxed, Relaxed, less);
        left == Ok(1)
    }
}
