//! `kill -9` of deployd while something else runs: a hook, a restart command. What it started does
//! not outlive the next run, and what it left behind is removed. Kills at each of its own calls are
//! in `agent_calls.rs`.

use std::fs;
use std::path::Path;

use tests::agent::{Agent, LIMIT, ServiceSettings, Settings};
use tests::eventually::eventually;
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};

fn quick(settings: &mut Settings) {
    settings.services[0] = ServiceSettings {
        hooks: &["post_extract", "post_install", "post_restart"],
        ..ServiceSettings::new("web")
    };
    settings.builds = "keep = 1".to_owned();
}

#[test]
fn killed_inside_hooks_and_restarts() {
    let Some(agent) = Agent::start_with(quick) else {
        return;
    };
    let web = agent.web();
    web.deploy("r0", 1);
    web.serves("r0");
    let witness = Witness::start(&web, Promise::OneServes);
    let hooks = [
        "hook web post_extract",
        "hook web post_install",
        "hook web post_restart",
    ];
    for (rollout, hook) in (2..).zip(hooks) {
        let asked = agent.supervisor.asked(hook).len();
        agent.supervisor.on(hook, Answer::HoldBefore);
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        agent.supervisor.wait_asked(hook, asked);
        let first = clients(&agent);
        agent.kill();
        assert_eq!(clients(&agent), first, "it has a life of its own");
        agent.run();
        agent.supervisor.wait_asked(hook, asked + 1);
        let second = clients(&agent);
        assert_eq!((first.len(), second.len()), (1, 1), "{hook}: one at a time");
        assert_ne!(first, second, "{hook}: that of the dead run is gone");
        agent.supervisor.let_go();
        web.serves(&build);
    }
    let restarts = ["restart web-1", "restart web-2"];
    let answers = [Answer::HoldBefore, Answer::HoldAfter];
    let all = restarts
        .iter()
        .flat_map(|restart| answers.iter().map(move |a| (*restart, a)));
    for (rollout, (restart, answer)) in (10..).zip(all) {
        let asked = agent.supervisor.asked(restart).len();
        agent.supervisor.on(restart, answer.clone());
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        agent.supervisor.wait_asked(restart, asked);
        agent.kill();
        agent.supervisor.let_go();
        eventually("the command ends by itself", LIMIT, || {
            match clients(&agent) {
                left if left.is_empty() => Ok(()),
                left => Err(left),
            }
        });
        agent.run();
        web.serves(&build);
    }
    witness.finish();
}

#[test]
fn files_half_written_by_a_killed_run_do_not_pile_up() {
    let Some(agent) = Agent::start_with(quick) else {
        return;
    };
    let web = agent.web();
    web.deploy("r0", 1);
    web.serves("r0");
    agent.kill();
    let files = agent.files();
    let names = [
        files.state.join("journal/.deployd-tmp-4711-3"),
        files.state.join("status/.deployd-tmp-4711-4"),
        files.state.join("downloads/.deployd-tmp-00c0ffee.part"),
        files.dir.join(".deployd-tmp-4711-5"),
        files.dir.join("releases/.deployd-tmp-4711-6"),
    ];
    names
        .iter()
        .for_each(|path| fs::write(path, "half").expect("a file can be written"));
    let other = files.state.join("journal/.swp");
    fs::write(&other, "somebody else's").expect("a file can be written");
    agent.run();
    web.deploy("r1", 2);
    web.serves("r1");
    assert_eq!(files.leftovers(), [other.display().to_string()]);
}

/// The processes of hooks and restart commands.
fn clients(agent: &Agent) -> Vec<String> {
    let socket = agent.path("supervisor").display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| has(&entry.path(), &socket))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

fn has(process: &Path, word: &str) -> bool {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(word)
}
