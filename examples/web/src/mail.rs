//! The job: a mail, sent through SMTP.

use std::time::Duration;

use bgjob::{BoxError, JobId, prelude::*};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{self, response::Category},
};
use serde::{Deserialize, Serialize};

/// How long the mail server may take for each of its answers. Well below the job's time-out, so
/// that it is the server that is named as the cause.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends mails. Jobs take it as `State<Mailer>`.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Whom to welcome.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The user's name.
    pub name: String,
    /// And address.
    pub email: Address,
}

/// Sends the welcome mail. A mail server that is away for a day costs no mail.
#[job(
    queue = "mail",
    max_attempts = 50,
    backoff = "exponential(1s, max 1h)",
    timeout = "1m",
    retain = "7d"
)]
pub async fn send_welcome(
    welcome: Welcome,
    id: JobId,
    mailer: State<Mailer>,
) -> Result<(), JobError> {
    let mail = mailer.compose(welcome, id).map_err(JobError::abort)?;
    mailer.transport.send(mail).await.map_err(judge)?;
    Ok(())
}

impl Mailer {
    /// A mailer for a URL like `smtp://localhost:1025` or `smtps://user:password@host`.
    ///
    /// # Errors
    /// For what is no such URL.
    pub fn new(url: &str, from: Mailbox) -> Result<Self, smtp::Error> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?;
        let transport = builder.timeout(Some(PATIENCE)).build();
        Ok(Self { transport, from })
    }

    /// The job may run again after its mail has been sent: its process may die before it can say
    /// so. Both mails then have one `Message-ID`, and many a mailbox shows only one of them.
    fn compose(&self, welcome: Welcome, id: JobId) -> Result<Message, BoxError> {
        let text = format!("Hello {},\r\n\r\nit is good to have you.\r\n", welcome.name);
        let mail = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(Mailbox::new(Some(welcome.name), welcome.email))
            .subject("Welcome")
            .body(text)?;
        Ok(mail)
    }
}

/// Whether it is worth another try: unless the server has refused this mail for good.
fn judge(error: smtp::Error) -> JobError {
    // What the server holds against our login (53x) someone can mend.
    let is_ours = |status: smtp::response::Code| status.category == Category::Unspecified3;
    if error.is_permanent() && !error.status().is_some_and(is_ours) {
        JobError::abort(error)
    } else {
        JobError::retry(error)
    }
}
