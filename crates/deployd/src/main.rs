//! deployd.

fn main() {}
