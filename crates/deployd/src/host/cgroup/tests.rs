use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use super::{collect, processes};
use crate::host::proc::Running;

/// A group below our own, with one inside; gone when dropped, with the processes in it.
struct Group {
    dir: PathBuf,
    children: Vec<Child>,
}

impl Group {
    /// `None` where we may make none.
    fn new() -> Option<Group> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let mount = mount
            .iter()
            .find(|dir| PathBuf::from(dir).join("cgroup.procs").exists())?;
        let dir = PathBuf::from(format!("{mount}{path}"));
        let dir = dir.join(format!("deployd-test-{}", std::process::id()));
        fs::create_dir_all(dir.join("inner")).ok()?;
        let children = Vec::new();
        Some(Group { dir, children })
    }

    /// Starts a process in a directory, in this group or the one inside.
    fn start(&mut self, group: &str, dir: &std::path::Path) -> i32 {
        let procs = self.dir.join(group).join("cgroup.procs");
        let mut command = Command::new("sleep");
        command.arg("60").current_dir(dir).process_group(0);
        let child = command.spawn().unwrap();
        fs::write(procs, child.id().to_string()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        pid
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir(self.dir.join("inner"));
        let _ = fs::remove_dir(&self.dir);
    }
}

#[test]
fn all_processes_of_a_group_and_those_inside() {
    let Some(mut group) = Group::new() else {
        eprintln!("SKIPPED for want of cgroups: none can be made here");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let releases = temp.path().join("releases");
    for release in ["r1", "r2"] {
        fs::create_dir_all(releases.join(release)).unwrap();
    }
    // A wrapper that is elsewhere, an old worker, and a new one further inside.
    let mut started = vec![
        group.start("", temp.path()),
        group.start("", &releases.join("r1")),
        group.start("inner", &releases.join("r2")),
    ];
    let mut found = Vec::new();
    collect(&group.dir, &mut found);
    found.sort_unstable();
    started.sort_unstable();
    assert_eq!(found, started);
    let told: Vec<_> = Running::new(&releases)
        .releases_of(found)
        .into_iter()
        .collect();
    assert_eq!(told, ["r1", "r2"]);
    let name = group.dir.clone();
    drop(group);
    assert!(!name.exists());
}

#[test]
fn what_is_no_group_has_no_processes() {
    for group in ["", "/", "/no/such.slice"] {
        assert_eq!(processes(group), Vec::<i32>::new(), "{group}");
    }
}
