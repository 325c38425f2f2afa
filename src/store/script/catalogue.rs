//! Every script of `lua/`, and how its text and hash depend on the epoch.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::guards::Guard;
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
    READ_MOMENT = "moment.lua", "#!lua flags=no-writes\n";
    SWEEP_IDS = "sweep_ids.lua", "#!lua flags=allow-oom\n";
    SWEEP = "sweep.lua", "#!lua flags=allow-oom\n";
    READ_DAY_MARKS = "day_marks.lua", "#!lua flags=no-writes\n";
    // A full Redis has a new day, too: without it no loss is watched.
    WRITE_DAY_MARKS = "write_marks.lua", "#!lua flags=allow-oom\n";
    ROLL_DAY = "begin_day.lua", "#!lua flags=allow-oom\n";
    OPERATOR_STATE = "state.lua", "#!lua flags=allow-oom\n";
    LIMITS = "limits.lua", "#!lua flags=allow-oom\n";
    ALERTS = "alerts.lua", "#!lua flags=allow-oom\n";
    HEARTBEAT = "heartbeat.lua", "#!lua flags=allow-oom\n";
    LOCKS = "latch.lua", "#!lua flags=allow-oom\n";
    REPLAY_ORDERS = "replay.lua", "#!lua flags=allow-oom\n";
    START_SENDING = "start.lua", "#!lua flags=allow-oom\n";
    WITHDRAW_SUBMISSION = "withdraw.lua", "#!lua flags=allow-oom\n";
    MARK_WITHDRAWAL_JOURNALED = "withdrawn.lua", "#!lua flags=allow-oom\n";
    INQUIRE = "inquire.lua", "#!lua flags=allow-oom\n";
    REPLAY_SUBMISSIONS = "replay_submission.lua", "#!lua flags=allow-oom\n";
    EXTEND_REBUILD = "extend_rebuild.lua", "#!lua flags=allow-oom\n";
    LOAD_STATE = "load.lua", "#!lua flags=allow-oom\n";
    CLEAR_LOADED = "clear.lua", "#!lua flags=allow-oom\n";
    SNAPSHOT_TURN = "snapshot_turn.lua", "#!lua flags=allow-oom\n";
    FINISH_REBUILD = "finish_rebuild.lua", "#!lua flags=allow-oom\n";
    ABANDON_REBUILD = "abandon_rebuild.lua", "#!lua flags=allow-oom\n";
}

/// The script that starts a rebuild. It is called by its text: a restart of Redis drops the loaded scripts.
pub(in crate::store) const BEGIN_REBUILD: &str = include_str!("../lua/begin_rebuild.lua");

/// The script that counts a request against a venue's limits. It knows no epoch and is called by its text: a venue counts
/// whatever becomes of the store, and a rebuild, which drops the loaded scripts, must not stop inquiries and cancels.
pub(in crate::store) const CHARGE_REQUEST: &str = include_str!("../lua/charge_request.lua");

/// The script that raises a count of a venue's limit, or the end of its closure; called by its text, too.
pub(in crate::store) const RAISE_NUMBER: &str = include_str!("../lua/raise_number.lua");

/// Returns the text of the script that marks a Redis that was rebuilt in an epoch and not restarted since. It is the same
/// in every release of one schema, whatever its other scripts are.
pub(in crate::store) fn epoch_marker(epoch: &str) -> String {
    format!("#!lua flags=no-writes\n-- marks the epoch {epoch}\nreturn 1\n")
}

/// The lines of scripts that are guards, and what stands in their place where a test turns the guard off.
const GUARD_LINES: &[(Guard, &str, &str)] = &[
    (
        Guard::Epoch,
        "if epoch ~= ARGV[1] or not is_builder(known[2]) then",
        "if false then",
    ),
    (
        Guard::Claim,
        "local name, order_id, settlement, bits = c[17], c[18], c[22], c[23]",
        "do return nil end local name, order_id, settlement, bits",
    ),
    (
        Guard::FillDedupe,
        "if version ~= c[VERSION] or made_by ~= c[BASE] then return",
        "if false then return",
    ),
    (
        Guard::LeaseToken,
        "if c[TOKEN] ~= '' and known[4] ~= c[TOKEN] then return {'lease'} end",
        "",
    ),
    (
        Guard::LeaseToken,
        "if known[2] ~= ARGV[3] or known[3] ~= ARGV[4] then return {'lease'} end",
        "",
    ),
    (
        Guard::LeaseToken,
        "if known[1] ~= 'claimed' then return {'lease'} end",
        "",
    ),
];

/// Returns a script's text without the guards that a test has turned off.
fn without_guards(body: &str) -> Cow<'_, str> {
    let off = GUARD_LINES.iter().filter(|(guard, ..)| guard.is_off());
    off.fold(Cow::Borrowed(body), |text, (_, line, replacement)| {
        match text.contains(line) {
            true => Cow::Owned(text.replace(line, replacement)),
            false => text,
        }
    })
}

impl Script {
    /// Returns the script's text in an epoch.
    pub(in crate::store) fn source(&self, epoch: &str) -> String {
        let (ids, bucket) = (keys::remembered_ids(), keys::remembered_ids_bucket());
        format!(
            "{}-- epoch {epoch}\nlocal IDS, ID_BUCKET = '{ids}', '{bucket}'\n{}",
            self.flags,
            without_guards(self.body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_line_is_a_line_of_a_script() {
        for (guard, line, _) in GUARD_LINES {
            assert!(
                LOADED_SCRIPTS.iter().any(|script| script.body.contains(line)),
                "{guard:?}: {line}"
            );
        }
    }
}
