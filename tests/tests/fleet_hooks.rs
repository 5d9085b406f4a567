//! Hooks on real hosts: units of their own, ended as a whole, and found again by a new deployd.

use std::time::Duration;

use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS};

const FAILED: i32 = 3;
const SOON: Duration = Duration::from_secs(60);

/// All hooks are this file of the host, which each test writes; the argument is the hook's name.
const HOOKS: &str = r#"
  [service.hooks]
  post_extract = ["/srv/hook", "post_extract", "$HOME"]
  post_install = ["/srv/hook", "post_install", "$HOME"]
  timeout_s = 90
"#;

/// How often the deployd that runs now has said that it waits for a hook of an earlier one.
const ADOPTED: &str = "journalctl --no-pager _PID=$(systemctl show --value -p MainPID deployd) \
                       | grep -c 'earlier run is waited for'";

/// The service's units are not used; the program is a file of the host.
const BY_COMMAND: &str = "sed -i 's,method = \"systemd\",method = \"command\"\\n\
                          command = [\"/srv/restart\"\\, \"{port}\"],' /etc/deployd/deployd.toml";
/// It ends the instance, and leaves behind another that has nothing to do with it any more.
const RESTART: &str = "#!/bin/sh
[ -e /srv/seen/fail ] && { echo 'no such port'; exit 5; }
[ -e /srv/seen/$1 ] && kill $(cat /srv/seen/$1)
cd /srv/hello/current
NOTIFY_SOCKET=/run/systemd/notify setsid python3 -S bin/hello $1 &
echo $! >/srv/seen/$1";

#[test]
fn a_hook_is_a_unit_with_the_environment_that_is_documented() {
    let Some(fleet) = start("hook-unit", HOOKS) else {
        return;
    };
    // A variable for all services of the host.
    fleet.on("h1", "systemctl set-environment LEAK=1").well();
    hook(
        &fleet,
        "env >/srv/seen/env.$1; id -un >/srv/seen/id.$1; echo \"$2\" >/srv/seen/argument.$1\npwd >/srv/seen/dir.$1; cat /proc/self/cgroup >/srv/seen/cgroup.$1",
    );
    fleet.deploy("v1").well();

    for name in ["post_extract", "post_install"] {
        let seen = |what: &str| {
            fleet
                .on("h1", &format!("cat /srv/seen/{what}.{name}"))
                .well()
                .stdout
        };
        assert_eq!(seen("id").trim(), "hello");
        assert_eq!(seen("argument").trim(), "$HOME");
        assert_eq!(seen("dir").trim(), "/srv/hello/releases/v1");
        let cgroup = seen("cgroup");
        let unit = format!("deployd-hook-hello.{name}.service");
        assert!(
            cgroup.contains(&unit) && !cgroup.contains("deployd.service"),
            "{cgroup}"
        );
        let environment = seen("env");
        let mut names: Vec<_> = environment
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        // The shell's own.
        names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "DEPLOYD_BUILD DEPLOYD_DIR DEPLOYD_HOOK DEPLOYD_HOST DEPLOYD_ROLLOUT DEPLOYD_SERVICE \
             DEPLOYD_STATE_DIR HOME LANG LOGNAME PATH USER"
        );
        assert_eq!(fleet.property("h1", &unit, "LoadState"), "not-found");
    }
}

#[test]
fn a_hook_that_fails_takes_the_host_back_and_is_told() {
    let Some(fleet) = start("hook-fails", HOOKS) else {
        return;
    };
    hook(&fleet, "exit 0");
    fleet.deploy("v1").well();

    for (build, body, wanted) in [
        (
            "v2",
            "[ $1 = post_extract ] || { echo 'the wheel is broken'; exit 3; }",
            &[
                "post_install hook `/srv/hook post_install $HOME` of build v2: exit 3",
                "the wheel is broken",
            ][..],
        ),
        (
            "v3",
            "[ $1 = post_extract ] || kill -9 $$",
            &["killed by SIGKILL"],
        ),
    ] {
        hook(&fleet, body);
        is_undone(&fleet, build, wanted);
    }
    fleet
        .on("h1", "printf '#!/no/such/interpreter\\n' >/srv/hook")
        .well();
    is_undone(
        &fleet,
        "v4",
        &[
            "post_extract hook",
            "of build v4: failed to run /srv/hook: No such file or directory",
        ],
    );
    fleet.on("h1", "chmod 644 /srv/hook").well();
    is_undone(
        &fleet,
        "v5",
        &["failed to run /srv/hook: Permission denied"],
    );
    fleet.on("h1", "rm /srv/hook").well();
    is_undone(
        &fleet,
        "v6",
        &["failed to run /srv/hook: No such file or directory"],
    );
    no_units(&fleet);
}

#[test]
fn nothing_of_a_hook_outlives_it() {
    let Some(fleet) = start("hook-leftovers", &HOOKS.replace("90", "2")) else {
        return;
    };
    // Each leaves a process that has left its group and session, and holds the output open.
    let leave = "setsid sleep 7001 & (setsid setsid sleep 7002 &)";
    hook(&fleet, leave);
    fleet.deploy("v1").well();
    no_sleeps(&fleet);

    hook(
        &fleet,
        &format!(
            "[ $1 = post_extract ] && exit\ntrap '' TERM\n{leave}\nwhile :; do sleep 7003; done"
        ),
    );
    is_undone(
        &fleet,
        "v2",
        &["post_install hook", "not done after 2 s, killed"],
    );
    no_sleeps(&fleet);
    no_units(&fleet);
}

#[test]
fn a_flood_of_output_holds_nothing_up() {
    let Some(fleet) = start("hook-flood", HOOKS) else {
        return;
    };
    // 70,000 lines: more than the journal takes of a unit in half a minute, and far more than a pipe holds. Each costs journald
    // processor time that all tests share.
    let flood = "head -c 4000000 /dev/zero | base64";
    hook(&fleet, flood);
    fleet.deploy("v1").well();
    hook(
        &fleet,
        &format!("[ $1 = post_extract ] && exit\nsetsid sleep 7001 &\n{flood}\nexit 4"),
    );
    is_undone(&fleet, "v2", &["of build v2: exit 4"]);
    let log = fleet.report("h1")["error"]["log"].to_string();
    assert!(log.len() < 6000, "{log}");
    no_sleeps(&fleet);
}

#[test]
fn a_hook_goes_on_when_deployd_is_killed_and_its_outcome_counts() {
    let Some(fleet) = start("hook-killed", HOOKS) else {
        return;
    };
    hook(&fleet, "exit 0");
    fleet.deploy("v1").well();

    // It ends while nobody waits for it, or when the new deployd does; well or not.
    for (build, back_first, code) in [
        ("v2", true, 0),
        ("v3", false, 0),
        ("v4", true, 3),
        ("v5", false, 3),
    ] {
        fleet.on("h1", "rm -f /srv/seen/*").well();
        hook(
            &fleet,
            &format!(
                "[ $1.$DEPLOYD_BUILD = post_install.{build} ] || exit 0\necho $$ >>/srv/seen/starts\nuntil [ -e /srv/seen/go ]; do sleep 0.1; done\necho 'it is over'; exit {code}"
            ),
        );
        fleet.begin(build);
        starts(&fleet, 1);
        fleet.ask(&["kill9", "h1"]).well();
        if back_first {
            eventually("the new deployd waits for the hook", SOON, || {
                let said = fleet.on("h1", ADOPTED).stdout;
                if said.trim() == "1" {
                    Ok(())
                } else {
                    Err(said)
                }
            });
        }
        fleet.on("h1", "touch /srv/seen/go").well();
        if code == 0 {
            fleet.serves("h1", build);
        } else {
            eventually("the host has gone back", SOON, || {
                let report = fleet.report("h1");
                let told = report["error"].to_string();
                let failed = report["phase"] == "failed" && report["target"] == build;
                if failed && told.contains("exit 3") && told.contains("it is over") {
                    Ok(())
                } else {
                    Err(report.to_string())
                }
            });
            assert_eq!(fleet.report("h1")["current"], "v3");
        }
        starts(&fleet, 1);
        no_units(&fleet);
    }
}

#[test]
fn a_hook_that_is_not_wanted_any_more_is_ended() {
    let Some(fleet) = start("hook-dropped", HOOKS) else {
        return;
    };
    hook(&fleet, "exit 0");
    fleet.deploy("v1").well();
    hook(
        &fleet,
        "[ $DEPLOYD_BUILD = v2 ] || exit 0\nsetsid sleep 7001 &\necho $$ >>/srv/seen/starts\nsleep 7002",
    );

    fleet.begin("v2");
    starts(&fleet, 1);
    // deployd ends: the hook does too, and is begun anew.
    fleet.on("h1", "systemctl stop deployd").well();
    no_sleeps(&fleet);
    no_units(&fleet);
    fleet.on("h1", "systemctl start deployd").well();
    starts(&fleet, 2);
    // Something else is wanted while nobody looks.
    fleet.ask(&["kill9", "h1"]).well();
    fleet.ctl("deploy hello v3 --detach --force").well();
    fleet.serves("h1", "v3");
    starts(&fleet, 2);
    no_sleeps(&fleet);
    // And while somebody does.
    fleet.ctl("deploy hello v2 --detach --force").well();
    starts(&fleet, 3);
    fleet.ctl("deploy hello v4 --detach --force").well();
    fleet.serves("h1", "v4");
    no_sleeps(&fleet);
    no_units(&fleet);
}

#[test]
fn what_a_restart_command_starts_outlives_deployd() {
    let Some(fleet) = Fleet::boot_all("hook-restart", 1) else {
        return;
    };
    let line = format!(
        "mkdir -m 777 /srv/seen; cat >/srv/restart <<'END'\n{RESTART}\nEND\nchmod 755 /srv/restart\n\
         systemctl disable --quiet hello@8001 hello@8002; {BY_COMMAND}\n\
         systemctl enable --quiet --now deployd"
    );
    fleet.on("h1", &line).well();
    fleet.builds(&["v1", "v2", "v3"]);
    fleet.deploy("v1").well();
    fleet.deploy("v2").well();
    let pids = "cat /srv/seen/800*";
    let before = fleet.on("h1", pids).well().stdout;
    let line = format!("for pid in $({pids}); do cat /proc/$pid/cgroup; done");
    let cgroups = fleet.on("h1", &line).well().stdout;
    let units = cgroups.matches("/deployd-restart-hello.").count();
    assert_eq!(units, 2, "{cgroups}");

    fleet.on("h1", "systemctl restart deployd").well();
    fleet.ask(&["kill9", "h1"]).well();
    eventually("deployd is back", SOON, || {
        let state = fleet.property("h1", "deployd", "SubState");
        if state == "running" {
            Ok(())
        } else {
            Err(state)
        }
    });
    fleet.serves("h1", "v2");
    for port in PORTS {
        let answer = fleet.get("hub", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("v2 {port} h1")));
    }
    assert_eq!(fleet.on("h1", pids).well().stdout, before);
    // Those of v1 are gone with their processes.
    let line = "systemctl list-units --all --no-legend --plain 'deployd-restart-*' | wc -l";
    assert_eq!(fleet.on("h1", line).well().stdout.trim(), "2");

    fleet.on("h1", "touch /srv/seen/fail").well();
    fleet.begin("v3");
    eventually("it is told why", SOON, || {
        let report = fleet.report("h1");
        let error = report["error"].to_string();
        if error.contains("`/srv/restart 8001`: exit 5") && error.contains("no such port") {
            Ok(())
        } else {
            Err(report.to_string())
        }
    });
}

#[track_caller]
fn start(test: &str, config: &str) -> Option<Fleet> {
    let fleet = Fleet::boot_all(test, 1)?;
    let line = format!(
        "mkdir -m 777 /srv/seen && cat >>/etc/deployd/deployd.toml <<'END'\n{config}\nEND\nsystemctl enable --quiet --now deployd"
    );
    fleet.on("h1", &line).well();
    fleet.builds(&["v1", "v2", "v3", "v4", "v5", "v6"]);
    Some(fleet)
}

/// Writes the program that all hooks are.
#[track_caller]
fn hook(fleet: &Fleet, body: &str) {
    let line = format!("cat >/srv/hook <<'END'\n#!/bin/sh\n{body}\nEND\nchmod 755 /srv/hook");
    fleet.on("h1", &line).well();
}

#[track_caller]
fn is_undone(fleet: &Fleet, build: &str, wanted: &[&str]) {
    fleet.deploy(build).is(FAILED);
    let report = fleet.report("h1");
    assert_eq!(report["phase"], "failed", "{report:#}");
    assert_eq!(report["current"], "v1", "{report:#}");
    let error = report["error"].to_string();
    for part in wanted {
        assert!(error.contains(part), "{part}: {report:#}");
    }
    for port in PORTS {
        assert_eq!(
            fleet.get("hub", ("h1", port), "/"),
            Ok(format!("v1 {port} h1"))
        );
    }
}

/// Waits until the hook was begun so often.
#[track_caller]
fn starts(fleet: &Fleet, wanted: usize) {
    eventually("the hook is begun", SOON, || {
        let said = fleet.on("h1", "cat /srv/seen/starts").stdout;
        if said.lines().count() == wanted {
            Ok(())
        } else {
            Err(said)
        }
    });
}

/// Checks that no `sleep` of a hook runs.
#[track_caller]
fn no_sleeps(fleet: &Fleet) {
    assert_eq!(fleet.on("h1", "pgrep -a -x sleep").stdout, "");
}

/// Checks that no hook is left.
#[track_caller]
fn no_units(fleet: &Fleet) {
    let units = "systemctl list-units --all --no-legend --plain 'deployd-hook-*'";
    eventually("no hook is left", SOON, || {
        let said = fleet.on("h1", units).well().stdout;
        if said.is_empty() { Ok(()) } else { Err(said) }
    });
}
