//! What BENCH measures: its options as data. `command/bench.rs` reads them from a line.

use std::fmt;
use std::time::Duration;

/// One BENCH, read and checked. Its [`Display`](fmt::Display) is the line that repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bench {
    /// How much for each batch size.
    pub(crate) amount: Amount,
    /// Empty: the current one.
    pub(crate) batch_sizes: Vec<u64>,
    /// So many operations in 100 are GETs, the others PUTs.
    pub(crate) gets_percent: u64,
    /// The length of every key.
    pub(crate) key_bytes: usize,
    /// The length of every value.
    pub(crate) value_bytes: usize,
    /// How many different keys there are; `None`: as many as suit the operations.
    pub(crate) keys: Option<u64>,
    /// Which keys are taken.
    pub(crate) dist: Dist,
    /// How many threads work at once; they share the amount.
    pub(crate) threads: u64,
    /// What is done before and not counted; `None`: a little.
    pub(crate) warm_up: Option<Amount>,
    /// Where a page is to be written: a path whose end is `.html` or `.svg`.
    pub(crate) report: Option<Vec<u8>>,
    /// Results as JSON, whatever the format of other replies.
    pub(crate) json: bool,
}

/// How much work: so many operations, or as many as fit in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// Operations.
    Count(u64),
    /// From the first operation on.
    Time(Duration),
}

/// How the key of an operation is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dist {
    /// Every key as often as any other.
    Uniform,
    /// The r-th most popular key 1/r^0.99 as often as the first.
    Zipfian,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Count(n) => write!(f, "{n}"),
            Amount::Time(time) if time.subsec_millis() == 0 => write!(f, "{}s", time.as_secs()),
            Amount::Time(time) => write!(f, "{}ms", time.as_millis()),
        }
    }
}

impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dist::Uniform => "uniform",
            Dist::Zipfian => "zipfian",
        })
    }
}

impl Bench {
    /// What is done: `puts`, `gets`, or `mixed:95`.
    #[must_use]
    pub(crate) fn ops(&self) -> String {
        match self.gets_percent {
            0 => "puts".to_string(),
            100 => "gets".to_string(),
            percent => format!("mixed:{percent}"),
        }
    }
}

/// The line that repeats it, without where the results go.
impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BENCH {}", self.amount)?;
        for (at, size) in self.batch_sizes.iter().enumerate() {
            write!(f, "{}{size}", if at == 0 { ' ' } else { ',' })?;
        }
        let mut option = |name: &str, given: bool, value: &dyn fmt::Display| match given {
            true => write!(f, " {name} {value}"),
            false => Ok(()),
        };
        option("--ops", self.gets_percent != 0, &self.ops())?;
        option("--key-bytes", self.key_bytes != 16, &self.key_bytes)?;
        option("--value-bytes", self.value_bytes != 100, &self.value_bytes)?;
        option("--keys", self.keys.is_some(), &self.keys.unwrap_or(0))?;
        option("--dist", self.dist != Dist::Uniform, &self.dist)?;
        option("--threads", self.threads != 1, &self.threads)?;
        option("--warm-up", self.warm_up.is_some(), &self.warm_up.unwrap_or(Amount::Count(0)))
    }
}
