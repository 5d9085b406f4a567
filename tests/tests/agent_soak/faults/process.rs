//! What is done to deployd itself.

use std::fs;

use nix::sys::signal::Signal;
use tests::agent::LIMIT;
use tests::eventually::eventually;

use crate::rig::Case;

pub(crate) fn killed(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    case.victim().agent.kill();
    case.moment();
    case.victim().agent.run();
    build
}

pub(crate) fn killed_twice(case: &mut Case<'_>) -> String {
    let build = killed(case);
    case.moment();
    case.victim().agent.kill();
    case.victim().agent.run();
    build
}

pub(crate) fn terminated(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    assert_eq!(case.victim().agent.stop(), Some(0));
    case.moment();
    case.victim().agent.run();
    build
}

pub(crate) fn frozen(case: &mut Case<'_>) -> String {
    // Not the third one: what happens beside would let it go on, or start another one.
    let host = [0, case.victim][case.dice.borrow_mut().below(2)];
    let service = case.service(host);
    let build = case.deploy();
    case.moment();
    service.agent.signal(Signal::SIGSTOP);
    let alive = service.znodes.alive(&service.host);
    eventually("its session is gone", LIMIT, || {
        match service.agent.znodes.get(&alive) {
            None => Ok(()),
            Some(znode) => Err(znode.stat.ephemeral_owner),
        }
    });
    case.moment();
    service.agent.signal(Signal::SIGCONT);
    build
}

pub(crate) fn all_frozen(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    let all = &case.rig.hosts;
    all.iter()
        .for_each(|host| host.agent.signal(Signal::SIGSTOP));
    case.moment();
    all.iter()
        .for_each(|host| host.agent.signal(Signal::SIGCONT));
    build
}

pub(crate) fn leftovers(case: &mut Case<'_>) -> String {
    let (agent, dir) = (&case.victim().agent, case.service(case.victim).dir);
    agent.kill();
    for name in ["releases/.r1.partial", "releases/.r2.trash"] {
        let partial = dir.join(name);
        fs::create_dir_all(partial.join("a/b")).expect("a directory can be made");
        fs::write(partial.join("a/b/file"), "half").expect("a file can be written");
    }
    for place in [dir.clone(), agent.path("state/journal")] {
        let fresh = place.join(".deployd-tmp-1-1");
        fs::write(fresh, "half").expect("a file can be written");
    }
    agent.run();
    case.deploy()
}

/// It is not guessed what was in it: the host says so, and starts afresh when it is moved away.
pub(crate) fn torn_journal(case: &mut Case<'_>) -> String {
    let agent = &case.victim().agent;
    assert_eq!(agent.stop(), Some(0));
    let journal = agent.path(&format!("state/journal/{}.json", case.progress.service));
    let whole = fs::read(&journal).expect("it is there");
    let left = case.dice.borrow_mut().below(whole.len());
    fs::write(&journal, &whole[..left]).expect("a file can be written");
    agent.run();
    case.until("blocked", case.victim, |report| {
        let error = report.error.as_ref();
        error.is_some_and(|error| error.step == "journal")
    });
    assert_eq!(agent.stop(), Some(0));
    fs::remove_file(&journal).expect("it is there");
    agent.run();
    case.deploy()
}
