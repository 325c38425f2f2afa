//! What is answered at each path: one file per noun.

pub(super) mod order_log;

use std::fmt::Write as _;

use crate::domain::id::AccountId;

/// Returns where an order is found, `order_id` being the router's own.
fn order_location(order_id: &str, account: &AccountId) -> String {
    if *account == AccountId::default_account() {
        format!("/orders/{order_id}")
    } else {
        format!("/orders/{order_id}?account_id={account}")
    }
}

/// Returns where an order is found whose own id is not known yet.
fn order_location_by_client_order_id(client_order_id: &str, account: &AccountId, broker: &str) -> String {
    let mut path = String::from("/orders/by-client-id/");
    for byte in client_order_id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Dots too: a segment of nothing but dots would be resolved away. Writing into a text does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    format!("{path}?account_id={account}&broker={broker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_back_to_its_order() {
        let account = AccountId::new("a-1").unwrap();
        assert_eq!(order_location("BN-1", &AccountId::default_account()), "/orders/BN-1");
        assert_eq!(order_location("BN-1", &account), "/orders/BN-1?account_id=a-1");
        assert_eq!(
            order_location_by_client_order_id("a/b?#%.", &account, "ibkr"),
            "/orders/by-client-id/a%2Fb%3F%23%25%2E?account_id=a-1&broker=ibkr"
        );
    }
}
pub mod orders;
pub mod positions;
pub mod risk;
pub mod service;
