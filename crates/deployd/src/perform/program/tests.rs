use std::path::Path;

use deploy_core::name::ServiceName;

use super::Programs;

fn place(service: &str, state_dir: &str) -> String {
    Programs::new(&ServiceName::parse(service).unwrap(), Path::new(state_dir)).place
}

#[test]
fn units_are_told_apart() {
    let own = place("web", "/var/lib/deployd");
    assert_eq!(own, "web");
    for other in [
        place("web-2", "/var/lib/deployd"),
        place("web", "/tmp/other"),
        place("web", "/tmp/another"),
    ] {
        // What ends ours is a pattern.
        assert!(
            !format!("{other}.post_install").starts_with(&format!("{own}.")),
            "{other}"
        );
    }
    assert_ne!(place("web", "/tmp/other"), place("web", "/tmp/another"));
    assert_eq!(place("web", "/tmp/other"), place("web", "/tmp/other"));
}
