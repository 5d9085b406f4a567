use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Current, Tree, TreeError};

fn tree(builds: &[&str]) -> (tempfile::TempDir, Tree) {
    let temp = tempfile::tempdir().unwrap();
    let tree = Tree::new(&temp.path().join("web"));
    tree.prepare().unwrap();
    for build in builds {
        fs::create_dir(tree.release(build)).unwrap();
        fs::write(tree.release(build).join("name"), build).unwrap();
    }
    (temp, tree)
}

#[test]
fn a_reader_never_finds_current_missing() {
    let (_temp, tree) = tree(&["r1", "r2"]);
    tree.activate("r1").unwrap();
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let name = fs::read_to_string(tree.current().join("name")).unwrap();
                assert!(name == "r1" || name == "r2");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for flip in 0..2000 {
            tree.activate(if flip % 2 == 0 { "r2" } else { "r1" })
                .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(reads.into_inner() > 0);
    assert_eq!(
        tree.read_current().unwrap(),
        Current::Release("r1".to_owned())
    );
}

#[test]
fn what_is_not_ours_is_not_replaced() {
    let (_temp, tree) = tree(&["r1"]);
    fs::create_dir(tree.current()).unwrap();
    assert!(matches!(
        tree.activate("r1"),
        Err(TreeError::Foreign { .. })
    ));
    fs::remove_dir(tree.current()).unwrap();
    symlink("/etc", tree.current()).unwrap();
    assert!(matches!(
        tree.activate("r1"),
        Err(TreeError::Foreign { .. })
    ));
    assert_eq!(
        fs::read_link(tree.current()).unwrap().to_str(),
        Some("/etc")
    );
}

#[test]
fn releases_that_are_a_symlink_are_not_followed() {
    let (temp, tree) = tree(&["r1"]);
    fs::rename(tree.releases(), temp.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", tree.releases()).unwrap();
    let found = |error: Option<TreeError>| match error {
        Some(error @ TreeError::Foreign { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let said = format!(
        "{} is a symlink to ../elsewhere, not a directory; move it away",
        tree.releases().display()
    );
    assert_eq!(found(tree.prepare().err()), said);
    assert_eq!(found(tree.list().err()), said);
    assert_eq!(found(tree.activate("r1").err()), said);
    assert_eq!(tree.read_current().unwrap(), Current::Absent);
}

#[test]
fn the_directory_of_a_service_may_be_reached_through_links() {
    let (temp, _) = tree(&["r1"]);
    symlink("web", temp.path().join("link")).unwrap();
    let tree = Tree::new(&temp.path().join("link"));
    tree.prepare().unwrap();
    tree.activate("r1").unwrap();
    assert_eq!(tree.list().unwrap().releases.len(), 1);
}

#[test]
fn a_release_that_is_not_there_is_not_activated() {
    let (_temp, tree) = tree(&["r1"]);
    tree.activate("r1").unwrap();
    assert!(matches!(
        tree.activate("r2"),
        Err(TreeError::Missing { .. })
    ));
    assert_eq!(
        tree.read_current().unwrap(),
        Current::Release("r1".to_owned())
    );
}

#[test]
fn a_dangling_or_absolute_link_is_still_a_release() {
    let (_temp, tree) = tree(&["r1"]);
    symlink("releases/r9", tree.current()).unwrap();
    assert_eq!(
        tree.read_current().unwrap(),
        Current::Release("r9".to_owned())
    );
    fs::remove_file(tree.current()).unwrap();
    symlink(tree.release("r1"), tree.current()).unwrap();
    assert_eq!(
        tree.read_current().unwrap(),
        Current::Release("r1".to_owned())
    );
    tree.activate("r1").unwrap();
}

#[test]
fn partial_releases_are_not_listed() {
    let (_temp, tree) = tree(&["r1"]);
    fs::create_dir(tree.releases().join(".r2.partial")).unwrap();
    fs::write(tree.releases().join("file"), "").unwrap();
    let listed = tree.list().unwrap();
    let names: Vec<_> = listed.releases.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["r1"]);
    assert_eq!(listed.others, ["file"]);
}

#[test]
fn a_missing_mount_is_not_papered_over() {
    let temp = tempfile::tempdir().unwrap();
    let tree = Tree::new(&temp.path().join("gone/web"));
    assert!(matches!(tree.prepare(), Err(TreeError::Missing { .. })));
}
