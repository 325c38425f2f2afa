//! The lock scripts: each guard is tested alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use bytes::Bytes;
use order_router::store::Store;
use order_router::store::control::locks::{JournaledLockEvent, SetLockOutcome};
use order_router::store::limits::MAX_LOCKS;
use redis::AsyncCommands;

use crate::conformance_store::ready_store;
use crate::rig::Rig;

const ID: &str = "paper.all.operator";

fn event(is_set: bool, document: &'static str) -> JournaledLockEvent {
    JournaledLockEvent {
        lock_id: ID.to_owned(),
        is_set,
        document: Bytes::from_static(document.as_bytes()),
    }
}

/// Returns the document in force, and whether it awaits the journal.
async fn lock_in_force(store: &Store) -> Option<(String, bool)> {
    let mut latches = store.read_locks(None).await.unwrap().locks;
    let one = latches.pop()?;
    Some((
        String::from_utf8(one.document.to_vec()).unwrap(),
        one.is_awaiting_journal,
    ))
}

async fn set(store: &Store, document: &'static str) -> SetLockOutcome {
    let document = Bytes::from_static(document.as_bytes());
    store.set_lock(ID, &document, None, None, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_applied_once_and_only_on_their_predecessor() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let apply =
        async |from_to, events: &[JournaledLockEvent]| store.apply_lock_events(None, from_to, events).await.unwrap();
    assert!(apply((0, 5), &[event(true, "a")]).await);
    assert!(apply((5, 9), &[event(false, "a")]).await);
    let before = rig.store().await;
    // A slower worker applies the events of an earlier read.
    assert!(!apply((0, 5), &[event(true, "a")]).await);
    assert!(!apply((0, 9), &[event(true, "a"), event(false, "a")]).await);
    assert_eq!(rig.store().await, before);
    assert_eq!(lock_in_force(&store).await, None);
    assert_eq!(store.read_locks(None).await.unwrap().journal_watermark, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_set_again_stays_until_its_own_event_and_lift() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let apply =
        async |from_to, events: &[JournaledLockEvent]| store.apply_lock_events(None, from_to, events).await.unwrap();
    assert_eq!(set(&store, "b").await, SetLockOutcome::Set);
    assert_eq!(
        set(&store, "c").await,
        SetLockOutcome::AlreadySet(Bytes::from_static(b"b"))
    );
    // An event of another worker, from a store that was lost.
    assert!(apply((0, 5), &[event(true, "a")]).await);
    assert_eq!(lock_in_force(&store).await, Some(("b".to_owned(), true)));
    assert!(apply((5, 6), &[event(false, "a")]).await);
    assert_eq!(lock_in_force(&store).await, Some(("b".to_owned(), true)));
    assert!(apply((6, 7), &[event(true, "b")]).await);
    assert_eq!(lock_in_force(&store).await, Some(("b".to_owned(), false)));
    assert!(apply((7, 8), &[event(false, "b")]).await);
    assert_eq!(lock_in_force(&store).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_locks_is_bounded() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let mut redis = rig.redis.connection().await;
    let many: Vec<(String, &str)> = (0..MAX_LOCKS).map(|n| (n.to_string(), "x")).collect();
    redis.hset_multiple::<_, _, _, ()>("{or}:latches", &many).await.unwrap();
    assert_eq!(set(&store, "a").await, SetLockOutcome::TooManyLocks);
    // A journaled lock is applied beyond the bound.
    let applied = store.apply_lock_events(None, (0, 5), &[event(true, "a")]).await;
    assert_eq!(applied, Ok(true));
    assert_eq!(store.read_locks(None).await.unwrap().locks.len(), MAX_LOCKS + 1);
}
