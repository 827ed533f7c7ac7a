//! Commands that the operator has taken away. A client finds them as little as one that never existed.

use super::call::Call;
use super::table::TABLE;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::resp::Args;

impl Options {
    /// Takes commands away, by their names in any case: `FLUSHALL`, or `CONFIG|SET` for a subcommand. They are answered
    /// as unknown.
    ///
    /// # Errors
    /// [`Error::UnknownCommand`]: there is no command of this name. A typing error would leave the command there.
    pub fn disable(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Options> {
        for name in names {
            let name = name.as_ref();
            let unknown = || Error::UnknownCommand { name: name.to_string() };
            let row = TABLE.find_full(name.as_bytes()).ok_or_else(unknown)?;
            self.disabled.push(row);
            self.disabled.extend(TABLE.rows[row].subcommands.values());
        }
        self.disabled.sort_unstable();
        self.disabled.dedup();
        Ok(self)
    }
}

impl Call<'_> {
    pub(super) fn is_disabled(&self, row: usize) -> bool {
        self.shared.options.disabled.contains(&row)
    }

    /// The row that runs for these words.
    ///
    /// # Errors
    /// There is none, it was taken away, or it takes another number of words.
    pub(super) fn row_of(&self, args: Args<'_>) -> std::result::Result<usize, Refusal> {
        if !self.shared.options.disabled.is_empty()
            && let Some(command) = self.table.find(args.at(0))
        {
            if self.is_disabled(command) {
                return Err(Refusal::unknown_command(args.at(0), args.from(1)));
            }
            let sub = args.get(1).and_then(|sub| self.table.find_sub(command, sub));
            if sub.is_some_and(|sub| self.is_disabled(sub)) {
                return Err(Refusal::unknown_subcommand(&self.table.rows[command].spec.name.to_ascii_uppercase(), args.at(1)));
            }
        }
        self.table.row_of(args)
    }

    /// A command by its name, a subcommand as `client|list`.
    pub(super) fn row_named(&self, name: &[u8]) -> Option<usize> {
        self.table.find_full(name).filter(|&row| !self.is_disabled(row))
    }

    /// The rows of the commands, without subcommands, in the order of their names.
    pub(super) fn commands(&self) -> Vec<usize> {
        self.table.commands().map(|(row, _)| row).filter(|&row| !self.is_disabled(row)).collect()
    }

    /// The rows of the subcommands of a command, in the order of the table.
    pub(super) fn subcommands(&self, command: usize) -> Vec<usize> {
        let rows = self.table.rows[command].subcommands.values().copied();
        let mut rows: Vec<usize> = rows.filter(|&row| !self.is_disabled(row)).collect();
        rows.sort_unstable();
        rows
    }
}
