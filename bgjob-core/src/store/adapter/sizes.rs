//! The likely size of documents.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{job::limits, store::Document};

/// A running estimate of document sizes, in bytes. The underlying store can't say how large a
/// document is before it is read. So no more documents are read at a time than are likely to fill a
/// batch.
#[derive(Debug)]
pub(super) struct Sizes(AtomicUsize);

/// At least this many are read at a time, however large they are.
const FEW: usize = 4;

impl Default for Sizes {
    fn default() -> Self {
        Self(AtomicUsize::new(32 * 1024))
    }
}

impl Sizes {
    /// How many documents to read at a time.
    pub(super) fn portion(&self) -> usize {
        let typical = self.0.load(Relaxed).max(1);
        (limits::BATCH_BYTES / typical).clamp(FEW, limits::BATCH)
    }

    /// Learns from documents that were read. The estimate grows at once and shrinks slowly.
    pub(super) fn learn<'a>(&self, documents: impl IntoIterator<Item = &'a Document>) {
        let (mut count, mut bytes) = (0, 0);
        for document in documents {
            count += 1;
            bytes += document.body.len();
        }
        if let Some(average) = bytes.checked_div(count) {
            let typical = self.0.load(Relaxed);
            let slowly = typical - typical / 2 + average / 2;
            // A race loses one sample, which does no harm.
            self.0.store(average.max(slowly), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobId;

    fn read(sizes: &Sizes, bytes: usize) {
        let document = Document {
            id: JobId::from_key("a"),
            version: Default::default(),
            keys: Vec::new(),
            body: vec![0; bytes],
        };
        sizes.learn([&document]);
    }

    #[test]
    fn few_large_ones_are_read_at_a_time_and_many_small_ones() {
        let sizes = Sizes::default();
        for _ in 0..20 {
            read(&sizes, 500);
        }
        assert_eq!(sizes.portion(), limits::BATCH);
        read(&sizes, 512 * 1024);
        assert_eq!(sizes.portion(), 8);
        read(&sizes, 8 * 1024 * 1024);
        assert_eq!(sizes.portion(), FEW);
        sizes.learn([]);
        assert_eq!(sizes.portion(), FEW, "nothing was learned");
    }
}
