//! A dependable ZooKeeper session.
