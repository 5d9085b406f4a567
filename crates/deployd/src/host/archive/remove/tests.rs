use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::remove_tree;

fn remove(parent: &Path, name: &str) {
    let parent = File::open(parent).expect("the test's directory");
    remove_tree(parent.as_fd(), OsStr::new(name)).expect("nothing is in the way");
}

#[test]
fn removes_everything_but_what_links_point_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("kept")).expect("a directory");
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/b/c")).expect("directories");
    for number in 0..3000 {
        fs::write(tree.join(format!("a/b/{number}")), "x").expect("a file");
    }
    symlink(&outside, tree.join("link")).expect("a link");
    symlink("../..", tree.join("a/up")).expect("a link");
    remove(dir.path(), "tree");
    assert!(!tree.exists());
    assert!(outside.join("kept").is_dir());
    remove(dir.path(), "tree");
}

#[test]
fn removes_a_file_and_a_link() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "x").expect("a file");
    symlink("file", dir.path().join("link")).expect("a link");
    remove(dir.path(), "link");
    assert!(dir.path().join("file").exists());
    remove(dir.path(), "file");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
}

#[test]
fn removes_read_only_directories() {
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("tree/inner");
    fs::create_dir_all(&inner).expect("directories");
    fs::write(inner.join("file"), "x").expect("a file");
    for path in [&inner, &dir.path().join("tree")] {
        fs::set_permissions(path, Permissions::from_mode(0o0)).expect("ours");
    }
    remove(dir.path(), "tree");
    assert!(!dir.path().join("tree").exists());
}

#[test]
fn removes_an_absurdly_deep_tree() {
    let dir = tempfile::tempdir().expect("a directory");
    let top = File::open(dir.path()).expect("the test's directory");
    let mut parent = top.try_clone().expect("a handle");
    for _ in 0..5000 {
        // The very name that removing gives to what it moves.
        let name = ".deep-1";
        nix::sys::stat::mkdirat(&parent, name, Mode::S_IRWXU).expect("a directory");
        let below = nix::fcntl::openat(&parent, name, OFlag::O_DIRECTORY, Mode::empty());
        parent = File::from(below.expect("a directory"));
    }
    drop(parent);
    remove(dir.path(), ".deep-1");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
}
