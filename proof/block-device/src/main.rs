//! The engine on real file systems of the kernel, on a disk that loses power and whose syncs fail.
//!
//! A file served from memory carries a loop device. The loop device carries the file system, and the file system the
//! store. The disk records every write and every flush. Power cuts are made from that record, mounted and opened.
//! `scripts/dev/real-disk` runs this in a mount namespace of its own.

mod blocks;
mod check;
mod device;
mod failing;
mod filesystem;
mod image;
mod lane;
mod mounts;
mod run;
mod served;
mod worker;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};
use filesystem::FileSystem;
use lane::{FAILURES_OF_A_WORKLOAD, IMAGES_OF_A_WORKLOAD, Lane, Tally};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// Opens the store on the disks that power cuts and failing syncs leave of real file systems.
#[derive(Parser)]
#[command(name = "real-disk")]
struct Arguments {
    /// The file system of the kernel.
    #[arg(long, value_enum, default_value = "ext4")]
    fs: FileSystem,
    /// How many disks to open after power cuts.
    #[arg(long, default_value_t = 2000)]
    images: usize,
    /// The number of the first workload.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many writes of the disk to fail, each in a run of its own. If not 0, the disk also runs out of room once.
    #[arg(long, default_value_t = 20)]
    failing_syncs: usize,
    /// How many disks to open after power cuts in a server. The variable REAL_DISK_KV_CLI is the program kv_cli.
    #[arg(long, default_value_t = 0)]
    server_images: usize,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Mounts and works on behalf of another process of this program.
    #[command(hide = true)]
    Worker { fs: FileSystem, directory: PathBuf },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Role::Worker { fs, directory }) = arguments.role {
        worker::work(fs, &directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lanes = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let opened = match lane::missing() {
        Some(why) => Err(why.to_owned()),
        None => (0..lanes).map(|_| Lane::open(arguments.fs)).collect::<Result<Vec<_>>>().map_err(|error| format!("{error:#}")),
    };
    let mut lanes = match opened {
        Ok(lanes) => lanes,
        Err(why) => {
            println!("skipped: {}: {}", arguments.fs.name(), why.trim());
            rung(&format!("{}-images", arguments.fs.name()), 0, 0, arguments.images);
            rung("server-images", 0, 0, arguments.server_images);
            rung("failing-syncs", 0, 0, with_thin(arguments.failing_syncs));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let fs = arguments.fs.name();
    println!("{:<6} {:<28} {:>7} {:>7} {:>9}  what was done", "", "", "tried", "failed", "seconds");

    let began = Instant::now();
    let images = share(&mut lanes, arguments.seed, arguments.images, IMAGES_OF_A_WORKLOAD, Lane::images);
    let Tally { workloads, disk_writes, flushes, .. } = images;
    row(fs, "power cuts", &images, began, &format!("{workloads} workloads, {disk_writes} disk writes, {flushes} flushes"));

    let began = Instant::now();
    let served = share(&mut lanes, arguments.seed, arguments.server_images, IMAGES_OF_A_WORKLOAD, Lane::served_images);
    let Tally { workloads, disk_writes, flushes, .. } = served;
    row(
        fs,
        "power cuts of a server",
        &served,
        began,
        &format!("{workloads} workloads, {disk_writes} disk writes, {flushes} flushes"),
    );

    let began = Instant::now();
    let mut syncs = share(&mut lanes, arguments.seed, arguments.failing_syncs, FAILURES_OF_A_WORKLOAD, Lane::failing_syncs);
    if arguments.failing_syncs > 0
        && let Some(lane) = lanes.first_mut()
    {
        syncs.add(lane.thin().unwrap_or_else(lost));
    }
    let Tally { poisoned, refused, unnoticed, .. } = syncs;
    let noticed = format!("{poisoned} poisoned the log, {refused} refused a snapshot or an opening, {unnoticed} not noticed");
    row(fs, "failing writes and syncs", &syncs, began, &noticed);

    for failure in images.failures.iter().chain(&served.failures).chain(&syncs.failures).take(20) {
        println!("FAIL {failure}");
    }
    rung(&format!("{fs}-images"), images.tried, images.failures.len(), 0);
    rung("server-images", served.tried, served.failures.len(), 0);
    rung("failing-syncs", syncs.tried, syncs.failures.len(), 0);
    let failed = images.failures.len() + served.failures.len() + syncs.failures.len() > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Gives workloads to the lanes until the requested number is tried.
fn share(
    lanes: &mut [Lane],
    first_seed: u64,
    total: usize,
    of_a_workload: usize,
    job: impl Fn(&mut Lane, u64, usize) -> Result<Tally> + Sync,
) -> Tally {
    let next = Mutex::new((first_seed, total));
    let tally = Mutex::new(Tally::default());
    let work = |lane: &mut Lane| {
        loop {
            let (seed, most) = {
                let mut next = next.lock().expect("no lane panics here");
                let most = next.1.min(of_a_workload);
                next.0 += 1;
                next.1 -= most;
                (next.0 - 1, most)
            };
            if most == 0 {
                return;
            }
            let (found, go_on) = match job(lane, seed, most) {
                Ok(found) => (found, true),
                Err(error) => (lost(error), false),
            };
            next.lock().expect("no lane panics here").1 += most.saturating_sub(found.tried);
            tally.lock().expect("no lane panics here").add(found);
            if !go_on {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(|| work(lane));
        }
    });
    tally.into_inner().expect("no lane panics here")
}

/// A worker that ended is a failure too: the engine may have ended it.
fn lost(error: anyhow::Error) -> Tally {
    Tally { tried: 1, failures: vec![format!("{error:#}")], ..Tally::default() }
}

fn with_thin(failing_syncs: usize) -> usize {
    failing_syncs + usize::from(failing_syncs > 0)
}

fn row(fs: &str, what: &str, tally: &Tally, began: Instant, text: &str) {
    let seconds = began.elapsed().as_secs_f64();
    println!("{fs:<6} {what:<28} {:>7} {:>7} {seconds:>9.1}  {text}", tally.tried, tally.failures.len());
}

fn rung(name: &str, tried: usize, failed: usize, skipped: usize) {
    println!("rung {name} tried={tried} failed={failed} skipped={skipped}");
}
