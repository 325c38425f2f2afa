//! What Redis says of itself.

use redis::Value;

use crate::store::connection::StoreConnection;
use crate::store::error::StoreError;

/// A section of Redis' `INFO`: lines of `name:value`.
pub(in crate::store) struct ServerInfo(String);

impl ServerInfo {
    /// Returns the value of a field.
    pub(in crate::store) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.trim())
            .next()
    }
}

impl StoreConnection {
    /// Returns a section of Redis' `INFO`.
    ///
    /// # Errors
    /// When Redis does not reply, or its reply is no text.
    pub(in crate::store) async fn read_info(&self, section: &str) -> Result<ServerInfo, StoreError> {
        let mut info = redis::cmd("INFO");
        info.arg(section);
        match self.query(info).await? {
            Value::BulkString(bytes) => Ok(ServerInfo(String::from_utf8_lossy(&bytes).into_owned())),
            Value::VerbatimString { text, .. } => Ok(ServerInfo(text)),
            _ => Err(StoreError::corrupt(format!("the reply to INFO {section} is no text"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_the_whole_name_before_the_colon() {
        let info = ServerInfo("# Memory\r\nused_memory_rss:9\r\nused_memory:1024\r\n\r\n".to_owned());
        assert_eq!(info.field("used_memory"), Some("1024"));
        assert_eq!(info.field("memory"), None);
    }
}
