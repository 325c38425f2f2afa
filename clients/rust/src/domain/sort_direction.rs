//! The direction of a list.

use crate::domain::word_enum::word_enum;

word_enum! {
    /// The direction of a list.
    #[derive(Default)]
    SortDirection {
        /// The oldest item first.
        Asc = "asc",
        /// The newest item first.
        #[default]
        Desc = "desc",
    }
}
