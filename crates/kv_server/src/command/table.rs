//! The table of all commands.

use super::call::Table;
use super::{
    about, client, connection, groups, info, inspect, keys, lifecycle, numbers, ranges, rename, scan, settings, strings,
};
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
        client::ROWS,
        about::ROWS,
        settings::ROWS,
        info::ROWS,
        inspect::ROWS,
        lifecycle::ROWS,
    ])
});
