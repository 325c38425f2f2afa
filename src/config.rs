//! Settings, one file per area: plain values with their units in their names, and checks that collect every error.

pub mod doors;
pub mod journal;
pub mod nats;
