//! The URL of an order: the value of the header `Location`.

use std::fmt::Write as _;

use crate::domain::id::AccountId;

/// Returns the URL of an order by its order id.
pub(super) fn location_by_order_id(order_id: &str, account: &AccountId) -> String {
    if *account == AccountId::default_account() {
        format!("/orders/{order_id}")
    } else {
        format!("/orders/{order_id}?account_id={account}")
    }
}

/// Returns the URL of an order whose order id is not known yet.
pub(super) fn location_by_client_order_id(client_order_id: &str, account: &AccountId, broker: &str) -> String {
    let mut path = String::from("/orders/by-client-id/");
    for byte in client_order_id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Dots too: clients remove a segment of dots alone. Writing to a string cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    format!("{path}?account_id={account}&broker={broker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_is_the_url_of_the_order() {
        let account = AccountId::new("a-1").unwrap();
        assert_eq!(
            location_by_order_id("BN-1", &AccountId::default_account()),
            "/orders/BN-1"
        );
        assert_eq!(location_by_order_id("BN-1", &account), "/orders/BN-1?account_id=a-1");
        assert_eq!(
            location_by_client_order_id("a/b?#%.", &account, "ibkr"),
            "/orders/by-client-id/a%2Fb%3F%23%25%2E?account_id=a-1&broker=ibkr"
        );
    }
}
