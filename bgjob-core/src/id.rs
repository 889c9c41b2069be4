//! Names of things: a job's [`JobId`], a grant's [`Token`], a process's [`Owner`].

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::{Timestamp, clock, entropy};

/// The name of one job: a UUID, version 7 unless it is the user's own.
///
/// Ids made by one process sort by the order in which they were made.
///
/// ```
/// use bgjob::JobId;
///
/// let id = JobId::new();
/// assert_eq!(id.to_string().parse::<JobId>()?, id);
/// // An id of your own makes an enqueue repeatable: the same key is the same job.
/// assert_eq!(JobId::from_key("order-17"), JobId::from_key("order-17"));
/// # Ok::<(), bgjob::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// Namespace of [`JobId::from_key`]. It must never change.
const KEYS: Uuid = Uuid::from_u128(0x5f1d_35a0_4c0e_4f6e_9a3e_6267_6a6f_6201);

impl JobId {
    /// A new id, greater than every id this process made before.
    #[allow(
        clippy::new_without_default,
        reason = "a default should not differ at each call"
    )]
    pub fn new() -> Self {
        let host = clock::host();
        let now = Timestamp::simulated().unwrap_or_else(|| host.into());
        let now = (now.as_millis() as u64) << 12;
        let stamp = if entropy::is_seeded() {
            // A simulation must not depend on what this process did before.
            now | u64::from(u16::from_le_bytes(entropy::bytes()) & 0xfff)
        } else {
            Self::later_than_all(now)
        };
        let random = u64::from_le_bytes(entropy::bytes_at(host));
        Self(Uuid::from_u64_pair(
            (stamp >> 12) << 16 | 0x7000 | (stamp & 0xfff),
            0x8000_0000_0000_0000 | random >> 2,
        ))
    }

    /// The id that belongs to a key of your own (an order number, say): UUID version 5.
    pub fn from_key(key: impl AsRef<[u8]>) -> Self {
        Self(Uuid::new_v5(&KEYS, key.as_ref()))
    }

    /// 48 bits of milliseconds and 12 bits of counter, in one word that only grows.
    fn later_than_all(now: u64) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(now.max(last + 1))
            })
            .expect("the update never refuses");
        now.max(last + 1)
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes; what providers store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Proof of holding a grant: 128 random bits, made by the claimer for each claim call.
///
/// Only a caller that presents the token under which a job is held may renew or finish the job.
///
/// `Debug` and `Serialize` give only its first eight hexadecimal digits, so that a job that is
/// logged or sent to a browser does not give away the right to end it. A store keeps
/// [`as_bytes`](Self::as_bytes).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Token(Uuid);

impl Token {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Uuid::from_bytes(entropy::bytes()))
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes; what providers store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    fn head(&self) -> String {
        format!("{:08x}…", self.0.as_fields().0)
    }
}

impl fmt::Debug for Token {
    /// Only its head: with the whole token a reader of the log could finish the job.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.head())
    }
}

impl Serialize for Token {
    /// Only its head.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.head())
    }
}

/// Identifies the process start that holds a job. It is random, never a host name or a configured
/// name.
///
/// ```
/// let me = bgjob::Owner::random();
/// assert_ne!(me, bgjob::Owner::random());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Owner(Uuid);

impl Owner {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Uuid::from_bytes(entropy::bytes()))
    }

    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes; what providers store.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.0.as_fields().0;
        write!(f, "{head:08x}")
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_grow() {
        let ids: Vec<_> = (0..10_000).map(|_| JobId::new()).collect();
        assert!(ids.is_sorted());
        assert!(ids.windows(2).all(|w| w[0] != w[1]));
        assert_eq!(ids[0].0.get_version_num(), 7);
        assert_eq!(ids[0].0.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn a_token_is_not_shown_whole() {
        let token = Token::random();
        assert!(format!("{token:?}").len() < 20);
    }
}
