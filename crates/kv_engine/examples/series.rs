//! A time series: keys that sort by sensor and time, read back by prefix.
//!
//! `cargo run --example series` stores the readings of one day and reads one hour of one sensor.

#![allow(clippy::print_stdout, reason = "an example talks")]

use kv_engine::{Batch, Options, Result};

/// Keys are ordered by their bytes, so numbers are written with all their digits.
fn key(sensor: &str, minute: u32) -> String {
    format!("{sensor}/{:02}:{:02}", minute / 60, minute % 60)
}

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("kv-series-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let options = Options::new(dir.join("wal"), dir.join("snapshot"));

    let engine = options.clone().open()?;
    for minute in 0..24 * 60 {
        // The readings of one minute belong together: either both are stored or none.
        let mut readings = Batch::new();
        readings.put(key("inside", minute), format!("{:.1}", 20.0 + f64::from(minute % 60) / 20.0));
        readings.put(key("outside", minute), format!("{:.1}", 5.0 + f64::from(minute) / 120.0));
        engine.write(readings)?;
        if minute == 0 {
            engine.set_batch_size(1000)?; // the first was durable at once, the others are synced together
        }
    }
    engine.snapshot()?; // the next opening reads only the snapshot
    engine.close()?;

    let engine = options.open()?;
    println!("{} readings, {} of them from the snapshot", engine.len(), engine.recovery().snapshot_keys);
    let hour = engine.scan("inside/12:").collect::<Result<Vec<_>>>()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (key, value) in hour.iter().step_by(15) {
        println!("{} {} °C", text(key), text(value));
    }
    engine.close()?;
    std::fs::remove_dir_all(dir).expect("its own directory");
    Ok(())
}
