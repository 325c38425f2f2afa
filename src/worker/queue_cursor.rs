//! Sweeps over the queues of the store: an entry that cannot be processed stays in its queue and must not hold up those
//! behind it.

use std::future::{Future, ready};

use futures_util::{StreamExt, stream};

use crate::repeated_log::log_at_intervals;
use crate::store::orders::waiting::Waiting;

/// Where the next page of a sweep begins: behind the entries that this round has left in the queue. A round ends where
/// nothing follows, or where every entry of a page has been processed; then the sweep begins at the front again.
#[derive(Debug, Default)]
pub(in crate::worker) struct QueueCursor {
    skip: usize,
}

impl QueueCursor {
    /// Returns how many entries at the front of the queue the next page leaves out.
    pub(in crate::worker) fn skip(&self) -> usize {
        self.skip
    }

    /// Processes a page, at most `concurrency` entries at a time. `process` reports whether its entry is out of the way: no
    /// longer in the queue, or due at a later moment.
    pub(in crate::worker) async fn process_page<T, F: Future<Output = bool>>(
        &mut self,
        page: Waiting<T>,
        concurrency: usize,
        process: impl Fn(T) -> F,
    ) {
        for name in &page.unreadable {
            log_at_intervals!(error, name, "an entry of a queue has no readable name and stays there");
        }
        let results = stream::iter(page.members).map(process).buffer_unordered(concurrency);
        let left = results.filter(|is_done| ready(!is_done)).count().await;
        self.advance(page.has_more, left + page.unreadable.len());
    }

    fn advance(&mut self, has_more: bool, left: usize) {
        self.skip = if has_more && left > 0 { self.skip + left } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the entries that sweeps over a queue process within some runs; those below `failing` always fail.
    async fn processed(entries: usize, failing: usize, page: usize, runs: usize) -> usize {
        let mut queue: Vec<usize> = (0..entries).collect();
        let mut cursor = QueueCursor::default();
        for _ in 0..runs {
            let members: Vec<usize> = queue.iter().copied().skip(cursor.skip()).take(page).collect();
            let waiting = Waiting {
                has_more: members.len() >= page,
                members: members.clone(),
                unreadable: Vec::new(),
            };
            cursor
                .process_page(waiting, 4, async |entry: usize| entry >= failing)
                .await;
            queue.retain(|entry| *entry < failing || !members.contains(entry));
        }
        entries - queue.len()
    }

    #[tokio::test]
    async fn entries_behind_any_number_of_failing_ones_are_processed() {
        for (entries, failing, runs, expected) in [
            (5, 0, 1, 5),
            (20, 10, 2, 10),
            (100, 90, 10, 10),
            (100, 95, 10, 5),
            (100, 100, 50, 0),
            (1_000, 10, 199, 990),
        ] {
            assert_eq!(
                processed(entries, failing, 10, runs).await,
                expected,
                "{entries} {failing}"
            );
        }
    }

    #[test]
    fn failing_entries_are_tried_again_in_the_next_round() {
        let mut cursor = QueueCursor::default();
        cursor.advance(true, 256);
        cursor.advance(true, 200);
        assert_eq!(cursor.skip(), 456);
        cursor.advance(true, 0);
        assert_eq!(cursor.skip(), 0);
        cursor.advance(true, 1);
        cursor.advance(false, 7);
        assert_eq!(cursor.skip(), 0);
    }
}
