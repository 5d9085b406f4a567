use std::path::Path;
use std::time::Duration;

use deploy_core::name::ServiceName;
use deploy_core::verdict::Failure;
use nix::errno::Errno;

use super::{Program, Programs, not_started};
use crate::host::process::{Job, Leftovers, StartError};

fn place(service: &str, state_dir: &str) -> String {
    Programs::new(&ServiceName::parse(service).unwrap(), Path::new(state_dir)).place
}

#[test]
fn units_are_told_apart() {
    let own = place("web", "/var/lib/deployd");
    assert_eq!(own, "web");
    for other in [
        place("web-2", "/var/lib/deployd"),
        place("web", "/tmp/other"),
        place("web", "/tmp/another"),
    ] {
        // What ends ours is a pattern.
        assert!(
            !format!("{other}.post_install").starts_with(&format!("{own}.")),
            "{other}"
        );
    }
    assert_ne!(place("web", "/tmp/other"), place("web", "/tmp/another"));
    assert_eq!(place("web", "/tmp/other"), place("web", "/tmp/other"));
}

#[test]
fn a_machine_that_is_short_of_something_is_not_the_fault_of_a_build() {
    let arguments = ["bin/hook".to_owned()];
    let program = Program {
        job: Job {
            arguments: &arguments,
            dir: Path::new("/"),
            user: None,
            environment: &[],
            limit: Duration::from_secs(1),
            leftovers: Leftovers::Killed,
            input: "",
        },
        what: "post_install".to_owned(),
        failure: Failure::OfTheBuild,
    };
    let whose = |errno: Errno| {
        let error = StartError {
            program: "bin/hook".into(),
            source: errno.into(),
        };
        not_started(&program, &error).failure
    };
    for errno in [Errno::ENOENT, Errno::EACCES, Errno::ENOEXEC] {
        assert_eq!(whose(errno), Failure::OfTheBuild, "{errno}");
    }
    for errno in [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENOSPC] {
        assert_eq!(whose(errno), Failure::Passing, "{errno}");
    }
}
