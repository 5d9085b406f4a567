//! A day's work: each act types commands, then checks what they claim.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::builds::{self, Build, V1, V2, V3, V4};
use super::claims::{self, Stored};
use super::farm::Farm;
use super::ground::Draining;
use super::traffic::{self, Counted, Traffic};

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
    pub(crate) counted: Counted,
}

/// Tells the whole story, or what of it shows what draining is for; an error is a claim that did not
/// hold.
pub(crate) fn tell(farm: &Farm) -> Result<Tally> {
    let is_whole = !matches!(farm.draining, Draining::NotWanted);
    let mut teller = Teller {
        farm,
        traffic: None,
        act: 0,
        acts: if is_whole { 5 } else { 3 },
        tally: Tally::default(),
    };
    teller.first_build()?;
    teller.canary_and_promotion()?;
    teller.bad_build()?;
    if is_whole {
        teller.staged_build()?;
        teller.looking_back()?;
    }
    teller.counted_in_all()?;
    Ok(teller.tally)
}

struct Teller<'a> {
    farm: &'a Farm,
    traffic: Option<Traffic>,
    act: u32,
    acts: u32,
    tally: Tally,
}

impl Teller<'_> {
    fn first_build(&mut self) -> Result<()> {
        self.begins("the first build");
        self.types(&["init"], DONE)?;
        self.registers(V1)?;
        self.types(&["policy", "hello", "restart_concurrency=2"], DONE)?;
        self.types(&["deploy", "hello", "v1"], DONE)?;
        self.holds(claims::served(self.farm, [V1, V1, V1]))?;
        self.stored(Stored {
            fleet: V1,
            canary: None,
            leases: &[],
        })?;
        self.traffic = Some(Traffic::start(self.farm.instances()));
        self.farm.screen.started("traffic", &traffic::describe());
        Ok(())
    }

    fn canary_and_promotion(&mut self) -> Result<()> {
        self.begins("a canary, then the fleet");
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
        })?;
        self.counted_so_far()
    }

    fn bad_build(&mut self) -> Result<()> {
        self.begins("a bad build is taken back by the host itself");
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
        self.types(&["deploy", "hello", "v3"], REFUSED)?;
        self.counted_so_far()
    }

    fn staged_build(&mut self) -> Result<()> {
        self.begins("a build made ready beforehand");
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
        })?;
        if let Draining::Iptables = self.farm.draining {
            self.holds(claims::undrained(self.farm))?;
        }
        self.counted_so_far()
    }

    fn looking_back(&mut self) -> Result<()> {
        self.begins("what ZooKeeper knows");
        self.types(&["inspect", "hello/enabled"], DONE)?;
        self.types(&["history", "hello"], DONE)
    }

    fn begins(&mut self, title: &str) {
        self.act += 1;
        let (act, acts) = (self.act, self.acts);
        self.farm.screen.act(&format!("{act} of {acts}  {title}"));
    }

    /// Says what became of the traffic so far; where instances are drained nothing may fail.
    fn counted_so_far(&mut self) -> Result<()> {
        let Some(traffic) = &self.traffic else {
            return Ok(());
        };
        if self.act == self.acts {
            // What became of all of it comes next.
            return Ok(());
        }
        let counted = traffic.counted();
        match self.farm.draining {
            Draining::Iptables => self.holds(claims::none_failed(&counted)),
            Draining::NotWanted | Draining::Forbidden(_) => {
                self.farm.screen.started("traffic", &counted.describe());
                Ok(())
            }
        }
    }

    /// Ends the traffic and says what became of it: without draining something must have failed, else
    /// the count means nothing.
    fn counted_in_all(&mut self) -> Result<()> {
        let Some(traffic) = self.traffic.take() else {
            return Ok(());
        };
        let counted = traffic.end();
        self.tally.counted = counted.clone();
        match self.farm.draining {
            Draining::Iptables => self.holds(claims::none_failed(&counted)),
            Draining::NotWanted => self.holds(claims::some_failed(&counted)),
            Draining::Forbidden(_) => Ok(()),
        }
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
