//! The table of all commands.

use super::call::Table;
use super::{
    about, client, connection, groups, info, inspect, keys, lifecycle, numbers, ranges, rename, scan, settings, strings,
};
use std::sync::LazyLock;

pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let groups = [
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
    ];
    Table::new(&groups, &about::HELP)
});

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::call::Spec;
    use super::TABLE;
    use std::fmt::Write;

    /// The groups as the docs show them: their title, and those of the table of commands.
    const GROUPS: [(&str, &str, &str); 7] = [
        ("values", "string", "options that set an expiry are refused"),
        ("keys", "generic", "`SCAN` and `KEYS` go in the order of the keys"),
        ("transactions", "transactions", "`EXEC` is one atomic write, also after a crash"),
        ("connection", "connection", "the protocol is RESP2 until `HELLO 3`"),
        ("server", "server", "`SHUTDOWN NOSAVE` is refused: every OK is kept"),
        ("scripts", "scripting", "only `FLUSH` is there, and does nothing"),
        ("cluster", "cluster", "`CLUSTER INFO` says that this is a single server; `READONLY` does nothing"),
    ];

    fn is_refused(spec: &Spec) -> bool {
        spec.summary.starts_with("Refused")
    }

    fn named(names: &[String]) -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// The table of commands, as the docs have it.
    fn documented() -> String {
        let mut text = String::from("| group | commands | notes |\n|---|---|---|\n");
        for (title, group, note) in GROUPS {
            let (mut known, mut refused) = (Vec::new(), Vec::new());
            for (_, row) in TABLE.commands().filter(|(_, row)| row.spec.group == group) {
                let name = row.full_name.to_ascii_uppercase();
                let (refused_subs, subs): (Vec<&Spec>, Vec<&Spec>) = row.spec.subcommands.iter().partition(|sub| is_refused(sub));
                let sub_name = |sub: &&Spec| format!("{name} {}", sub.name.to_ascii_uppercase());
                refused.extend(refused_subs.iter().map(sub_name));
                match (is_refused(row.spec), row.spec.subcommands.is_empty()) {
                    (true, _) => refused.push(name),
                    (false, true) => known.push(name),
                    (false, false) => {
                        let subs: Vec<String> = subs.iter().map(|sub| sub.name.to_ascii_uppercase()).collect();
                        known.push(format!("{name} {}", subs.join("\\|")));
                    }
                }
            }
            let refused = match refused.is_empty() {
                true => String::new(),
                false => format!("; refused: {}", named(&refused)),
            };
            writeln!(text, "| {title} | {} | {note}{refused} |", named(&known)).unwrap();
        }
        text
    }

    #[test]
    fn the_page_of_the_server_has_the_commands() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let page = std::fs::read_to_string(path).unwrap();
        let wanted = documented();
        let found = page.split_once("The commands:\n\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        assert!(found.trim_end() == wanted.trim_end(), "in docs/server.md, behind `The commands:`, put:\n\n{wanted}");
    }

    #[test]
    fn every_command_is_in_a_group_of_the_page() {
        for (_, row) in TABLE.commands() {
            assert!(GROUPS.iter().any(|(_, group, _)| *group == row.spec.group), "{}: {}", row.full_name, row.spec.group);
            assert!(!row.spec.summary.is_empty() && !row.spec.since.is_empty(), "{}", row.full_name);
        }
    }
}
