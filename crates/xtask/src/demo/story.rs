//! A day's work: each act types commands, then checks what they claim.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::builds::{self, Build, V1, V2, V3, V4};
use super::claims::{self, Stored};
use super::farm::Farm;

/// Exit codes of deployctl.
const DONE: i32 = 0;
const FAILED: i32 = 3;
const REFUSED: i32 = 5;

const GIVE_BACK_LIMIT: Duration = Duration::from_secs(2);

/// What the story was, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commands: u32,
    pub(crate) claims: u32,
}

/// Tells the whole story; an error is a claim that did not hold.
pub(crate) fn tell(farm: &Farm) -> Result<Tally> {
    let mut teller = Teller {
        farm,
        tally: Tally::default(),
    };
    teller.first_build()?;
    teller.canary_and_promotion()?;
    teller.bad_build()?;
    teller.staged_build()?;
    teller.looking_back()?;
    Ok(teller.tally)
}

struct Teller<'a> {
    farm: &'a Farm,
    tally: Tally,
}

impl Teller<'_> {
    fn first_build(&mut self) -> Result<()> {
        self.farm.screen.act("1 of 5  the first build");
        self.types(&["init"], DONE)?;
        self.registers(V1)?;
        self.types(&["deploy", "hello", "v1"], DONE)?;
        self.holds(claims::served(self.farm, [V1, V1, V1]))?;
        self.stored(Stored {
            fleet: V1,
            canary: None,
            leases: &[],
        })
    }

    fn canary_and_promotion(&mut self) -> Result<()> {
        self.farm.screen.act("2 of 5  a canary, then the fleet");
        self.types(&["host", "role", "host-1", "hello", "canary"], DONE)?;
        self.registers(V2)?;
        self.types(&["canary", "hello", "v2", "-m", "new greeting"], DONE)?;
        self.holds(claims::served(self.farm, [V2, V1, V1]))?;
        self.stored(Stored {
            fleet: V1,
            canary: Some(V2),
            leases: &[],
        })?;
        self.types(&["status"], DONE)?;
        self.types(&["promote", "hello", "--yes"], DONE)?;
        self.holds(claims::served(self.farm, [V2, V2, V2]))?;
        self.stored(Stored {
            fleet: V2,
            canary: None,
            leases: &[],
        })
    }

    fn bad_build(&mut self) -> Result<()> {
        self.farm
            .screen
            .act("3 of 5  a bad build is taken back by the host itself");
        self.registers(V3)?;
        self.types(&["canary", "hello", "v3", "-m", "good day"], FAILED)?;
        self.holds(claims::served(self.farm, [V2, V2, V2]))?;
        self.holds(claims::phases(self.farm, ["failed", "serving", "serving"]))?;
        let canary = &self.farm.hosts[0];
        self.holds(claims::failed_because(self.farm, canary, "status 500"))?;
        self.holds(claims::logged(canary, "PAYMENTS_URL"))?;
        // The host that failed keeps its lease: a bad build stops by itself.
        self.stored(Stored {
            fleet: V2,
            canary: Some(V3),
            leases: &["host-1"],
        })?;
        self.types(&["rollback", "hello", "-m", "healthz 500"], DONE)?;
        self.holds(claims::served(self.farm, [V2, V2, V2]))?;
        self.holds(claims::phases(self.farm, ["serving"; 3]))?;
        self.stored(Stored {
            fleet: V2,
            canary: None,
            leases: &[],
        })?;
        self.types(&["deploy", "hello", "v3"], REFUSED)
    }

    fn staged_build(&mut self) -> Result<()> {
        self.farm
            .screen
            .act("4 of 5  a build made ready beforehand");
        self.registers(V4)?;
        self.types(&["stage", "hello", "v4"], DONE)?;
        self.holds(claims::prepared(self.farm, V4))?;
        self.holds(claims::served(self.farm, [V2, V2, V2]))?;
        self.types(&["deploy", "hello", "v4"], DONE)?;
        self.holds(claims::served(self.farm, [V4, V4, V4]))?;
        self.stored(Stored {
            fleet: V4,
            canary: None,
            leases: &[],
        })
    }

    fn looking_back(&mut self) -> Result<()> {
        self.farm.screen.act("5 of 5  what ZooKeeper knows");
        self.types(&["inspect", "hello/enabled"], DONE)?;
        self.types(&["history", "hello"], DONE)
    }

    fn registers(&mut self, build: Build) -> Result<()> {
        let archive = builds::archive_name(build);
        let url = format!("{}{archive}", self.farm.builds.url);
        let line = [
            "build", "add", "hello", build.name, "--url", &url, "--file", &archive,
        ];
        self.types(&line, DONE)
    }

    /// Types a command, and checks its exit code.
    fn types(&mut self, args: &[&str], expected: i32) -> Result<()> {
        let code = self.farm.terminal.type_in(args)?;
        ensure!(
            code == expected,
            "deployctl exited with {code}, not {expected}"
        );
        self.tally.commands += 1;
        match expected {
            FAILED => self.holds(Ok("exit 3, as expected: the rollout failed".to_owned())),
            REFUSED => self.holds(Ok("exit 5, as expected: it was refused".to_owned())),
            _ => Ok(()),
        }
    }

    /// Checks the znodes. A host gives its lease back a moment after it serves.
    fn stored(&mut self, expected: Stored) -> Result<()> {
        let deadline = Instant::now() + GIVE_BACK_LIMIT;
        let mut claim = claims::stored(self.farm, expected);
        while claim.is_err() && Instant::now() < deadline {
            thread::sleep(GIVE_BACK_LIMIT / 20);
            claim = claims::stored(self.farm, expected);
        }
        self.holds(claim)
    }

    fn holds(&mut self, claim: Result<String>) -> Result<()> {
        self.farm.screen.holds(&claim?);
        self.tally.claims += 1;
        Ok(())
    }
}
