//! deployctl.

fn main() {}
