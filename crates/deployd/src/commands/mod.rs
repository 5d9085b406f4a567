//! What deployd can be asked to do, one file per command.

pub(crate) mod fetch;
pub(crate) mod unpack;
