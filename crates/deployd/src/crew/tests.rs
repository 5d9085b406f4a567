use super::{changes, fixed_keys};
use crate::config::{Config, parse};

const BEFORE: &str = r#"
[builds]
sources = ["https://builds.internal/"]
[[service]]
name = "web"
dir = "/srv/web"
[[service]]
name = "api"
dir = "/srv/api"
"#;

fn config(text: &str) -> Config {
    parse(text).expect("it is valid")
}

#[track_caller]
fn check(change: (&str, &str), expected: &str) {
    let text = BEFORE.replacen(change.0, change.1, 1);
    let (old, new) = (config(BEFORE), config(&text));
    assert_eq!(fixed_keys(&old, &new), Vec::<&str>::new());
    assert_eq!(changes(&old, &new).to_string(), expected);
}

#[test]
fn services_that_are_deployed_in_another_way_are_changed() {
    check(("", ""), "no service changes");
    check(("", "[log]\nlevel = \"debug\"\n"), "no service changes");
    check(("/srv/web", "/srv/web2"), "changed web");
    check(
        ("\"/srv/web\"", "\"/srv/web\"\nuser = \"web\""),
        "changed web",
    );
    check(("[builds]", "[builds]\nkeep = 2"), "changed web, api");
    check(("\"web\"", "\"shop\""), "added shop; removed web");
}

#[test]
fn what_all_services_stand_on_is_fixed() {
    for (text, key) in [
        ("[agent]\nhost = \"web-02\"\n", "agent.host"),
        (
            "[agent]\nstate_dir = \"/var/lib/other\"\n",
            "agent.state_dir",
        ),
        ("[zookeeper]\nroot = \"/other\"\n", "[zookeeper]"),
        ("[metrics]\nlisten = \"127.0.0.1:9467\"\n", "metrics.listen"),
        ("[log]\nformat = \"json\"\n", "log.format"),
    ] {
        let new = config(&format!("{text}{BEFORE}"));
        assert_eq!(fixed_keys(&config(BEFORE), &new), [key]);
    }
}
