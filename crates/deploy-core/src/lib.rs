//! What deployd and deployctl agree on, and every decision that they take.
//!
//! Pure: values in, values out. No files, network, processes, environment, clock, randomness or
//! async; time is an argument. So everything here can be tested exhaustively, and is.
//!
//! * [`name`], [`artifact`], [`percent`]: the small values, parsed once; [`secret`]: what of them is not shown.
//! * [`wire`]: what is stored in znodes and in the journal, as versioned JSON; [`znode`]: where.
//! * [`wanted`]: what ZooKeeper asks of this host; [`observed`]: what the host is.
//! * [`step`] and [`plan`]: what is to be done about the difference.
//! * [`clock`]: which time counts, where a clock was set.
//! * [`verdict`]: what a failed step means; [`prune`]: which releases may go; [`lease`]: who may
//!   be out of service.

pub mod artifact;
pub mod clock;
pub mod lease;
pub mod name;
pub mod observed;
pub mod percent;
pub mod plan;
pub mod prune;
pub mod rollout;
pub mod secret;
pub mod signature;
pub mod step;
pub mod verdict;
pub mod wanted;
pub mod wire;
pub mod znode;
