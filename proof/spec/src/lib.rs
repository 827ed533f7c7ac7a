//! The durability protocol of kv-engine as a model that can be checked completely. Begin with [`model`]: its first
//! page is the specification.
//!
//! | module | its one responsibility |
//! |---|---|
//! | [`model`] | the protocol in words; its states, steps and actions |
//! | [`steps`] | the actions that may happen in a state |
//! | [`effects`] | the effect of each action |
//! | [`process`] | frames, the buffer, and the consequences of a failure |
//! | [`disk`] | files and names, as seen and as left by a power cut |
//! | [`replay`] | the reading of recovery, and its verdict on the end of a log |
//! | [`properties`] | invariants, and occurrences that must happen |
//! | [`wrong`] | the mistakes that a protocol can have |
//! | [`cases`] | the protocols with one mistake, and what each must break |
//! | [`check`] | visiting every state; the shortest history that breaks a property |
//! | [`story`] | a history as numbered sentences |
//! | [`runs`] | the bounds that are checked, short and long |
//! | [`conform`] | the real engine on the simulated disk, as a path of the model |

pub mod cases;
pub mod check;
pub mod conform;
pub mod disk;
pub mod effects;
pub mod model;
pub mod process;
pub mod properties;
pub mod replay;
pub mod runs;
pub mod steps;
pub mod story;
pub mod wrong;
