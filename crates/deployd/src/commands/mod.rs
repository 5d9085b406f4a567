//! What deployd can be asked to do, one file per command.

pub(crate) mod unpack;
