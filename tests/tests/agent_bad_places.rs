//! Something in the way on the disk: it is told what, it is left alone, and the host goes on by
//! itself when it is gone.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;
use std::time::Duration;

use deploy_core::wire::report::{Phase, Report};
use tests::agent::{Agent, ServiceSettings, Settings};
use tests::archives::tree;
use tests::disk::Mounted;
use tests::service::named;

/// How long a host may take to notice that a cause is gone that it isn't told of: the longest
/// pause between two tries, and a deployment.
const NOTICE_MAX: Duration = Duration::from_secs(90);

#[test]
fn a_file_in_the_place_of_releases() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::create_dir(&web.dir).expect("the directory above is there");
    fs::write(web.dir.join("releases"), "in the way").expect("space");
    agent.run();
    web.deploy("r1", 1);
    web.until("blocked", |report| told(report, "releases"));
    fs::remove_file(web.dir.join("releases")).expect("it is there");
    web.serves_within("r1", NOTICE_MAX);
}

fn told(report: &Report, word: &str) -> bool {
    report.phase == Phase::Blocked
        && report
            .error
            .as_ref()
            .is_some_and(|error| error.message.contains(word))
}

#[test]
fn a_directory_in_the_place_of_current() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::create_dir_all(web.dir.join("current")).expect("the directory above is there");
    fs::write(web.dir.join("current/precious"), "data").expect("space");
    agent.run();
    web.deploy("r1", 1);
    let report = web.until("blocked", |report| told(report, "current"));
    assert!(
        report
            .error
            .expect("it was there")
            .message
            .contains("a directory")
    );
    assert!(web.dir.join("current/precious").exists());
    fs::remove_dir_all(web.dir.join("current")).expect("it is there");
    web.serves_within("r1", NOTICE_MAX);
}

/// Who owns the directory of a service has deployd, which is root, neither write nor delete elsewhere.
#[test]
fn a_symlink_in_the_place_of_releases() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |settings| settings.builds = "keep = 0".to_owned());
    let (web, outside) = (agent.web(), agent.path("outside"));
    for name in ["r1", ".r0.trash", ".r2.partial", ".r2.trash"] {
        fs::create_dir_all(outside.join(name)).expect("a new directory");
        fs::write(outside.join(name).join("precious"), "data").expect("space");
    }
    fs::write(outside.join(".deployd-tmp-x"), "data").expect("space");
    let before = tree(&outside);
    agent.run();
    web.deploy("r1", 1);
    web.serves("r1");
    fs::rename(web.dir.join("releases"), web.dir.join("mine")).expect("it is there");
    symlink(&outside, web.dir.join("releases")).expect("the name is free");
    let words = [
        "srv/web/releases is a symlink to",
        "outside, not a directory",
        "move it away",
    ];
    web.deploy("r2", 2);
    let report = web.blocked(&words);
    assert_eq!(report.current, named("r1"));
    assert_eq!(agent.builds.downloads("r2"), 0);
    assert_eq!(agent.stop(), Some(0));
    let plan = String::from_utf8(agent.output(&["plan"]).stdout).expect("text");
    assert!(plan.contains("blocked by releases"), "{plan}");
    // At its start it removes what an earlier run has left.
    agent.run();
    web.looks_again();
    web.blocked(&words);
    assert_eq!(tree(&outside), before);
    fs::remove_file(web.dir.join("releases")).expect("it is there");
    fs::rename(web.dir.join("mine"), web.dir.join("releases")).expect("the name is free");
    web.serves_within("r2", NOTICE_MAX);
    assert_eq!(tree(&outside), before);
}

#[test]
fn something_in_the_place_of_a_release_costs_no_download() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let path = web.dir.join("releases/r2");
    fs::write(&path, "in the way").expect("space");
    web.deploy("r2", 2);
    web.blocked(&["srv/web/releases/r2 is a file", "move it away"]);
    fs::remove_file(&path).expect("it is there");
    symlink(agent.path("state"), &path).expect("the name is free");
    web.looks_again();
    web.blocked(&["srv/web/releases/r2 is a symlink to", "move it away"]);
    assert_eq!(agent.builds.downloads("r2"), 0);
    web.is_at("r1");
    fs::remove_file(&path).expect("it is there");
    web.serves_within("r2", NOTICE_MAX);
    assert_eq!(agent.builds.downloads("r2"), 1);
}

#[test]
fn the_umask_of_deployd_keeps_nobody_from_a_release() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    let deployd = agent.command(&["run"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0077; exec \"$0\" \"$@\""])
        .arg(deployd.get_program())
        .args(deployd.get_args())
        .env_remove("JOURNAL_STREAM");
    agent.log_to(&mut command);
    agent.adopt(command);
    web.deploy("r1", 1);
    web.serves("r1");
    for dir in [
        web.dir.clone(),
        web.dir.join("releases"),
        web.dir.join("releases/r1"),
    ] {
        let mode = fs::metadata(&dir).expect("it is there").mode();
        assert_eq!(mode & 0o7777, 0o755, "{}", dir.display());
    }
}

/// A mount point can be neither renamed nor removed.
#[test]
fn a_release_that_can_not_be_deleted_holds_nothing_up() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |settings| {
        settings.services[0] = ServiceSettings {
            hooks: &["post_restart"],
            ..ServiceSettings::new("web")
        };
        settings.builds = "keep = 0".to_owned();
    });
    agent.run();
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let Some(mount) = Mounted::tmpfs("size=64k", &web.dir.join("releases/r1")) else {
        return;
    };
    for rollout in 2..=4 {
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        let report = web.serves(&build);
        let hook = format!("hook web post_restart {build}");
        assert_eq!(agent.supervisor.asked(&hook).len(), 1, "{build}");
        let error = report.error.expect("it is told");
        assert_eq!(
            (error.step.as_str(), error.kind.as_str()),
            ("prune", "blocked")
        );
        assert!(error.message.contains("srv/web/releases/r1"), "{error:?}");
        assert_eq!(web.releases(), ["r1", &build], "the others are deleted");
    }
    drop(mount);
    web.deploy("r5", 5);
    let report = web.serves("r5");
    assert_eq!(report.error, None);
    assert!(!web.dir.join("releases/r1").exists());
}

#[test]
fn a_missing_mount_is_waited_for_and_nothing_downloaded_meanwhile() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::remove_dir(agent.path("srv")).expect("it is empty");
    agent.run();
    web.deploy("r1", 1);
    web.until("blocked", |report| told(report, "srv"));
    assert!(
        agent.builds.downloads("r1") < 5,
        "{} downloads",
        agent.builds.downloads("r1")
    );
    assert!(
        !agent.path("srv").exists(),
        "a mount that is missing is not papered over"
    );
    fs::create_dir(agent.path("srv")).expect("it was gone");
    web.serves_within("r1", NOTICE_MAX);
}

#[test]
fn two_services_with_one_directory_behind_a_symlink() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let both = |settings: &mut Settings| settings.services.push(ServiceSettings::new("api"));
    let agent = Agent::prepare(server, both);
    let (web, api) = (agent.web(), agent.service("api"));
    fs::create_dir(&web.dir).expect("the directory above is there");
    symlink(&web.dir, &api.dir).expect("nothing is there");
    let said = format!("dir {} is there twice: web has it", web.dir.display());
    let output = agent.output(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let warning = format!("warning: on this machine: {said}\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), warning);
    agent.run();
    api.blocked(&["dir", &said]);
    web.deploy("r1", 1);
    web.serves("r1");
}

#[test]
fn a_stop_while_it_starts_is_a_stop() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    assert_eq!(agent.stop(), Some(0));
    let journal = agent.path("state/journal/web.json");
    fs::write(&journal, "{").expect("space");
    agent.run();
    // It says that while it starts, before it is ready.
    agent.logs(&["the service is left alone", "move it away"]);
    assert_eq!(agent.stop(), Some(0));
    fs::remove_file(&journal).expect("it is there");
    agent.run();
    web.deploy("r2", 2);
    web.serves("r2");
}
