use super::{Percent, place};
use crate::name::{BuildName, HostName, ServiceName};

/// The same vectors as in docs/znodes.md, computed by another implementation (Python's hashlib).
const VECTORS: &[(&str, &str, &str, u64)] = &[
    ("web", "r2431", "web-01", 0x0126_478a_d6b4_58fe), // 0.4490 %
    ("web", "r2431", "web-02", 0x61a6_966f_e213_bd24), // 38.1448 %
    ("web", "r2432", "web-01", 0x7db2_f19a_bda6_b5c6), // 49.1012 %
    ("api", "r2431", "web-01", 0x2eca_13aa_105d_4c5e), // 18.2771 %
    (
        "web",
        "r2431",
        "web-09.ams.example.com",
        0x2205_f361_314d_ce17,
    ), // 13.2903 %
];

fn names(service: &str, build: &str, host: &str) -> (ServiceName, BuildName, HostName) {
    (
        ServiceName::parse(service).unwrap(),
        BuildName::parse(build).unwrap(),
        HostName::parse(host).unwrap(),
    )
}

#[test]
fn vectors() {
    for (service, build, host, expected) in VECTORS {
        let (service, build, host) = names(service, build, host);
        assert_eq!(
            place(&service, &build, &host),
            *expected,
            "{service} {build} {host}"
        );
    }
}

#[test]
fn a_host_is_in_where_its_place_is_below() {
    let (service, build, host) = names("web", "r2431", "web-02"); // at 38.1448 %
    for (percent, expected) in [
        (0.0, false),
        (38.0, false),
        (38.144, false),
        (38.145, true),
        (50.0, true),
        (100.0, true),
    ] {
        let included = Percent::new(percent)
            .unwrap()
            .includes(&service, &build, &host);
        assert_eq!(included, expected, "{percent}");
    }
}

#[test]
fn all_is_all_none_is_none_and_more_only_adds() {
    let mut included_before = vec![false; 500];
    for tenths in 0..=1000 {
        let percent = Percent::new(f64::from(tenths) / 10.0).unwrap();
        for (index, before) in included_before.iter_mut().enumerate() {
            let (service, build, host) = names("web", "r1", &format!("web-{index}"));
            let now = percent.includes(&service, &build, &host);
            assert!(now || !*before, "web-{index} left at {percent} %");
            *before = now;
        }
        let count = included_before.iter().filter(|included| **included).count();
        match tenths {
            0 => assert_eq!(count, 0),
            500 => assert!((200..300).contains(&count), "{count} of 500 at 50 %"),
            1000 => assert_eq!(count, 500),
            _ => {}
        }
    }
}

#[test]
fn what_is_not_a_share_is_refused() {
    for bad in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        assert!(Percent::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn is_written_as_people_write_it() {
    let text = |value| serde_json::to_string(&Percent::new(value).unwrap()).unwrap();
    assert_eq!(
        (
            text(100.0).as_str(),
            text(12.5).as_str(),
            text(0.0).as_str()
        ),
        ("100", "12.5", "0")
    );
}
