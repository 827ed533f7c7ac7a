//! The table of all commands.

use super::call::Table;
use super::{about, connection, groups, keys, numbers, ranges, rename, scan, settings, strings};
use std::sync::LazyLock;

pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::new(&[
        strings::ROWS,
        numbers::ROWS,
        ranges::ROWS,
        keys::ROWS,
        rename::ROWS,
        scan::ROWS,
        groups::ROWS,
        connection::ROWS,
        about::ROWS,
        settings::ROWS,
    ])
});
