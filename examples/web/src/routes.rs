//! What is answered to whom.

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bgjob::{Job, JobId, JobManager, JobState};
use lettre::Address;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tracing::error;

use crate::{
    mail::{Welcome, send_welcome},
    users,
};

/// More than any sign-up needs.
const BODY: usize = 16 * 1024;
const NAME: usize = 200;

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct App {
    /// The application's own connections.
    pub pool: PgPool,
    /// Its jobs.
    pub jobs: JobManager,
}

/// The routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/sign-up", post(sign_up))
        .route("/jobs/{id}", get(status))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(app)
}

#[derive(Deserialize)]
struct SignUp {
    name: String,
    email: Address,
}

#[derive(Serialize)]
struct SignedUp {
    user: i64,
    job: JobId,
}

/// The user and the mail's job are one commit: there is no user without a mail, and no mail to
/// somebody who is no user.
async fn sign_up(
    State(app): State<App>,
    Json(form): Json<SignUp>,
) -> Result<(StatusCode, Json<SignedUp>), Refusal> {
    let SignUp { name, email } = form;
    if name.trim().is_empty() || name.len() > NAME || name.contains(char::is_control) {
        return Err(Refusal::Name);
    }
    let mut tx = app.pool.begin().await?;
    let user = users::insert(&mut tx, &name, &email).await?;
    let user = user.ok_or(Refusal::Taken)?;
    let welcome = Welcome { name, email };
    let job = send_welcome::enqueue(&app.jobs, welcome)
        .in_transaction(&mut tx)
        .await?;
    tx.commit().await?;
    let job = job.id();
    Ok((StatusCode::CREATED, Json(SignedUp { user, job })))
}

#[derive(Serialize)]
struct Status {
    state: JobState,
    /// How often it was started to the end, or is being started.
    attempts: u32,
    last_error: Option<String>,
}

async fn status(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Status>, Refusal> {
    let id: JobId = id.parse().map_err(|_| Refusal::Unknown)?;
    let job = app.jobs.get(id).await?.ok_or(Refusal::Unknown)?;
    Ok(Json(Status::of(&job)))
}

impl Status {
    fn of(job: &Job) -> Self {
        let state = job.state();
        // Neither an error nor a crash: the one that goes on, or went well.
        let good = matches!(state, JobState::Running | JobState::Succeeded);
        let error = job.last_error().map(|error| error.messages.join(": "));
        Self {
            state,
            attempts: job.errors + job.crashes + u32::from(good),
            last_error: error,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Refusal {
    Name,
    Taken,
    Unknown,
    /// The database does not answer as it should.
    Failed,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Name => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "a name has 1 to 200 bytes and no control characters",
            ),
            Self::Taken => (StatusCode::CONFLICT, "this address has an account"),
            Self::Unknown => (StatusCode::NOT_FOUND, "there is no such job"),
            Self::Failed => (StatusCode::SERVICE_UNAVAILABLE, "try again later"),
        };
        (status, Json(serde_json::json!({ "error": text }))).into_response()
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(cause: sqlx::Error) -> Self {
        error!("{cause}");
        Self::Failed
    }
}

impl From<bgjob::Error> for Refusal {
    fn from(cause: bgjob::Error) -> Self {
        error!("{cause:?}");
        Self::Failed
    }
}
