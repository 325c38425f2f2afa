//! The calls of the scripts that replay events: as many as it takes, so that none keeps Redis for long.

use crate::store::connection::{ScriptCall, StoreConnection};
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::lease::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::script::{KeyTable, Script};

/// What a replay has done.
#[derive(Debug, Default)]
pub(super) struct ReplayResult {
    /// How many events changed something.
    pub(super) changed: u64,
    /// The indices, among all events, that the script replied.
    pub(super) indices: Vec<usize>,
}

/// Returns the table of keys that every replay starts with.
pub(super) fn replay_keys() -> KeyTable {
    KeyTable::new(vec![
        keys::meta(),
        keys::rebuild_lease(),
        keys::outbox(),
        keys::leases(),
        keys::open_order_sets(),
    ])
}

/// Replays events in order, each a command and a document. A call that would keep Redis for long ends before its last event;
/// the next one continues. `add_settings` appends what the script reads between the lease and the events.
///
/// # Errors
/// Any [`StoreError`]; the first events may have been replayed.
pub(super) async fn run_replay(
    connection: &StoreConnection,
    script: &Script,
    rebuild: Option<&StoreRebuild>,
    keys: &KeyTable,
    add_settings: impl Fn(&mut ScriptCall),
    events: &[(Vec<u8>, &[u8])],
) -> Result<ReplayResult, StoreError> {
    let (mut result, mut applied) = (ReplayResult::default(), 0);
    while applied < events.len() {
        let mut call = connection.script_call(script, rebuild, keys.keys())?;
        call.arg(REBUILD_LEASE_MS);
        add_settings(&mut call);
        for (command, document) in &events[applied..] {
            call.arg(&command[..]).arg(*document);
        }
        let mut reply = connection.run(call).await?;
        result.changed += reply.next_integer::<u64>()?;
        let count: usize = reply.next_integer()?;
        if count == 0 {
            // The same call would follow it for ever.
            return Err(StoreError::corrupt("a script has applied none of its events"));
        }
        while reply.has_more() {
            result.indices.push(applied + reply.next_integer::<usize>()?);
        }
        applied += count;
    }
    Ok(result)
}
