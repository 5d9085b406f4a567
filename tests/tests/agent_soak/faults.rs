//! What is done to a deployment, each by a function that begins it, lifts what it did, and returns
//! the build that all hosts have to serve then.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::proxy::{Cut, Mode};
use tests::zookeeper::expire::expire;

use crate::dice::Dice;
use crate::rig::{Case, Host, Rig};

mod builds;
mod downloads;
mod hooks;
mod host;
mod network;
mod operator;
mod process;
mod target;
mod znodes;

/// A fault: its name, and what it does.
type Fault = (&'static str, fn(&mut Case<'_>) -> String);

/// A deployment that nothing is done to.
pub(crate) const NO_FAULT: &str = "none";

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    (NO_FAULT, none),
    ("agent killed", process::killed),
    ("agent killed twice", process::killed_twice),
    ("agent terminated", process::terminated),
    ("agent frozen past its session", process::frozen),
    ("all agents frozen for a moment", process::all_frozen),
    ("leftovers of a dead run", process::leftovers),
    ("torn journal", process::torn_journal),
    ("connections cut", network::cut),
    ("black hole", network::black_hole),
    ("answers held back", network::held_back),
    ("slow network", network::slow),
    ("connections refused", network::refused),
    ("zookeeper restarted", network::restarted),
    ("zookeeper frozen", network::frozen),
    ("session expired", network::expired),
    ("sick build", builds::sick),
    ("build that dies", builds::dies),
    ("corrupt archive", builds::corrupt),
    ("hostile archive", builds::hostile),
    ("download: 404", downloads::not_found),
    ("download: 500", downloads::server_error),
    ("download: truncated", downloads::truncated),
    ("download: other bytes", downloads::wrong),
    ("download: reset", downloads::reset),
    ("download: stalled", downloads::stalled),
    ("download: znode lies", downloads::znode_lies),
    ("target changed midway", target::changed),
    ("target changed back", target::changed_back),
    ("target written again and again", target::written_again),
    ("rollback", target::rollback),
    ("restart", target::restart),
    ("percent", target::percent),
    ("canary promoted", operator::canary),
    ("canary withdrawn", operator::canary_withdrawn),
    ("role changed midway", operator::role),
    ("held before", operator::held),
    ("held midway", operator::held_midway),
    ("garbage target", znodes::target),
    ("oversized target", znodes::oversized),
    ("garbage policy", znodes::policy),
    ("garbage hold", znodes::hold),
    ("garbage role", znodes::role),
    ("garbage lease", znodes::lease),
    ("garbage report", znodes::report),
    ("znodes of hosts deleted", znodes::hosts),
    ("post_extract fails once", hooks::post_extract),
    ("post_install fails once", hooks::post_install),
    ("hook floods", hooks::floods),
    ("hook hangs", hooks::hangs),
    ("restart fails once", hooks::restart),
    ("restart is slow", hooks::slow_restart),
    ("current deleted by hand", host::current),
    ("release in service deleted by hand", host::serving),
    ("staged release deleted by hand", host::staged),
    ("kept release deleted by hand", host::kept),
    ("instance killed", host::instance),
    ("no room by configuration", host::no_room),
    ("disk full", host::full),
];

fn none(case: &mut Case<'_>) -> String {
    case.deploy()
}

/// A fault that strikes another host at the same time, whatever else happens.
pub(crate) struct Companion<'a> {
    rig: &'a Rig,
    host: usize,
    kind: usize,
    dice: Dice,
}

const COMPANIONS: [&str; 6] = [
    "beside: agent killed",
    "beside: agent terminated",
    "beside: agent frozen for a moment",
    "beside: connections cut",
    "beside: black hole",
    "beside: session expired",
];

/// What is said where there is none.
pub(crate) const ALONE: &str = "beside: nothing";
/// How many of three deployments have none.
const ALONE_OF_THREE: usize = 2;

impl<'a> Companion<'a> {
    /// Chooses one, or none.
    pub(crate) fn choose(case: &Case<'a>) -> Option<Companion<'a>> {
        let mut dice = case.dice.borrow_mut();
        if dice.below(3) < ALONE_OF_THREE {
            return None;
        }
        Some(Companion {
            rig: case.rig,
            // Of the two that may be stopped, the one that nothing else is done to.
            host: 3 - case.victim,
            kind: dice.below(COMPANIONS.len()),
            dice: dice.split(),
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        COMPANIONS[self.kind]
    }

    /// Strikes, and is over.
    pub(crate) fn perform(mut self) {
        let Host { agent, proxy, .. } = &self.rig.hosts[self.host];
        let mut moment = || std::thread::sleep(self.dice.time(Duration::from_millis(800)));
        moment();
        match self.kind {
            0 => {
                agent.kill();
                moment();
                agent.run();
            }
            1 => {
                assert_eq!(agent.stop(), Some(0));
                moment();
                agent.run();
            }
            2 => {
                agent.signal(Signal::SIGSTOP);
                moment();
                agent.signal(Signal::SIGCONT);
            }
            3 => proxy.cut(Cut::Rst),
            4 => {
                proxy.set_mode(Mode::BlackHole);
                moment();
                proxy.set_mode(Mode::Forward);
            }
            _ => {
                if let Some(session) = proxy.session() {
                    expire(&self.rig.server, session);
                }
            }
        }
    }
}
