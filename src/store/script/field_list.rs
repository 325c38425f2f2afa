//! Commands as lists of values, one behind the other: what scripts read at the least cost.

use serde::{Serialize, Serializer};

use crate::store::error::StoreError;

/// The values of a command in MessagePack, without the list around them. A script unpacks them into one table, or into local
/// variables, where nested lists would cost it a table each.
#[derive(Debug, Default)]
pub(in crate::store) struct FieldList(Vec<u8>);

impl FieldList {
    /// Appends the fields of a struct, or the elements of a list. None of them may be a list itself, or `None`: Lua's lists
    /// end at the first nil.
    pub(in crate::store) fn append(&mut self, fields: &impl Serialize) -> Result<(), StoreError> {
        let start = self.0.len();
        rmp_serde::encode::write(&mut self.0, fields).map_err(|error| StoreError::NotExecuted(error.to_string()))?;
        let header_length = match self.0.get(start) {
            Some(0x90..=0x9f) => 1,
            Some(0xdc) => 3,
            Some(0xdd) => 5,
            _ => return Err(StoreError::NotExecuted("a part of a command is no list".to_owned())),
        };
        self.0.drain(start..start + header_length);
        Ok(())
    }

    /// Returns the encoded values.
    pub(in crate::store) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A number, or false where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct NumberOrFalse(pub(in crate::store) Option<i64>);

impl Serialize for NumberOrFalse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_i64(number),
            None => serializer.serialize_bool(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_one_another_without_the_lists_they_came_in() {
        #[derive(Serialize)]
        struct Part {
            number: u8,
            name: &'static str,
            limit: NumberOrFalse,
        }
        let part = Part {
            number: 7,
            name: "a",
            limit: NumberOrFalse(None),
        };
        let mut list = FieldList::default();
        list.append(&part).unwrap();
        list.append(&[1_u8; 20]).unwrap();
        list.append(&(NumberOrFalse(Some(-1)),)).unwrap();
        let mut expected = vec![7, 0xa1, b'a', 0xc2];
        expected.extend([1; 20]);
        expected.push(0xff);
        assert_eq!(list.as_bytes(), expected);
        assert!(FieldList::default().append(&1).is_err());
    }
}
