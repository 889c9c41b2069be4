//! Worlds as short keys, under which the explorer knows them.

use std::hash::{Hash, Hasher};

use super::world::{Act, Doc, Hand, Late, World};

/// A world in so few words that comparing and hashing it is cheap: that is most of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u64; 8]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

impl World {
    pub fn key(&self) -> Key {
        let mut words = Words::default();
        for slot in &self.jobs {
            words.doc(&slot.doc);
            let flags = u8::from(slot.acked) << 1 | u8::from(slot.succeeded);
            words.put([
                slot.hints << 4 | slot.starts,
                (slot.client as u8) << 2 | flags,
            ]);
        }
        for worker in &self.workers {
            words.put([worker.life as u8]);
            worker.hands.iter().for_each(|hand| words.hand(hand));
        }
        match &self.late {
            Late::None => words.put([0]),
            Late::Claim(job, hand) => {
                words.put([1, *job]);
                words.hand(hand);
            }
            Late::Finish(job, hand, _) => {
                words.put([2, *job]);
                words.hand(hand);
            }
        }
        let left = &self.left;
        words.put([
            left.crashes << 4 | left.doubts,
            left.doubled << 4 | left.frees,
        ]);
        words.put([left.operations << 4 | left.late, left.rollbacks]);
        words.put([
            u8::from(self.backup.is_some()),
            u8::from(self.stale_read.is_some()),
        ]);
        self.backup.iter().flatten().for_each(|doc| words.doc(doc));
        if let Some((job, doc)) = &self.stale_read {
            words.put([*job]);
            words.doc(doc);
        }
        Key(words.words)
    }
}

#[derive(Default)]
struct Words {
    words: [u64; 8],
    bytes: usize,
}

impl Words {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        for byte in bytes {
            self.words[self.bytes / 8] |= u64::from(byte) << (self.bytes % 8 * 8);
            self.bytes += 1;
        }
    }

    fn doc(&mut self, doc: &Doc) {
        let flags = u8::from(doc.cancel) | u8::from(doc.edited) << 1 | u8::from(doc.indexed) << 2;
        self.put([
            doc.place as u8 | (doc.due as u8) << 3 | (doc.touch as u8) << 5,
            doc.expires as u8 | (doc.deadline as u8) << 2 | (doc.until as u8) << 4,
            flags << 4 | doc.errors,
            doc.crashes << 4 | doc.nonce,
            doc.fence,
        ]);
    }

    fn hand(&mut self, hand: &Hand) {
        let act = match hand.act {
            Act::Idle => 0,
            Act::Hint => 1,
            Act::Doubt => 2,
            Act::Run => 3,
            Act::Ending(outcome) => 4 + outcome as u8,
        };
        self.put([act << 4 | hand.nonce, hand.fence]);
    }
}
