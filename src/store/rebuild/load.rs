//! Loading a folded state into an empty store, and clearing what a load that did not finish has left (`lua/load.lua`,
//! `lua/clear.lua`). Each call takes Redis about a millisecond at most.

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;

use crate::domain::order_key::OrderKey;
use crate::store::client::Store;
use crate::store::connection::ScriptCall;
use crate::store::error::StoreError;
use crate::store::keys;
use crate::store::rebuild::final_state::{EXPIRE, LoadCommand, LoadCommands, LoadContext};
use crate::store::rebuild::fold::FoldedState;
use crate::store::rebuild::fold::remembered::bucket_of;
use crate::store::rebuild::lease::{REBUILD_LEASE_MS, StoreRebuild};
use crate::store::retention::{MIN_RETENTION, retention_ms};
use crate::store::script::{CLEAR_LOADED, LOAD_STATE};

/// The most cost of one call. A command costs [`COMMAND_COST`], and each byte of its arguments 1.
const MAX_CALL_COST: usize = 96 * 1_024;
/// What a command costs beside its bytes.
const COMMAND_COST: usize = 300;
/// The most arguments of one command: a script cannot unpack more than some thousands. Even, so that no pair is split.
const MAX_ARGUMENTS: usize = 1_000;
/// How many remembered ids a bucket has on the average, as in `lua/prelude.lua`.
const IDS_PER_BUCKET: u64 = 32;
/// The most calls in flight.
const MAX_CALLS_IN_FLIGHT: usize = 4;
/// The number of keys that one `SCAN` visits, and the most that one call drops.
const CLEAR_PAGE: usize = 500;

/// The commands of one call.
#[derive(Debug, Default)]
struct LoadBatch {
    commands: Vec<LoadCommand>,
    cost: usize,
}

/// Commands that one call runs together.
type CommandGroup = Vec<LoadCommand>;

/// Joins groups of commands into batches: an iterator, so that the commands of a state need not be in memory together.
struct LoadBatches<I: Iterator<Item = CommandGroup>> {
    groups: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = CommandGroup>> Iterator for LoadBatches<I> {
    type Item = LoadBatch;

    fn next(&mut self) -> Option<LoadBatch> {
        let mut batch = LoadBatch::default();
        while let Some(group) =
            (self.groups).next_if(|next| batch.commands.is_empty() || batch.cost + cost_of(next) <= MAX_CALL_COST)
        {
            batch.cost += cost_of(&group);
            batch.commands.extend(group);
        }
        (!batch.commands.is_empty()).then_some(batch)
    }
}

fn cost_of(group: &[LoadCommand]) -> usize {
    let bytes = |command: &LoadCommand| command.arguments.iter().map(Bytes::len).sum::<usize>();
    let cost = |command: &LoadCommand| COMMAND_COST + command.key.len() + bytes(command);
    group.iter().map(cost).sum()
}

/// Groups the commands of one entity. Calls in flight may overtake each other, so that an expiry stays with its value.
fn group_commands(commands: LoadCommands) -> Vec<CommandGroup> {
    let commands: CommandGroup = commands.0.into_iter().flat_map(split_command).collect();
    if commands.iter().any(|command| command.name == EXPIRE) {
        return vec![commands];
    }
    commands.into_iter().map(|command| vec![command]).collect()
}

/// Splits the command of a large key into several.
fn split_command(command: LoadCommand) -> Vec<LoadCommand> {
    if command.arguments.len() <= MAX_ARGUMENTS {
        return vec![command];
    }
    let parts = command.arguments.chunks(MAX_ARGUMENTS);
    parts
        .map(|arguments| LoadCommand {
            arguments: arguments.to_vec(),
            name: command.name,
            key: command.key.clone(),
        })
        .collect()
}

impl Store {
    /// Writes a folded state into a store that is being rebuilt from nothing; its watermarks are the last.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild. The store then holds a part
    /// of the state, which the next rebuild clears.
    pub async fn load_folded_state(&self, rebuild: &StoreRebuild, state: &FoldedState) -> Result<(), StoreError> {
        let context = LoadContext {
            now: self.read_clock().await?,
            retention_ms: retention_ms(self.connection.settings.retention_h),
            lease_ms: self.connection.settings.lease_ms,
        };
        let batches = LoadBatches {
            groups: groups_of(state, &context).peekable(),
        };
        let mut calls = FuturesUnordered::new();
        for batch in batches {
            if calls.len() == MAX_CALLS_IN_FLIGHT {
                calls.try_next().await?;
            }
            calls.push(self.connection.run(self.load_call(rebuild, &batch)?));
        }
        while calls.try_next().await?.is_some() {}
        drop(calls);
        let mut last = LoadCommands::default();
        last.add_watermarks(&state.progress);
        let last = LoadBatch {
            commands: last.0,
            cost: 0,
        };
        let call = self.load_call(rebuild, &last)?;
        self.connection.run(call).await.map(drop)
    }

    fn load_call(&self, rebuild: &StoreRebuild, batch: &LoadBatch) -> Result<ScriptCall, StoreError> {
        let mut keys = vec![keys::meta(), keys::rebuild_lease()];
        keys.extend(batch.commands.iter().map(|command| command.key.clone()));
        let mut call = self.connection.script_call(&LOAD_STATE, Some(rebuild), &keys)?;
        call.arg(REBUILD_LEASE_MS);
        for command in &batch.commands {
            call.arg(command.name).arg(command.arguments.len());
            for argument in &command.arguments {
                call.arg(&argument[..]);
            }
        }
        Ok(call)
    }

    /// Clears what a rebuild has loaded that did not finish. Returns how many keys it dropped.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Stale`] when another worker has taken over the rebuild.
    pub async fn clear_loaded_state(&self, rebuild: &StoreRebuild) -> Result<usize, StoreError> {
        let own = [keys::meta(), keys::rebuild_lease()];
        let (mut cursor, mut cleared) = ("0".to_owned(), 0);
        loop {
            let (next, mut found) = self.scan_page(&cursor, CLEAR_PAGE).await?;
            found.retain(|key| !own.contains(key));
            for page in found.chunks(CLEAR_PAGE) {
                let keys = [&own[..], page].concat();
                let mut call = self.connection.script_call(&CLEAR_LOADED, Some(rebuild), &keys)?;
                call.arg(REBUILD_LEASE_MS);
                self.connection.run(call).await?;
                cleared += page.len();
            }
            cursor = next;
            if cursor == "0" {
                return Ok(cleared);
            }
        }
    }

    /// Returns the keys of the store that one `SCAN` finds, and the cursor of the next one; "0" after the last.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub(in crate::store) async fn scan_page(
        &self,
        cursor: &str,
        count: usize,
    ) -> Result<(String, Vec<String>), StoreError> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(keys::all_keys_pattern());
        command.arg("COUNT").arg(count);
        let Value::Array(page) = self.connection.query(command).await? else {
            return Err(StoreError::corrupt("the reply to SCAN is not a list"));
        };
        let [Value::BulkString(next), Value::Array(found)] = page.as_slice() else {
            return Err(StoreError::corrupt("the reply to SCAN is not a cursor and a page"));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys = found.iter().filter_map(|key| match key {
            Value::BulkString(key) => Some(text(key)),
            _ => None,
        });
        Ok((text(next), keys.collect()))
    }
}

/// Returns the commands that write a state, but for its watermarks.
fn groups_of<'a>(
    state: &'a FoldedState,
    context: &'a LoadContext,
) -> Box<dyn Iterator<Item = CommandGroup> + Send + 'a> {
    let group = |fill: &dyn Fn(&mut LoadCommands)| {
        let mut commands = LoadCommands::default();
        fill(&mut commands);
        group_commands(commands)
    };
    let orders = state.orders.iter();
    let orders = orders.flat_map(move |(key, order)| group(&|commands| commands.add_order(key, order, context)));
    let ledgers = state.ledgers.iter();
    let ledgers = ledgers.flat_map(move |(owner, ledger)| group(&|commands| commands.add_ledger(owner, ledger)));
    let adjustments = state.adjustments.iter();
    let adjustments = adjustments
        .flat_map(move |(id, adjustment)| group(&|commands| commands.add_adjustment(id, adjustment, context)));
    let locks = state.locks.iter();
    let locks = locks.flat_map(move |(id, document)| group(&|commands| commands.add_lock(id, document)));
    let switches = state.switches.iter();
    let switches =
        switches.flat_map(move |(account, switch)| group(&|commands| commands.add_switch(account, switch, context)));
    let ids = remembered_buckets(state, context);
    let state = orders.chain(ledgers).chain(adjustments);
    Box::new(state.chain(locks).chain(switches).chain(ids))
}

/// Returns the commands that write the remembered ids, bucket by bucket.
fn remembered_buckets<'a>(
    state: &'a FoldedState,
    context: &'a LoadContext,
) -> Box<dyn Iterator<Item = CommandGroup> + Send + 'a> {
    let count = state.remembered.len();
    if count == 0 {
        return Box::new(std::iter::empty());
    }
    // As many as the scripts split to while ids are added one by one.
    let buckets = (count as u64).div_ceil(IDS_PER_BUCKET);
    let mut by_bucket: Vec<(u64, &OrderKey)> = state
        .remembered
        .keys()
        .map(|key| (bucket_of(*key, buckets), key))
        .collect();
    by_bucket.sort_unstable();
    let mut by_bucket = by_bucket.into_iter().peekable();
    let groups = std::iter::from_fn(move || {
        let number = by_bucket.peek()?.0;
        let mut entries = Vec::new();
        while let Some((_, key)) = by_bucket.next_if(|(bucket, _)| *bucket == number) {
            let Some(id) = state.remembered.get(key) else { continue };
            let mut entry = id.bytes_living(context.now, MIN_RETENTION);
            if let Some(foreign) = state.foreign_ids.get(key) {
                entry.extend_from_slice(foreign.as_str().as_bytes());
            }
            entries.extend([Bytes::from(key.name()), entry.into()]);
        }
        let mut commands = LoadCommands::default();
        commands.add_bucket(number, entries);
        Some(commands.0)
    });
    let mut counted = LoadCommands::default();
    counted.add_bucket_count(buckets, count);
    Box::new(groups.chain(std::iter::once(counted.0)))
}
