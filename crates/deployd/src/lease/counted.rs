//! What the number of leases says, and when it is asked for: a small request, however many there are.

use std::time::Duration;

use deploy_core::lease::crowd::Tally;
use deploy_core::lease::{self, crowd};
use deploy_core::observed::Lease;
use deploy_core::znode::sequence;
use deploy_zk::error::Error;
use tokio::time::Instant;

use super::{Followed, LeaseError, LeaseQueue};

/// How long a host that has joined a long queue waits for it to get short before it counts again, the first time.
const SETTLE_LOOK: Duration = Duration::from_millis(100);

/// After so many looks a host outside reads the names: some may be no leases, and take up the room. Where nothing moves that is
/// once in ten minutes.
const LOOKS_WITHOUT_NAMES: u32 = 32;

/// What a host outside of a full queue knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    /// How many leases there are where there is no room.
    room: u64,
    /// How many hosts are alive.
    hosts: u64,
    looks: u32,
}

/// When a host that waits looks by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    looked: Instant,
    /// What was counted then.
    tally: Option<Tally>,
    wait: Duration,
    next: Instant,
}

impl Pace {
    /// Looks for the first time in a while.
    pub(super) fn begin() -> Pace {
        Pace::after(crowd::FIRST_LOOK, None)
    }

    fn after(wait: Duration, tally: Option<Tally>) -> Pace {
        let looked = Instant::now();
        // Each another time: those who came at the same time don't look at the same time.
        let next = looked + wait.mul_f64(0.5 + fastrand::f64());
        Pace {
            looked,
            tally,
            wait,
            next,
        }
    }

    /// When to look.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// What was counted is not near: looks again when a part of that is given back which must be before our turn.
    fn again(self, tally: Tally, ahead: u64) -> Pace {
        let given_back = self.tally.map_or(0, |then| tally.given_back_since(then));
        let wait = crowd::look_again(self.looked.elapsed(), given_back, ahead);
        Pace::after(wait, Some(tally))
    }

    /// Somebody else is followed from now on: that is no reason to look sooner, or later.
    pub(super) fn go_on(&mut self) {
        if self.is_due() {
            *self = Pace::after(self.wait, self.tally);
        }
    }
}

impl LeaseQueue {
    /// What ZooKeeper counts of the queue; `None` where it does not exist yet.
    pub(super) async fn tally(&self) -> Result<Option<Tally>, Error> {
        let queue = self.zk.get(&self.tree.leases()).await?;
        let stat = queue.map(|queue| queue.stat);
        Ok(stat.map(|stat| Tally::of(stat.children_version, stat.num_children)))
    }

    /// How many hosts may be out of service, at least, and how many leases there are where there is no room for more. A policy that can't
    /// be read grants nobody anything, but one may wait.
    pub(super) async fn room(&mut self) -> Result<(u64, u64), Error> {
        let (limit, reclaim_s) = match self.policy() {
            Ok(policy) => (self.least(&policy).await?, policy.lease_reclaim_s),
            Err(_) => (0, None),
        };
        let room = crowd::room(limit, reclaim_s).saturating_add(self.strangers);
        Ok((limit, room))
    }

    /// What we know outside, if we are there.
    pub(super) fn outside(&self) -> Option<(Outside, Duration)> {
        match self.followed {
            Followed::Outside(outside) => Some((outside, self.pace.wait)),
            _ => None,
        }
    }

    /// Waits outside of a queue that is full. Everybody who wants a lease finds room at last: they are given back. Who came in, and was
    /// one of too many, goes on as before.
    pub(super) async fn stay_outside(
        &mut self,
        (tally, room): (Tally, u64),
        before: Option<(Outside, Duration)>,
    ) -> Result<(), LeaseError> {
        let (outside, wait) = match before {
            Some((outside, wait)) => (Outside { room, ..outside }, wait),
            None => {
                tracing::info!(
                    leases = tally.leases,
                    room,
                    "waits for room in the restart queue"
                );
                let hosts = self.count(&self.tree.hosts()).await?;
                let looks = 0;
                (Outside { room, hosts, looks }, crowd::FIRST_LOOK)
            }
        };
        self.pace = Pace::after(wait, Some(tally));
        self.followed = Followed::Outside(outside);
        self.state = Lease::Queued;
        Ok(())
    }

    /// Looks whether there is room, if it is time to, and joins the queue if so.
    pub(super) async fn look_from_outside(&mut self) -> Result<(), LeaseError> {
        let Followed::Outside(mut outside) = self.followed else {
            self.state = Lease::None;
            return Ok(());
        };
        let is_due = self.pace.is_due();
        let is_new = self.is_judged_anew()?;
        if !is_due && !is_new {
            return Ok(());
        }
        outside.looks += 1;
        let reads = outside.looks.is_multiple_of(LOOKS_WITHOUT_NAMES);
        if reads {
            self.strangers = lease::strangers(&self.children().await?);
        }
        if reads || is_new {
            (_, outside.room) = self.room().await?;
        }
        // Gone with all that were in it, where it is gone: then the first number is 0 again.
        let tally = self.tally().await?.unwrap_or_default();
        self.pace = self.pace.again(tally, crowd::ahead_outside(outside.hosts));
        self.followed = Followed::Outside(outside);
        if tally.leases >= outside.room {
            return Ok(());
        }
        self.join(tally).await
    }

    /// Tells, of a place in the queue of which nothing else is known, whether its length says all that there is to know: that everybody in
    /// it is granted a lease, or that it is too long to be read now.
    pub(super) async fn is_told_by_length(&mut self, own: &str) -> Result<bool, LeaseError> {
        let since = match self.followed {
            Followed::Nothing => Instant::now(),
            Followed::Length(since) => since,
            Followed::Outside(_) | Followed::Queue(_) | Followed::One(..) => return Ok(false),
        };
        let policy = self.policy()?;
        // Before the names are read, if they are.
        let asked = Instant::now();
        self.counted = self.tally().await?;
        let trip = asked.elapsed();
        let (Some(tally), Some(number)) = (self.counted, sequence(own)) else {
            return Ok(false);
        };
        let limit = self.least(&policy).await?;
        if crowd::all_are_granted(number, tally, limit) {
            // What is there still was there when it was counted.
            let path = format!("{}/{own}", self.tree.leases());
            let is_there = self.zk.get(&path).await?.is_some();
            if is_there {
                self.hold();
            }
            return Ok(is_there);
        }
        if !crowd::waits_for_shorter(tally, since.elapsed(), trip) {
            return Ok(false);
        }
        self.pace = match self.followed {
            Followed::Length(_) => self.pace.again(tally, tally.leases.saturating_sub(limit)),
            _ => Pace::after(SETTLE_LOOK, Some(tally)),
        };
        self.followed = Followed::Length(since);
        self.state = Lease::Queued;
        Ok(true)
    }

    /// Tells whether our turn may be near that had so many before it, without reading the queue; false until it is time to look.
    pub(super) async fn is_near(&mut self, before: usize) -> Result<bool, LeaseError> {
        if !self.pace.is_due() {
            return Ok(false);
        }
        let policy = self.policy()?;
        let now = self.tally().await?;
        // If the queue is read now, it is not read again for a while.
        let read = Pace::after(crowd::LOOK_TIME, now);
        // Whose lease lapses says no number.
        let (Some(then), Some(now), None) = (self.counted, now, policy.lease_reclaim_s) else {
            self.pace = read;
            return Ok(true);
        };
        let limit = self.most(&policy).await?;
        let ahead = lease::ahead(before, now.given_back_since(then), limit);
        self.pace = match ahead {
            0 => read,
            // Half of the way: the pace may change.
            ahead => self.pace.again(now, ahead.div_ceil(2)),
        };
        Ok(ahead == 0)
    }
}
