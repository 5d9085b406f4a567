//! What counts when more than one thing was said.

use std::path::Path;

use super::{Place, Said, choose, named};
use crate::config;
use crate::connect::Address;

const CONFIG: &str =
    "[context.prod]\nzk = \"zk1\"\nauth_file = \"prod.auth\"\n[context.test]\nzk = \"zk9\"\n";

fn of_file(name: Option<&str>, text: &str) -> String {
    let config = config::parse(text, Path::new("/c")).unwrap();
    let name = name.map(str::to_owned);
    let said = Said::default();
    match named(name.as_ref(), &config, Path::new("/c/config.toml"), &said) {
        Ok(place) => place.described(),
        Err(problem) => format!("{}: {}", problem.exit.code(), problem.what),
    }
}

fn address(text: &str) -> Option<Address> {
    Some(Address::parse(text).unwrap())
}

#[test]
fn a_context_is_found_by_name_by_default_or_because_it_is_the_only_one() {
    let prod = "prod = zk1:2181/deploy   (/c/config.toml:2)";
    assert_eq!(of_file(Some("prod"), CONFIG), prod);
    assert_eq!(
        of_file(None, &format!("default = \"prod\"\n{CONFIG}")),
        prod.replace(":2)", ":3)")
    );
    assert_eq!(of_file(None, "[context.prod]\nzk = \"zk1\""), prod);
    assert_eq!(of_file(None, CONFIG), "2: which ZooKeeper is not said");
    assert_eq!(of_file(None, ""), "2: no ZooKeeper is named");
    assert_eq!(
        of_file(Some("prot"), CONFIG),
        "6: no context `prot` in /c/config.toml"
    );
}

#[test]
fn a_flag_counts_more_than_the_environment() {
    let flag = Said {
        zk_flag: address("zk1"),
        zk_variable: address("zk2"),
        context_variable: Some("prod".to_owned()),
        ..Said::default()
    };
    let chosen = choose(flag).unwrap();
    assert_eq!(chosen.described(), "zk1:2181/deploy   (--zk)");
    assert_eq!(chosen.shown(), "zk1:2181/deploy");
    let variable = Said {
        zk_variable: address("zk2"),
        ..Said::default()
    };
    assert_eq!(choose(variable).unwrap().said_in, "DEPLOYCTL_ZK");
}

#[test]
fn two_that_say_where_are_refused() {
    let refused = |said: Said| choose(said).map(|place: Place| place.shown()).unwrap_err();
    let flags = Said {
        zk_flag: address("zk1"),
        context_flag: Some("prod".to_owned()),
        ..Said::default()
    };
    assert_eq!(refused(flags).what, "--zk and --context both say where");
    let variables = Said {
        zk_variable: address("zk1"),
        context_variable: Some("prod".to_owned()),
        ..Said::default()
    };
    assert_eq!(
        refused(variables).what,
        "DEPLOYCTL_ZK and DEPLOYCTL_CONTEXT both say where"
    );
}
