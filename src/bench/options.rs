//! The options of BENCH as data. `command/bench.rs` reads them from a line.

use std::fmt;
use std::time::Duration;

/// One BENCH, checked. Its [`Display`](fmt::Display) is a line that does the same work again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bench {
    /// How much work, for each batch size.
    pub(crate) amount: Amount,
    /// The batch sizes to measure. Empty: the current one.
    pub(crate) batch_sizes: Vec<u64>,
    /// The percentage of GETs. The other operations are PUTs.
    pub(crate) gets_percent: u64,
    /// The length of every key.
    pub(crate) key_bytes: usize,
    /// The length of every value.
    pub(crate) value_bytes: usize,
    /// The number of different keys. `None`: a default that depends on the operations.
    pub(crate) keys: Option<u64>,
    /// How the keys are chosen.
    pub(crate) dist: Dist,
    /// The number of threads. They share the work.
    pub(crate) threads: u64,
    /// The work before the measurement, which is not counted. `None`: a little.
    pub(crate) warm_up: Option<Amount>,
    /// The path of a page to write. It ends in `.html` or `.svg`.
    pub(crate) report: Option<Vec<u8>>,
    /// Print the results as JSON, also if other replies are text.
    pub(crate) json: bool,
}

/// How much work: a number of operations, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// The number of operations.
    Count(u64),
    /// The time from the first operation on.
    Time(Duration),
}

/// How the key of an operation is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dist {
    /// Every key is equally likely.
    Uniform,
    /// A few keys are used often: the r-th most popular one 1/r^0.99 times as often as the first.
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
    /// The operations: `puts`, `gets`, or `mixed:95`.
    #[must_use]
    pub(crate) fn ops(&self) -> String {
        match self.gets_percent {
            0 => "puts".to_string(),
            100 => "gets".to_string(),
            percent => format!("mixed:{percent}"),
        }
    }
}

/// A line that does the same work again, without the options for the results.
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
