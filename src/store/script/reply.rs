//! Decoding of script replies: a verdict, and the fields that follow it.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use crate::domain::money::Micros;
use crate::store::error::StoreError;

/// What a script replied to a batch.
#[derive(Debug)]
pub struct BatchReplies<R> {
    /// The result of each command, in order.
    pub results: Vec<Result<R, StoreError>>,
    /// How long the call kept Redis.
    pub took: Duration,
}

impl<R> BatchReplies<R> {
    /// Decodes each reply by itself.
    pub(in crate::store) fn decode<T>(self, mut decode: impl FnMut(R) -> Result<T, StoreError>) -> BatchReplies<T> {
        let replies = self.results.into_iter();
        BatchReplies {
            results: replies.map(|reply| reply.and_then(&mut decode)).collect(),
            took: self.took,
        }
    }
}

/// One reply of a script.
#[derive(Debug)]
pub(in crate::store) struct ScriptReply {
    /// The reply's first element.
    pub(in crate::store) verdict: String,
    fields: std::vec::IntoIter<Value>,
}

impl ScriptReply {
    /// Decodes a reply whose first element is its verdict; `stale` is an error for every script.
    pub(in crate::store) fn from_value(value: Value) -> Result<Self, StoreError> {
        let Value::Array(fields) = value else {
            return Err(StoreError::corrupt("a script's reply is not a list"));
        };
        let mut fields = fields.into_iter();
        let verdict = fields
            .next()
            .ok_or_else(|| StoreError::corrupt("a script's reply is empty"))?;
        let mut reply = Self {
            verdict: decode_text(verdict)?,
            fields,
        };
        if reply.verdict == "stale" {
            let epoch = reply.next_text()?;
            return Err(StoreError::Stale(match epoch.as_str() {
                "" => "the store is empty".to_owned(),
                "failover" => {
                    "Redis has another replication id: it was a replica meanwhile, or got its first one".to_owned()
                }
                _ => format!("the store's epoch is {epoch}"),
            }));
        }
        Ok(reply)
    }

    /// Decodes the replies of a batch, each by itself: an error in one command says nothing of the others. Behind them is
    /// how long the call ran, in microseconds. A batch that found another epoch has one reply for all its commands.
    pub(in crate::store) fn from_batch_value(value: Value) -> Result<BatchReplies<Self>, StoreError> {
        let Value::Array(mut replies) = value else {
            return Err(StoreError::corrupt("a batch's reply is not a list"));
        };
        let Some(&Value::Int(took_us)) = replies.last() else {
            Self::from_value(Value::Array(replies))?;
            return Err(StoreError::corrupt("a batch's reply does not end with its time"));
        };
        replies.pop();
        let took = Duration::from_micros(u64::try_from(took_us).unwrap_or(0));
        Ok(BatchReplies {
            results: replies.into_iter().map(Self::from_command_value).collect(),
            took,
        })
    }

    /// Decodes the reply of one command of a batch; `failed` is an error after which the command may have taken effect.
    fn from_command_value(value: Value) -> Result<Self, StoreError> {
        let mut reply = Self::from_value(value)?;
        if reply.verdict == "failed" {
            return Err(StoreError::OutcomeUnknown(reply.next_text()?));
        }
        Ok(reply)
    }

    pub(in crate::store) fn next_bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let field = self.fields.next();
        decode_bytes(field.ok_or_else(|| StoreError::corrupt("a script's reply is too short"))?)
    }

    pub(in crate::store) fn next_text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.next_bytes()?).map_err(|_| StoreError::corrupt("a script's reply is not UTF-8"))
    }

    pub(in crate::store) fn next_integer<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        let text = self.next_text()?;
        text.parse()
            .map_err(|_| StoreError::corrupt(format!("a script's reply holds {text:?} in place of an integer")))
    }

    pub(in crate::store) fn has_more(&self) -> bool {
        !self.fields.as_slice().is_empty()
    }

    /// Returns the error of a verdict that the caller does not know.
    pub(in crate::store) fn unexpected_verdict(&self) -> StoreError {
        StoreError::corrupt(format!("a script replied {:?}", self.verdict))
    }
}

/// Decodes what Redis replied to a command.
pub(in crate::store) fn decode_value<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::corrupt(error.to_string()))
}

/// Decodes a field that is empty where there is no value.
pub(in crate::store) fn decode_optional<T>(
    reply: &mut ScriptReply,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text = reply.next_text()?;
    if text.is_empty() {
        return Ok(None);
    }
    parse(&text)
        .map(Some)
        .ok_or_else(|| StoreError::corrupt(format!("{text:?} is not a value of the operator state")))
}

/// Parses an amount in millionths of the base currency.
pub(in crate::store) fn parse_micros(text: &str) -> Option<Micros> {
    text.parse().ok().and_then(Micros::new)
}

fn decode_text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(decode_bytes(value)?).map_err(|_| StoreError::corrupt("a script's reply is not UTF-8"))
}

fn decode_bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        other => Err(StoreError::corrupt(format!("a script's reply holds {other:?}"))),
    }
}
