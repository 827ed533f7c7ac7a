//! STATS where the store is not open: what its files tell.

use super::reply::Reply;
use crate::error::CommandError;
use crate::store::{Files, holder};
use crate::text::csv;
use serde_json::Value as Json;
use std::io::{self, Write};
use std::path::Path;

/// The figures by the names that text and JSON share. Those of an open store have the same names.
pub(crate) struct FileFigures {
    store_id: String,
    figures: Vec<(&'static str, u64)>,
    /// The process that has the store open.
    open_in: Option<u32>,
}

impl FileFigures {
    /// Reads every entry, to count the keys.
    pub(super) fn of(files: &mut Files, wal: &Path, snapshot: &Path) -> Result<FileFigures, CommandError> {
        let length = |path: &Path| path.metadata().map_or(0, |about| about.len());
        let (store_id, written, keys) = files.figures().map_err(|error| CommandError::of_files(&error))?;
        let figures = vec![
            ("keys", keys),
            ("written", written),
            ("log_bytes", length(wal)),
            ("snapshot_seq", kv_engine::inspect::snapshot_seq(snapshot)),
            ("snapshot_bytes", length(snapshot)),
        ];
        Ok(FileFigures { store_id: store_id.to_string(), figures, open_in: holder(wal) })
    }
}

impl Reply for FileFigures {
    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"STATS")?;
        self.figures.iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))?;
        self.open_in.map_or(Ok(()), |pid| write!(out, " open_in={pid}"))?;
        out.write_all(b"\n")
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        csv::write_fields(&self.json(), out)
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        let figures = self.figures.iter().map(|&(name, value)| (name, value.into()));
        let store_id = ("store_id", self.store_id.as_str().into());
        std::iter::once(store_id).chain(figures).chain([("open_in", self.open_in.into())]).collect()
    }
}
