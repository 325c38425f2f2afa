//! Remembered ids as tests read them: each as a record of its own, `order:<name>`, whatever bucket it is in.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::collections::BTreeMap;

use order_router::domain::hex;
use order_router::domain::order_key::OrderKey;

/// Returns a value as text, in hex where it is not UTF-8.
pub fn text_of(value: &[u8]) -> String {
    std::str::from_utf8(value).map_or_else(|_| hex::encode(value), str::to_owned)
}

/// Returns the remembered orders of a key's fields, as records; `None` where it is not the key of a bucket.
pub fn orders_of_bucket(
    key: &str,
    fields: &BTreeMap<String, Vec<u8>>,
) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    key.strip_prefix("{or}:ids:")?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let record = |(name, entry): (&String, &Vec<u8>)| {
        let key = OrderKey::parse(name).unwrap();
        let tail = std::str::from_utf8(&entry[41..]).unwrap();
        let prefix = std::str::from_utf8(&entry[4..6]).unwrap();
        let own = format!("{prefix}-{}", key.uuid(number(&entry[6..12])).simple());
        let sequence = number(&entry[27..33]);
        let record = BTreeMap::from(
            [
                ("st", if entry[3] == 2 { "denied" } else { "ended" }.to_owned()),
                ("o", if tail.is_empty() { own } else { tail.to_owned() }),
                ("h", text_of(&entry[12..24])),
                ("v", number(&entry[24..27]).to_string()),
                ("jv", number(&entry[24..27]).to_string()),
                ("seq", sequence.to_string()),
                ("fs", (sequence - number(&entry[33..37])).to_string()),
            ]
            .map(|(field, value)| (field.to_owned(), value)),
        );
        (format!("order:{name}"), record)
    };
    Some(fields.iter().map(record).collect())
}

/// Returns the name of an order's record, without the hash tag.
pub fn record_name(account: &str, client_order_id: &str) -> String {
    use order_router::domain::id::{AccountId, ClientOrderId};
    use order_router::domain::order_terms::Mode;
    let (account, id) = (
        AccountId::new(account).unwrap(),
        ClientOrderId::new(client_order_id).unwrap(),
    );
    format!("order:{}", OrderKey::new(Mode::Paper, &account, &id))
}
