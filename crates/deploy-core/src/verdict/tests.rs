use super::{Failure, Verdict, verdict};
use crate::name::BuildName;
use crate::observed::Observed;
use crate::step::Step;

/// Somebody may break each lease that a host asks for: no other build would fare better.
#[test]
fn a_build_is_not_blamed_for_a_lease() {
    let goal = BuildName::parse("2").unwrap();
    let verdict = |step| verdict(&step, Failure::OfTheBuild, &goal, &Observed::default());
    for step in [Step::AcquireLease, Step::ReleaseLease] {
        assert_eq!(verdict(step.clone()), Verdict::TryAgain, "{step}");
    }
    let blamed = Verdict::Reject(goal.clone());
    assert_eq!(verdict(Step::Activate(goal.clone())), blamed);
}
