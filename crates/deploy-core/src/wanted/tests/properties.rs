//! Whatever is in the znodes, each has one meaning, and none of them is a panic.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::artifact::{Artifact, Digest};
use crate::lease;
use crate::name::{BuildName, HostName, ServiceName};
use crate::percent::Percent;
use crate::signature;
use crate::wanted::{Gate, Reader, View, WantedTarget, Znodes, builds_needed, wanted};
use crate::wire::tests::properties::check;
use crate::znode::{Root, sequence};

const CASES: u32 = 500;

fn data() -> impl Strategy<Value = Vec<u8>> {
    let good = [
        "r1",
        r#"{"v":1,"build":"r1"}"#,
        r#"{"v":1,"build":"r2","percent":50,"previous":{"build":"r1"}}"#,
        r#"{"v":1,"role":"canary"}"#,
        r#"{"v":1,"role":"fleet"}"#,
        r#"{"v":1,"rollout":1}"#,
        r#"{"v":2}"#,
        r#"{"v":1,"until":"2001-01-01T00:00:00Z"}"#,
        "",
        " \n",
    ];
    let good = select(good.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![3 => good, 1 => vec(any::<u8>(), 0..40)]
}

fn view() -> impl Strategy<Value = View> {
    prop_oneof![
        1 => Just(View::Unknown),
        1 => Just(View::Absent),
        4 => (data(), any::<i64>()).prop_map(|(data, mzxid)| View::Present { data, mzxid }),
    ]
}

fn znodes() -> impl Strategy<Value = Znodes> {
    let views = (view(), view(), view(), view(), view(), view());
    views.prop_map(|(role, enabled, canary, hold, retry, build)| Znodes {
        role,
        enabled,
        canary,
        hold,
        retry,
        builds: vec![(BuildName::parse("r1").expect("a name"), build)],
        refused: Vec::new(),
    })
}

fn service() -> ServiceName {
    ServiceName::parse("web").expect("a name")
}

#[test]
fn any_znodes_have_a_meaning() {
    let (service, host) = (service(), HostName::parse("h1").expect("a name"));
    let reader = Reader {
        service: &service,
        host: &host,
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    check(4 * CASES, &znodes(), |znodes| {
        let wanted = wanted(&znodes, &reader);
        assert!(builds_needed(&znodes).len() <= 2);
        // What was not read is never taken for absent.
        if znodes.role == View::Unknown {
            assert_eq!(wanted.target, WantedTarget::Unknown);
        }
        match &znodes.hold {
            View::Absent => assert_eq!(wanted.gate, Gate::Open),
            View::Unknown => assert_eq!(wanted.gate, Gate::Cut),
            // Nobody is past an end before 1970.
            View::Present { .. } => assert!(matches!(wanted.gate, Gate::Held(_))),
        }
        if let WantedTarget::Unreadable(problem) = wanted.target {
            assert!(!problem.message.chars().any(char::is_control));
            assert!(["role", "enabled", "enabled/canary"].contains(&problem.object.as_str()));
        }
    });
}

#[test]
fn a_larger_percent_only_adds_hosts() {
    let names = ("[a-z0-9]{1,20}", "[a-zA-Z0-9]{1,20}", "[a-zA-Z0-9.]{1,20}");
    let shares = (0.0..=100.0, 0.0..=100.0);
    check(
        CASES,
        &(names, shares),
        |((_, build, host), (one, other))| {
            let Ok(host) = HostName::parse(&host) else {
                return;
            };
            let build = BuildName::parse(&build).expect("a name");
            let is_in = |percent: f64| {
                let percent = Percent::new(percent).expect("a share");
                percent.includes(&service(), &build, &host)
            };
            assert!(is_in(100.0) && !is_in(0.0));
            assert!(!is_in(f64::min(one, other)) || is_in(f64::max(one, other)));
        },
    );
    check(CASES, &any::<f64>(), |number| {
        let accepted = Percent::new(number).is_ok();
        assert_eq!(accepted, (0.0..=100.0).contains(&number));
    });
}

#[test]
fn any_children_of_leases_are_survived() {
    let like = "[a-z/é-]{0,4}-?[0-9]{8,12}";
    let name = || prop_oneof![2 => like, 1 => any::<String>()];
    check(
        CASES,
        &(vec(name(), 0..12), name(), 0..4_u64),
        |(children, own, limit)| {
            let host = HostName::parse("a").expect("a name");
            for name in lease::of_host(&host, &children) {
                assert!(name.starts_with("a-") && sequence(name).is_some());
            }
            match lease::before(&own, &children) {
                Some(before) => {
                    assert!(before.len() < children.len());
                    lease::follow(&before, limit);
                }
                None => assert!(sequence(&own).is_none() || !children.contains(&own)),
            }
        },
    );
}

#[test]
fn roots_and_paths() {
    let text = prop_oneof!["(/[a-z.]{0,4}){0,4}", any::<String>()];
    check(4 * CASES, &text, |text| match Root::parse(&text) {
        Ok(root) => {
            assert_eq!(root.path(), text);
            let path = root.service(&service()).enabled();
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(parts[0], "");
            assert!(
                parts[1..]
                    .iter()
                    .all(|part| !["", ".", ".."].contains(part)),
                "{path}"
            );
            assert!(!path.chars().any(char::is_control));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    });
}

#[test]
fn a_signature_is_for_one_build_of_one_service() {
    let names = ("[a-z0-9-]{1,9}", "[A-Za-z0-9._-]{1,9}", any::<[u8; 32]>());
    check(CASES, &names, |(service, build, digest)| {
        let (Ok(service), Ok(build)) = (ServiceName::parse(&service), BuildName::parse(&build))
        else {
            return;
        };
        let artifact = Artifact {
            url: "https://b/ service:other".to_owned(),
            sha256: Digest::from_bytes(&digest),
            size: 1,
        };
        let comment = signature::comment(&service, &build, &artifact);
        let parts: Vec<_> = comment
            .split(' ')
            .map(|part| part.split_once(':'))
            .collect();
        let digest = artifact.sha256.as_str();
        let expected = [
            ("service", service.as_str()),
            ("build", build.as_str()),
            ("sha256", digest),
        ];
        assert_eq!(parts, expected.map(Some));
    });
}
