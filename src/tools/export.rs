//! `kv_cli export`: every entry of a store, to a file or to stdout, without opening the store.
//!
//! Status 3 if the files are damaged, also if something could be salvaged.

use crate::args::{Args, ExportArgs};
use crate::error::Code;
use crate::output::{Output, Place};
use crate::signals::{self, Flags};
use crate::streams;
use crate::tools::status::DAMAGED;
use crate::transfer::export::{self, Request, Source};
use kv_engine::{KeptCopy, inspect};

pub(super) fn run(args: &Args, export_args: &ExportArgs, flags: &'static Flags) -> u8 {
    if let Err(error) = signals::note_only(flags) {
        streams::say(&format!("kv_cli: error: export: cannot handle signals: {error}; nothing was exported"));
        return 1;
    }
    let mut output = Output::new(args.format(), args.color, false);
    let kept = inspect::kept_copies(&args.wal, &args.snapshot);
    let is_lossy = kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_)));
    // A salvage has this in its notes.
    if !export_args.salvage && (is_lossy || !args.quiet) {
        inspect::kept_copy_warnings(&kept, &args.snapshot).iter().for_each(|text| output.warn(text));
    }
    let request = Request {
        wal: &args.wal,
        snapshot: &args.snapshot,
        file: export_args.file.clone().filter(|file| file.as_os_str() != "-"),
        quiet: args.quiet,
    };
    let source = if export_args.salvage { Source::Salvage } else { Source::Files };
    let status = match export::run(&request, source, &mut output, flags) {
        Ok(Some(done)) if done.has_notes() => DAMAGED,
        Ok(_) => 0,
        Err(error) => {
            output.error(&Place::Words, &error);
            if let Some(text) = args.old_place().filter(|_| error.code == Code::Failed) {
                output.aside(&format!("kv_cli: {text}"));
            }
            match flags.stop_signal() {
                Some(signal) => 128 + u8::try_from(signal).unwrap_or(0),
                None if error.code == Code::Failed => DAMAGED,
                None => 1,
            }
        }
    };
    // The export lacks writes that had been promised.
    let status = if is_lossy { status.max(DAMAGED) } else { status };
    output.finish(status)
}
