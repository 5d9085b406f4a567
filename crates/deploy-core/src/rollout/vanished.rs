//! Hosts that were seen on their way, and are not live now.
//!
//! A rollout is over when every live host is there. But who was at work a moment ago may only have lost its session, as
//! all do when ZooKeeper is away for longer than their sessions last: it has not stopped working, and comes back in a
//! moment. Who looks again and again gives it that time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Standing;
use super::judge::{Judgement, Verdict};
use crate::name::HostName;

/// How long a host may be away: a new session, a reconnect and a report take seconds, and half a minute where 5,000
/// come back at once.
pub const AWAY_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Who is away, and since when.
#[derive(Debug, Clone, Default)]
pub struct Vanished {
    seen: BTreeMap<HostName, Standing>,
    /// Somebody has been live since it was done the last time.
    somebody: bool,
    since: BTreeMap<HostName, Timestamp>,
}

impl Vanished {
    /// Takes note of the hosts of a judgement; where it says that all is over, and somebody is awaited, it goes on.
    ///
    /// As long as nobody is live, and somebody was, that one is awaited: nobody else can tell how it went. So it is where
    /// the only host that it was about got another role.
    pub fn revise(&mut self, judgement: &mut Judgement, now: Timestamp) {
        self.note(&judgement.hosts, now);
        let is_live = |standing: &Standing| *standing != Standing::Offline;
        let nobody = !judgement.hosts.values().any(is_live);
        self.somebody |= !nobody;
        let awaited = match nobody {
            true => self.somebody,
            false => self.back_by(now).is_some(),
        };
        if awaited && matches!(judgement.verdict, Verdict::Done | Verdict::NobodyLive) {
            judgement.verdict = Verdict::Going;
        }
        self.somebody &= judgement.verdict != Verdict::Done;
    }

    /// When the next one that is awaited has been away for too long; `None` where nobody is.
    pub fn back_by(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self
            .since
            .values()
            .filter_map(|at| at.checked_add(AWAY_MAX).ok());
        ends.filter(|end| *end > now).min()
    }

    fn note(&mut self, hosts: &BTreeMap<HostName, Standing>, now: Timestamp) {
        self.since.retain(|host, at| {
            // The clock may have been set back.
            *at = (*at).min(now);
            hosts.get(host) == Some(&Standing::Offline)
        });
        for (host, standing) in hosts {
            let before = self.seen.insert(host.clone(), *standing);
            let at_work = matches!(
                before,
                Some(Standing::Working | Standing::Unseen | Standing::Waiting | Standing::Blocked)
            );
            if at_work && *standing == Standing::Offline {
                self.since.insert(host.clone(), now);
            }
        }
        self.seen.retain(|host, _| hosts.contains_key(host));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Vanished;
    use crate::name::HostName;
    use crate::rollout::Standing;
    use crate::rollout::judge::{Judgement, Verdict};

    fn judged(verdict: Verdict, hosts: &[(&str, Standing)]) -> Judgement {
        let hosts = hosts.iter();
        let hosts = hosts.map(|(name, standing)| (HostName::parse(name).unwrap(), *standing));
        Judgement {
            verdict,
            hosts: hosts.collect(),
        }
    }

    /// When, in seconds, what is judged, and of whom.
    type Look<'a> = (i64, Verdict, &'a [(&'a str, Standing)]);

    /// Returns what becomes of the verdicts of some looks.
    fn revised(looks: &[Look<'_>]) -> Vec<Verdict> {
        let mut vanished = Vanished::default();
        let looks = looks.iter().map(|(at, verdict, hosts)| {
            let mut judgement = judged(*verdict, hosts);
            vanished.revise(&mut judgement, Timestamp::from_second(*at).unwrap());
            judgement.verdict
        });
        looks.collect()
    }

    #[test]
    fn who_was_at_work_has_a_minute_to_come_back() {
        use Standing::{Offline, Working};
        use Verdict::{Done, Going};
        let left: &[_] = &[("a", Standing::Done), ("b", Offline)];
        let looks = [
            (0, Going, &[("a", Working), ("b", Working)][..]),
            (1, Done, left),
            (60, Done, left),
            (61, Done, left),
        ];
        assert_eq!(revised(&looks), [Going, Going, Going, Done]);
    }

    #[test]
    fn who_comes_back_is_waited_for_as_before() {
        use Standing::{Offline, Working};
        use Verdict::{Done, Going, NobodyLive};
        let looks = [
            (0, Going, &[("a", Working)][..]),
            (1, NobodyLive, &[("a", Offline)]),
            (900, NobodyLive, &[("a", Offline)]),
            (901, Going, &[("a", Working)]),
            (902, Done, &[("a", Standing::Done)]),
            // It was done.
            (903, NobodyLive, &[("a", Offline)]),
        ];
        let wanted = [Going, Going, Going, Going, Done, NobodyLive];
        assert_eq!(revised(&looks), wanted);
    }

    #[test]
    fn who_was_never_live_or_is_gone_for_good_is_not_awaited() {
        use Standing::{Offline, Working};
        use Verdict::{Done, Going, NobodyLive};
        let looks = [
            (
                0,
                Going,
                &[("a", Working), ("b", Offline), ("c", Standing::Unseen)][..],
            ),
            (1, Done, &[("a", Standing::Done), ("b", Offline)]),
        ];
        assert_eq!(revised(&looks), [Going, Done]);
        assert_eq!(revised(&[(0, NobodyLive, &[])]), [NobodyLive]);
    }

    #[test]
    fn who_got_another_role_leaves_nobody_who_could_tell_how_it_went() {
        use Verdict::{Done, Going, NobodyLive};
        let looks = [
            (0, Going, &[("a", Standing::Working)][..]),
            (1, NobodyLive, &[]),
            (900, NobodyLive, &[]),
            (901, Done, &[("b", Standing::Done)]),
        ];
        assert_eq!(revised(&looks), [Going, Going, Going, Done]);
    }

    #[test]
    fn a_failure_is_told_at_once() {
        use Standing::{Offline, Working};
        use Verdict::Going;
        let looks = [
            (0, Going, &[("a", Working), ("b", Working)][..]),
            (
                1,
                Verdict::Failed,
                &[("a", Standing::Failed), ("b", Offline)],
            ),
        ];
        assert_eq!(revised(&looks), [Going, Verdict::Failed]);
    }

    #[test]
    fn a_clock_that_is_set_back_prolongs_nothing() {
        use Standing::{Offline, Working};
        use Verdict::{Done, Going};
        let left: &[_] = &[("a", Standing::Done), ("b", Offline)];
        let looks = [
            (
                9_000,
                Going,
                &[("a", Working), ("b", Standing::Waiting)][..],
            ),
            (9_001, Done, left),
            (10, Done, left),
            (70, Done, left),
        ];
        assert_eq!(revised(&looks), [Going, Going, Going, Done]);
    }
}
