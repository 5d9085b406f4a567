use std::os::unix::fs::symlink;
use std::{fs, process};

use super::{LockError, lock_dir};

#[test]
fn a_directory_is_locked_once_however_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (web, link) = (dir.path().join("web"), dir.path().join("link"));
    fs::create_dir(&web).unwrap();
    symlink(&web, &link).unwrap();
    let held = lock_dir(&web).unwrap();
    for path in [&web, &link] {
        let said = lock_dir(path).unwrap_err().to_string();
        // Who, where the file system goes by the device that it says.
        let pid = process::id().to_string();
        assert!(said.contains(&pid) || said.contains("unknown"), "{said}");
        assert!(said.ends_with(&path.display().to_string()), "{said}");
    }
    assert_eq!(fs::read_dir(&web).unwrap().count(), 0, "it wrote something");
    drop(held);
    lock_dir(&link).unwrap();
}

#[test]
fn a_lock_is_of_the_directory_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (web, before) = (dir.path().join("web"), dir.path().join("before"));
    fs::create_dir(&web).unwrap();
    let held = lock_dir(&web).unwrap();
    assert!(held.is_of(&web));
    fs::rename(&web, &before).unwrap();
    assert!(held.is_of(&before) && !held.is_of(&web));
    fs::create_dir(&web).unwrap();
    assert!(!held.is_of(&web));
}

#[test]
fn what_is_no_directory_is_not_held_by_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web");
    assert!(matches!(lock_dir(&path), Err(LockError::Io { .. })));
    fs::write(&path, "a file").unwrap();
    assert!(matches!(lock_dir(&path), Err(LockError::Io { .. })));
}
