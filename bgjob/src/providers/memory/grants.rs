//! Which token holds which jobs until when: one entry a claim call, not one a job.

use std::collections::{BTreeSet, HashMap};

use super::slab::Slot;
use crate::{Timestamp, job::Token};

/// What one token holds.
struct TokenJobs {
    /// The jobs it was given. Some may have left it since: their phase says so.
    slots: Vec<Slot>,
    /// How many of them it still holds.
    held: usize,
    /// No lease in it ends earlier.
    lease_until: Timestamp,
}

#[derive(Default)]
pub(super) struct Tokens {
    hands: HashMap<Token, TokenJobs>,
    /// Every hand by its `lease_until`.
    leases: BTreeSet<(Timestamp, [u8; 16])>,
}

impl Tokens {
    pub(super) fn join(&mut self, token: Token, slot: Slot, lease_until: Timestamp) {
        let leases = &mut self.leases;
        let hand = self.hands.entry(token).or_insert_with(|| {
            leases.insert((lease_until, *token.as_bytes()));
            TokenJobs {
                slots: Vec::new(),
                held: 0,
                lease_until,
            }
        });
        hand.slots.push(slot);
        hand.held += 1;
        if lease_until < hand.lease_until {
            self.leases.remove(&(hand.lease_until, *token.as_bytes()));
            self.leases.insert((lease_until, *token.as_bytes()));
            hand.lease_until = lease_until;
        }
    }

    pub(super) fn leave(&mut self, token: Token) {
        let hand = self
            .hands
            .get_mut(&token)
            .expect("whoever runs is in a hand");
        hand.held -= 1;
        if hand.held == 0 {
            self.leases.remove(&(hand.lease_until, *token.as_bytes()));
            self.hands.remove(&token);
        }
    }

    /// The slots that this token was given. Some may have left it, and some may appear more than
    /// once.
    pub(super) fn slots(&self, token: Token) -> &[Slot] {
        self.hands.get(&token).map_or(&[], |hand| &hand.slots)
    }

    /// The slots of all running jobs. Some may have left their hand, and some may appear more than
    /// once.
    pub(super) fn all(&self) -> impl Iterator<Item = Slot> {
        self.hands.values().flat_map(|hand| &hand.slots).copied()
    }

    /// The hand whose lease may end first, and when.
    pub(super) fn first(&self) -> Option<(Timestamp, Token)> {
        let (lease_until, token) = self.leases.first()?;
        Some((*lease_until, Token::from_bytes(*token)))
    }

    /// Replaces the content of a hand with what it really holds: these slots, with no lease that
    /// ends earlier.
    pub(super) fn looked_at(&mut self, token: Token, slots: Vec<Slot>, lease_until: Timestamp) {
        let Some(hand) = self.hands.get_mut(&token) else {
            return;
        };
        self.leases.remove(&(hand.lease_until, *token.as_bytes()));
        self.leases.insert((lease_until, *token.as_bytes()));
        *hand = TokenJobs {
            held: slots.len(),
            slots,
            lease_until,
        };
    }
}
