//! Every script of `lua/`, and how its text and hash depend on the epoch.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::keys;

/// A script, preceded by the prelude and bound to an epoch: its hash differs in every epoch. A Redis that was not rebuilt
/// in the active epoch (restarted, or an older copy promoted to primary) therefore does not have it.
pub(in crate::store) struct Script {
    flags: &'static str,
    body: &'static str,
    /// The epoch of the last call, and the hash in it.
    cached_sha1: RwLock<Option<(String, Arc<str>)>>,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal, $flags:literal;)+) => {
        $($(#[$doc])* pub(in crate::store) static $name: Script = Script {
            // Only scripts that take new orders or adjustments respect Redis' memory limit. Cancels, releases and
            // journal marks must continue beyond it: they free memory.
            flags: $flags,
            body: concat!(include_str!("../lua/prelude.lua"), "\n", include_str!(concat!("../lua/", $file))),
            cached_sha1: RwLock::new(None),
        };)+
        /// Every script that is called by its hash.
        pub(in crate::store) static LOADED_SCRIPTS: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    RESERVE = "reserve.lua", "#!lua\n";
    SETTLE = "settle.lua", "#!lua flags=allow-oom\n";
    MARK_JOURNALED = "journaled.lua", "#!lua flags=allow-oom\n";
    RELEASE_CLAIM = "release.lua", "#!lua flags=allow-oom\n";
    COUNT_CANCEL = "rate.lua", "#!lua flags=allow-oom\n";
    BOOK_ADJUSTMENT = "adjust.lua", "#!lua\n";
    READ_ADJUSTMENT = "adjustment_read.lua", "#!lua flags=no-writes\n";
    MARK_ADJUSTMENT_JOURNALED = "adjustment_journaled.lua", "#!lua flags=allow-oom\n";
    REPLAY_ADJUSTMENT = "adjustment_replay.lua", "#!lua flags=allow-oom\n";
    READ_ORDER = "read.lua", "#!lua flags=no-writes\n";
    READ_WAITING = "ready.lua", "#!lua flags=no-writes\n";
    READ_OPEN_PAGE = "open_page.lua", "#!lua flags=no-writes\n";
    READ_OPEN_RECORDS = "open_records.lua", "#!lua flags=no-writes\n";
    COUNT_OPEN_ORDERS = "open_counts.lua", "#!lua flags=no-writes\n";
    MEASURE = "figures.lua", "#!lua flags=no-writes\n";
    READ_CONTROL = "control.lua", "#!lua flags=no-writes\n";
    READ_LEDGERS = "ledgers.lua", "#!lua flags=no-writes\n";
    SWEEP_IDS = "sweep_ids.lua", "#!lua flags=allow-oom\n";
    SWEEP = "sweep.lua", "#!lua flags=allow-oom\n";
    READ_DAY_MARKS = "day_marks.lua", "#!lua flags=no-writes\n";
    ROLL_DAY = "begin_day.lua", "#!lua flags=allow-oom\n";
    OPERATOR_STATE = "state.lua", "#!lua flags=allow-oom\n";
    LIMITS = "limits.lua", "#!lua flags=allow-oom\n";
    ALERTS = "alerts.lua", "#!lua flags=allow-oom\n";
    LOCKS = "latch.lua", "#!lua flags=allow-oom\n";
    REPLAY_ORDERS = "replay.lua", "#!lua flags=allow-oom\n";
    START_SENDING = "start.lua", "#!lua flags=allow-oom\n";
    WITHDRAW_SUBMISSION = "withdraw.lua", "#!lua flags=allow-oom\n";
    MARK_WITHDRAWAL_JOURNALED = "withdrawn.lua", "#!lua flags=allow-oom\n";
    INQUIRE = "inquire.lua", "#!lua flags=allow-oom\n";
    REPLAY_SUBMISSIONS = "replay_submission.lua", "#!lua flags=allow-oom\n";
    EXTEND_REBUILD = "extend_healing.lua", "#!lua flags=allow-oom\n";
    LOAD_STATE = "load.lua", "#!lua flags=allow-oom\n";
    CLEAR_LOADED = "clear.lua", "#!lua flags=allow-oom\n";
    SNAPSHOT_TURN = "snapshot_turn.lua", "#!lua flags=allow-oom\n";
    FINISH_REBUILD = "finish_healing.lua", "#!lua flags=allow-oom\n";
    ABANDON_REBUILD = "abandon_healing.lua", "#!lua flags=allow-oom\n";
}

/// The script that starts a rebuild. It is called by its text: a restart of Redis drops the loaded scripts.
pub(in crate::store) const BEGIN_REBUILD: &str = include_str!("../lua/begin_healing.lua");

/// Returns the text of the script that marks a Redis that was rebuilt in an epoch and not restarted since. It is the same
/// in every release of one schema, whatever its other scripts are.
pub(in crate::store) fn epoch_marker(epoch: &str) -> String {
    format!("#!lua flags=no-writes\n-- marks the epoch {epoch}\nreturn 1\n")
}

impl Script {
    /// Returns the script's text in an epoch.
    pub(in crate::store) fn source(&self, epoch: &str) -> String {
        let (ids, bucket) = (keys::remembered_ids(), keys::remembered_ids_bucket());
        format!(
            "{}-- epoch {epoch}\nlocal IDS, ID_BUCKET = '{ids}', '{bucket}'\n{}",
            self.flags, self.body
        )
    }

    /// Returns the hash by which Redis knows the script in an epoch.
    pub(in crate::store) fn sha1(&self, epoch: &str) -> Arc<str> {
        let cached = self.cached_sha1.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hash)) = cached.as_ref().filter(|(of, _)| of == epoch) {
            return hash.clone();
        }
        drop(cached);
        let hash: Arc<str> = redis::Script::new(&self.source(epoch)).get_hash().into();
        *self.cached_sha1.write().unwrap_or_else(PoisonError::into_inner) = Some((epoch.to_owned(), hash.clone()));
        hash
    }

    /// Returns the command that calls the script by its hash, with the epoch as its first argument. A missing script is
    /// never loaded silently: it shows that Redis was not rebuilt in this epoch.
    pub(in crate::store) fn evalsha_command(&self, epoch: &str, keys: &[String]) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&*self.sha1(epoch)).arg(keys.len()).arg(keys).arg(epoch);
        command
    }
}
