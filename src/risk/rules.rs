//! One rule a file. Each evaluates an intent by itself, adds caps for the store to compare, or both.

pub(in crate::risk) mod duplicate_order;
pub mod intent_age;
pub mod max_daily_loss;
pub(in crate::risk) mod max_daily_notional;
pub(in crate::risk) mod max_notional;
pub(in crate::risk) mod max_open_orders;
pub(in crate::risk) mod order_rate;
pub(in crate::risk) mod order_size;
pub(in crate::risk) mod position_limit;
pub(in crate::risk) mod price_collar;
pub(in crate::risk) mod stop_loss;
pub(in crate::risk) mod trading_state;
