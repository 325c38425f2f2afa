//! The Lua scripts: their texts, the tables of keys they are called with, and the decoding of their replies.

mod catalogue;
mod field_list;
mod key_table;
mod reply;

pub(super) use crate::store::script::catalogue::*;
pub(super) use crate::store::script::field_list::{FieldList, NumberOrFalse};
pub(super) use crate::store::script::key_table::{
    EncodedContent, EncodedMoves, KeyTable, Pair, SumOwner, to_message_pack, to_named_message_pack,
};
pub(super) use crate::store::script::reply::{BatchReplies, ScriptReply, decode_optional, decode_value, parse_micros};
