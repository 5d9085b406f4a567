//! Who waits in the queue and who outside of it, and when each looks again: told from what ZooKeeper counts, without a list of names.
//!
//! Where everybody joined, the queue would be as long as the fleet, and each of its hosts would read it. So it has room for
//! those who may be out of service, and for a few. All others wait outside, and look at times whether there is room: together a
//! few times for each lease that is given back, however many they are. Between its look and its joining others join too: who finds that it
//! was one of too many leaves again, the last ones first.
//!
//! Must never let a host go out of service that the list would not: a number of leases says that all of them are granted, or nothing.

use std::time::Duration;

/// Up to so many leases everybody who wants one is in the queue. A list of these is short.
pub const ROOM: u64 = 64;

/// How often a host outside looks in the time in which a whole fleet gets its turn.
const LOOKS: u64 = 6;

/// How long a host waits before it looks for the first time after it found no room.
pub const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How soon a host looks again at most.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// How late it looks again at least, where nothing moves: the one that it waits for may have failed, and keep its lease for ever.
pub const LOOK_TIME: Duration = Duration::from_secs(20);
/// The same where leases are given back, and so slowly that this is a small part of the time that all take.
const LOOK_MAX_MOVING: Duration = Duration::from_secs(300);
/// How much longer than the last time a host waits at most: the first that are given back say little of the pace.
const LONGER_MAX: f64 = 2.0;

/// How long a host that has joined a long queue waits for it to get short, at least.
const SETTLE_TIME: Duration = Duration::from_secs(2);
/// The same, in requests: one takes some milliseconds, and seconds where ten thousand hosts ask at once.
const SETTLE_TRIPS: u32 = 8;

/// What ZooKeeper counts of the queue. Names that are no leases count, too. The default is that of a queue in which nobody ever was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Leases in it.
    pub leases: u64,
    /// How many were ever made: the number of each is how many there were before it. Wraps at 2^31.
    pub made: u32,
    /// How many of those are gone. Wraps at 2^31.
    pub given_back: u32,
}

impl Tally {
    /// Reads what ZooKeeper says of a znode: how many children it has, and how often that changed. Each change made a
    /// child or deleted one.
    pub fn of(children_version: i32, children: i32) -> Tally {
        Tally {
            leases: children.unsigned_abs().into(),
            made: children_version.wrapping_add(children).cast_unsigned() / 2,
            given_back: children_version.wrapping_sub(children).cast_unsigned() / 2,
        }
    }

    /// Returns how many were given back between another look and this one.
    pub fn given_back_since(self, then: Tally) -> u32 {
        self.given_back.wrapping_sub(then.given_back) & (u32::MAX / 2)
    }
}

/// Returns how many leases there may be before others wait outside, when `limit` hosts may be out of service.
///
/// Where the leases of the dead lapse, somebody must be in the queue behind them to see it.
pub fn room(limit: u64, reclaim_s: Option<u64>) -> u64 {
    match reclaim_s {
        None => limit.max(ROOM),
        Some(_) => limit.saturating_add(ROOM),
    }
}

/// What a host is that has just joined the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// Its lease is granted, since all are.
    Granted,
    /// It waits in the queue, or the list says that it is granted.
    Queued,
    /// It was one of too many, and leaves again.
    Crowded,
}

/// Says what the host is that has the lease with this number, by what was counted before it was made, and after.
pub fn joined(number: u64, (then, now): (Tally, Tally), (limit, room): (u64, u64)) -> Joined {
    // Else somebody has deleted the queue in between, and another has its name.
    let is_same = now.made >= then.made && now.given_back >= then.given_back;
    if is_same && is_granted_at_once(number, then, limit) || all_are_granted(number, now, limit) {
        return Joined::Granted;
    }
    // Each that is gone may have been before it: so it has at least so many before it.
    let before = number.saturating_sub(now.given_back.into());
    if before < room {
        Joined::Queued
    } else {
        Joined::Crowded
    }
}

/// Tells whether the lease with this number is granted since those that there were before it was made, and those that were made in
/// between, are fewer than may be: no others can be before it.
///
/// So the queue may be longer than that, as where all come at once, and who came first needs no list.
fn is_granted_at_once(number: u64, then: Tally, limit: u64) -> bool {
    // A lower number is that of a lease that was there before.
    let between = number.checked_sub(then.made.into());
    between.is_some_and(|between| then.leases.saturating_add(between) < limit)
}

/// Tells whether the lease with this number is granted because all are, whoever is first. Only what was counted after it was made
/// says that: then all before it are counted, but for those that are given back.
pub fn all_are_granted(number: u64, tally: Tally, limit: u64) -> bool {
    u64::from(tally.made) > number && tally.leases <= limit
}

/// Tells whether a host that has joined, and has waited so long, waits on instead of reading a list of so many names: most of them
/// leave again, since all came at once. `trip` is how long it took to count them.
///
/// Who is granted a lease loses that time. But each name is 25 bytes that ZooKeeper sends to each who reads, and where it takes
/// long to count, it takes long for others to leave, too, and has no time for lists.
pub fn waits_for_shorter(tally: Tally, waited: Duration, trip: Duration) -> bool {
    let most = trip.saturating_mul(SETTLE_TRIPS).max(SETTLE_TIME);
    tally.leases > 2 * ROOM && waited < most
}

/// Returns how many leases are given back between two looks of a host outside, in a fleet of `hosts`.
///
/// Not of those that are left: who leaves the queue again counts as given back, and the more often all look, the more leave.
pub fn ahead_outside(hosts: u64) -> u64 {
    (hosts / LOOKS).max(1)
}

/// Says how long a host waits before it looks again: as long as it takes, at the pace that it saw since it looked last, that `ahead` more
/// are given back.
pub fn look_again(waited: Duration, given_back: u32, ahead: u64) -> Duration {
    let (times, most) = match given_back {
        // Nothing moves, and nobody knows when it will.
        0 => (LONGER_MAX, LOOK_TIME),
        given_back => (ahead as f64 / f64::from(given_back), LOOK_MAX_MOVING),
    };
    let seconds = waited.as_secs_f64() * times.min(LONGER_MAX);
    Duration::from_secs_f64(seconds.clamp(LOOK_MIN.as_secs_f64(), most.as_secs_f64()))
}
