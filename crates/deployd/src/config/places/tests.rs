use std::path::PathBuf;

use deploy_core::name::ServiceName;

use super::{Harm, Places, clashes};

/// What is said of a state directory and two services, `web` and `api`: `!` before what destroys.
fn told(state_dir: &str, web: &str, api: &str) -> Vec<String> {
    let [web_name, api_name] = ["web", "api"].map(|name| ServiceName::parse(name).unwrap());
    let places = Places {
        state_dir: PathBuf::from(state_dir),
        services: vec![(&web_name, web.into()), (&api_name, api.into())],
    };
    let clashes = clashes(&places).into_iter();
    let told = clashes.map(|clash| {
        let mark = match clash.harm {
            Harm::Destroys => "!",
            Harm::Doubtful => "",
        };
        format!("{mark}{}", clash.message)
    });
    told.collect()
}

#[track_caller]
fn check(dirs: [&str; 3], expected: &[&str]) {
    let told = told(dirs[0], dirs[1], dirs[2]);
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn directories_beside_each_other_are_good() {
    check(["/var/lib/deployd", "/srv/web", "/srv/api"], &[]);
    check(["/srv/state", "/srv/web", "/srv/web2"], &[]);
    // Beside the releases it is in nobody's way.
    check(["/srv/web/state", "/srv/web", "/srv/api"], &[]);
    check(["/srv/web/releases2", "/srv/web", "/srv/api"], &[]);
}

#[test]
fn what_is_deleted_with_releases_has_nothing_of_others_in_it() {
    let state = "!`state_dir` is in /srv/web/releases, where the releases of web";
    check(["/srv/web/releases", "/srv/web", "/srv/api"], &[state]);
    check(["/srv/web/releases/x", "/srv/web", "/srv/api"], &[state]);
    check(
        ["/srv/web/current/x", "/srv/web", "/srv/api"],
        &["!`state_dir` is in /srv/web/current, where"],
    );
    check(
        ["/var/lib/deployd", "/srv/web", "/srv/web/releases/api"],
        &["!`dir` of api is in /srv/web/releases, where the releases of web"],
    );
    check(
        ["/var/lib/deployd", "/srv/api/current", "/srv/api"],
        &["!`dir` of web is in /srv/api/current, where"],
    );
    check(
        ["/var/lib/deployd", "/srv/web", "/srv/web"],
        &["!dir /srv/web is there twice: web has it"],
    );
}

#[test]
fn what_may_be_intended_destroys_nothing() {
    check(
        ["/var/lib/deployd", "/srv/web", "/srv/web/api"],
        &["`dir` of api is in /srv/web, which is that of web"],
    );
    check(
        ["/srv", "/srv/web", "/opt/api"],
        &["`dir` of web is in `state_dir`, /srv, which"],
    );
    check(
        ["/srv/web", "/srv/web", "/opt/api"],
        &["`dir` of web is in `state_dir`, /srv/web, which"],
    );
}
