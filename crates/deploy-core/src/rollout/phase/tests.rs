//! One word for a service.

use std::collections::BTreeMap;

use super::{Held, service_phase};
use crate::name::{BuildName, ServiceName};
use crate::percent::Percent;
use crate::rollout::{State, Targets};
use crate::wire::target::Target;

#[test]
fn a_service_without_hosts_is_what_its_targets_say() {
    let target = |percent: f64| {
        let build = BuildName::parse("r1").unwrap();
        Some(Target {
            percent: Percent::new(percent).unwrap(),
            ..Target::of_build(build)
        })
    };
    let check = |enabled: Option<Target>, canary: Option<Target>, held, expected: &str| {
        let state = State {
            service: ServiceName::parse("web").unwrap(),
            targets: Targets { enabled, canary },
            hosts: BTreeMap::new(),
        };
        assert_eq!(service_phase(&state, held).as_str(), expected);
    };
    check(None, None, Held::No, "idle");
    check(None, None, Held::Yes, "held");
    check(target(100.0), None, Held::No, "done");
    check(target(0.0), None, Held::No, "staged");
    check(target(0.5), None, Held::No, "partial");
    check(target(100.0), target(100.0), Held::No, "canary");
    check(None, target(100.0), Held::No, "canary");
}
