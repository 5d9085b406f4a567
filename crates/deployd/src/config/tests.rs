use super::{Check, DrainMethod, RestartMethod, parse};

pub(crate) mod properties;

const EXAMPLE: &str = include_str!("../../../../deployd.toml.example");
const LEAST: &str = r#"
[builds]
sources = ["https://builds.internal/"]
[[service]]
name = "web"
dir = "/srv/web"
"#;

/// The problems as `line:column message`.
fn problems(text: &str) -> String {
    let problems = parse(text).expect_err("the configuration should be refused");
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message))
        .collect();
    lines.join("\n")
}

#[track_caller]
fn refused(change: (&str, &str), expected: &str) {
    let text = EXAMPLE.replacen(change.0, change.1, 1);
    assert_ne!(text, EXAMPLE, "`{}` is not in the example", change.0);
    let problems = problems(&text);
    assert!(
        problems.contains(expected),
        "`{problems}` does not say `{expected}`"
    );
}

#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let example = parse(EXAMPLE).unwrap();
    let least = parse(LEAST).unwrap();
    assert_eq!(example.services[0].instances.len(), 2);
    assert_eq!(example.services[0].restart.method, RestartMethod::Systemd);
    // What is the same in both: everything but what the example says it shows as an example.
    let shown = |config: &super::Config| {
        let service = &config.services[0];
        let builds = &config.builds;
        format!(
            "{:?} {:?} {:?} {:?} {:?} {} {} {} {} {:?} {:?} {:?} {:?} {:?}",
            config.host,
            config.state_dir,
            config.zookeeper,
            config.log,
            config.metrics_listen,
            builds.keep,
            builds.min_free_bytes,
            builds.max_unpacked_bytes,
            builds.max_entries,
            service.hooks.timeout,
            service.restart,
            service.drain,
            service.probe.timeout,
            (
                service.probe.interval,
                service.probe.successes,
                service.probe.burn_in
            ),
        )
    };
    assert_eq!(shown(&example), shown(&least));
    assert_eq!(least.services[0].probe.check, None);
    assert!(least.services[0].hooks.post_extract.is_empty());
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = r#"
[agent]
sesion_timeout = 3
[zookeeper]
session_timeout_s = 1
[builds]
sources = ["ftp://x/"]
[[service]]
name = "Web"
dir = "srv"
[[service]]
name = "api"
[servce]
"#;
    let problems = problems(text);
    let lines: Vec<_> = problems.lines().collect();
    assert_eq!(lines.len(), 7, "{problems}");
    for (line, start, part) in [
        (0, "3:1 ", "unknown key `sesion_timeout` in `agent`"),
        (
            1,
            "5:21 ",
            "`session_timeout_s` is 1; expected a number of seconds from 4 to 300",
        ),
        (2, "7:12 ", "ftp"),
        (3, "9:8 ", "`Web` is not a service name"),
        (4, "10:7 ", "`dir` is \"srv\"; expected an absolute path"),
        (5, "11:1 ", "`dir` is missing"),
        (6, "13:2 ", "unknown key `servce`; did you mean `service`?"),
    ] {
        assert!(lines[line].starts_with(start), "{line}: {}", lines[line]);
        assert!(lines[line].contains(part), "{line}: {}", lines[line]);
    }
}

#[test]
fn what_must_be_there() {
    assert!(problems("").contains("`builds.sources` is missing"));
    assert!(problems("").contains("at least one `[[service]]` is needed"));
    refused(("name      = \"web\"", ""), "`name` is missing");
    refused(
        (
            "sources           = [\"https://builds.internal/\"]",
            "sources = []",
        ),
        "is missing",
    );
}

#[test]
fn syntax_errors_have_a_place() {
    let problems = problems("[agent]\nhost = \n");
    assert!(problems.starts_with("2:"), "{problems}");
}

#[test]
fn the_same_thing_twice() {
    let twice = format!("{LEAST}\n[[service]]\nname = \"web\"\ndir = \"/srv/other\"\n");
    assert!(problems(&twice).contains("service web is there twice"));
    let twice = format!("{LEAST}\n[[service]]\nname = \"api\"\ndir = \"/srv/web\"\n");
    assert!(problems(&twice).contains("dir /srv/web is there twice"));
    refused(("port = 8002", "port = 8001"), "port 8001 is there twice");
    refused(
        ("web@8002.service", "web@8001.service"),
        "unit web@8001.service is there twice",
    );
    refused(
        ("web@8002.service", "web@8001"),
        "unit web@8001 is there twice: systemd takes web@8001.service for the same",
    );
}

#[test]
fn a_key_that_is_there_twice_hides_nothing_else() {
    let twice = LEAST.replacen(
        "name = \"web\"",
        "name = \"web\"\nname = \"api\"\nbatsh = 1",
        1,
    );
    let problems = problems(&twice);
    for problem in ["`name` is there twice", "batsh"] {
        assert!(problems.contains(problem), "{problems}");
    }
}

#[test]
fn ports_that_are_none_are_not_the_same_one() {
    let none = EXAMPLE.replacen("port = 8001", "port = 0", 1);
    let none = none.replacen("port = 8002", "port = 99999", 1);
    let problems = problems(&none);
    assert!(!problems.contains("twice"), "{problems}");
    assert_eq!(problems.matches("from 1 to 65535").count(), 2, "{problems}");
}

#[test]
fn values_out_of_bounds() {
    refused(
        ("session_timeout_s = 15", "session_timeout_s = \"15s\""),
        "is \"15s\"; expected",
    );
    refused(
        ("port = 8001", "port = 70000"),
        "expected a whole number from 1 to 65535",
    );
    refused(
        ("batch      = 1", "batch = 0"),
        "expected a whole number from 1 to",
    );
    refused(
        ("method     = \"systemd\"", "method = \"docker\""),
        "expected one of systemd, reload",
    );
    refused(
        ("unit = \"web@8001.service\"", "unit = \"--now\""),
        "is not a unit name",
    );
    refused(
        ("post_install = []", "post_install = \"x\""),
        "expected a list of texts",
    );
    refused(
        ("post_install = []", "post_install = [\"\"]"),
        "names no program",
    );
    refused(
        ("root              = \"/deploy\"", "root = \"deploy\""),
        "is not a root znode",
    );
    refused(
        (
            "hosts             = [\"127.0.0.1:2181\"]",
            "hosts = [\"zk1\"]",
        ),
        "is not host:port",
    );
    refused(
        ("level  = \"info\"", "level = \"loud\""),
        "expected error, warn, info",
    );
    refused(
        ("listen = \"\"", "listen = \"here\""),
        "is not address:port",
    );
    refused(
        ("keep              = 5", "keep = -1"),
        "expected a whole number from 0",
    );
    refused(
        ("user      = \"web\"", "user = \"a b\""),
        "is not a user name",
    );
    refused(
        ("dir       = \"/srv/web\"", "dir = \"/srv/../web\""),
        "without `..`",
    );
}

#[test]
fn a_server_is_what_a_session_takes_for_one() {
    for server in [
        "zk1,zk2:2181",
        "zk1:2181,zk2:2181",
        "zk1:2181/deploy",
        "zk 1:2181",
        ":2181",
        "zk1:0",
    ] {
        let text = format!("{LEAST}[zookeeper]\nhosts = [\"zk0:2181\", \"{server}\"]\n");
        let expected = format!("8:22 `{server}` is not host:port of one server");
        assert_eq!(problems(&text), expected);
    }
    let text = format!("{LEAST}[zookeeper]\nhosts = [\"zk1:2181\", \"[::1]:2181\"]\n");
    assert_eq!(parse(&text).unwrap().zookeeper.hosts.len(), 2);
}

#[test]
fn contradictions() {
    refused(
        ("method     = \"systemd\"", "method = \"command\""),
        "`command` is empty",
    );
    refused(
        ("method     = \"iptables\"", "method = \"command\""),
        "`command` is empty",
    );
    refused(
        (", port = 8001", ""),
        "drain by iptables needs the `port` of web@8001.service",
    );
    refused(
        ("expect_status = 200", "tcp = \"127.0.0.1:{port}\""),
        "not several",
    );
    refused(
        ("https://builds.internal/", "http://builds.internal/"),
        "allow_http",
    );
}

#[test]
fn probes() {
    let check = |probe: &str| {
        let text = format!("{LEAST}[service.probe]\n{probe}\n");
        parse(&text).unwrap().services[0].probe.check.clone()
    };
    assert_eq!(
        check("tcp = \"127.0.0.1:80\""),
        Some(Check::Tcp("127.0.0.1:80".to_owned()))
    );
    assert_eq!(
        check("command = [\"true\"]"),
        Some(Check::Command(vec!["true".to_owned()]))
    );
    assert_eq!(check(""), None);
}

#[test]
fn a_probe_that_can_never_pass_is_told() {
    let told = |probe: &str| {
        let config = parse(&format!("{LEAST}[service.probe]\n{probe}\n")).unwrap();
        let messages = config.warnings.into_iter().map(|warning| warning.message);
        messages.collect::<Vec<_>>().join("; ")
    };
    let tcp = "tcp = \"127.0.0.1:80\"";
    assert_eq!(
        told(&format!("{tcp}\ninterval_s = 5\ntimeout_s = 3")),
        "no instance can pass: `timeout_s` is 3; expected more than 5.05 for 2 `successes`, 5 s apart"
    );
    assert_ne!(told(&format!("{tcp}\ninterval_s = 30")), "");
    assert_ne!(
        told(&format!("{tcp}\nsuccesses = 30\ntimeout_s = 29.05")),
        ""
    );
    assert_eq!(
        told(&format!("{tcp}\nsuccesses = 30\ntimeout_s = 29.1")),
        ""
    );
    // One answer may come at once, and where nothing is asked, nothing is waited for.
    assert_eq!(
        told(&format!("{tcp}\ninterval_s = 3600\nsuccesses = 1")),
        ""
    );
    assert_eq!(told("interval_s = 3600"), "");
}

#[test]
fn directories_in_each_others_way() {
    refused(
        ("dir       = \"/srv/web\"", "dir = \"/\""),
        "`dir` is \"/\"; expected a directory of the service's own",
    );
    refused(
        (
            "state_dir = \"/var/lib/deployd\"",
            "state_dir = \"/srv/web/releases/\"",
        ),
        "`state_dir` is in /srv/web/releases, where the releases of web are replaced",
    );
    let api = |dir: &str| format!("{LEAST}[[service]]\nname = \"api\"\ndir = \"{dir}\"\n");
    assert!(problems(&api("//srv/web/")).starts_with("9:7 dir /srv/web is there twice"));
    assert!(
        problems(&api("/srv/web/current/api"))
            .starts_with("9:7 `dir` of api is in /srv/web/current")
    );
    let warnings = parse(&api("/srv/web/api")).unwrap().warnings;
    assert_eq!((warnings.len(), warnings[0].line), (1, 9));
    assert!(parse(&api("/srv/web-api")).unwrap().warnings.is_empty());
    let beside = EXAMPLE.replacen("/var/lib/deployd", "/srv/web/state", 1);
    assert!(parse(&beside).unwrap().warnings.is_empty());
}

#[test]
fn a_tcp_probe_has_a_host_and_a_port() {
    for wrong in [":80", "127.0.0.1", "127.0.0.1:0", "a b:80"] {
        let text = format!("{LEAST}[service.probe]\ntcp = \"{wrong}\"\n");
        let expected = format!("8:7 `tcp` is \"{wrong}\"; expected host:port");
        assert_eq!(problems(&text), expected);
    }
}

#[test]
fn what_is_to_be_filled_in_has_an_end() {
    let wrong = [
        (
            "restart",
            "method = \"command\"\ncommand = [\"restart\", \"{unit\"]",
            3,
        ),
        (
            "probe",
            "command = [\"curl\", \"localhost:{port/{unit}\"]",
            2,
        ),
        ("probe", "http = \"http://localhost/{port\"", 2),
    ];
    for (table, keys, line) in wrong {
        let text = format!("{LEAST}[service.{table}]\n{keys}\n");
        let problems = problems(&text);
        assert!(
            problems.starts_with(&format!("{}:", 6 + line)),
            "{problems}"
        );
        assert!(problems.contains("without a closing brace"), "{problems}");
    }
    let good = "command = [\"awk\", \"{ print } {portal: 1}\", \"{unit}{port}\"]";
    assert!(parse(&format!("{LEAST}[service.probe]\n{good}\n")).is_ok());
}

#[test]
fn a_key_that_does_nothing_is_a_warning() {
    let warnings = |more: &str| {
        let config = parse(&format!("{LEAST}{more}\n")).unwrap();
        let lines = config.warnings.iter();
        let lines: Vec<_> = lines
            .map(|warning| format!("{}:{} {}", warning.line, warning.column, warning.message))
            .collect();
        lines.join("\n")
    };
    let no_command = "8:11 `command` does nothing: restart `method` is not command";
    for method in [
        "",
        "method = \"systemd\"",
        "method = \"reload\"",
        "method = \"none\"",
    ] {
        let restart = format!("[service.restart]\ncommand = [\"x\"]\n{method}");
        assert_eq!(warnings(&restart), no_command);
    }
    for method in ["", "method = \"iptables\"", "method = \"none\""] {
        let drain = format!("[service.drain]\ncommand = [\"x\"]\n{method}");
        assert_eq!(warnings(&drain), no_command.replace("restart", "drain"));
    }
    for probe in ["tcp = \"localhost:80\"", "command = [\"true\"]", ""] {
        let expected = "expect_status = 204\nexpect_body = \"ok\"";
        assert_eq!(
            warnings(&format!("[service.probe]\n{expected}\n{probe}")),
            "8:17 `expect_status` does nothing: no `http` is asked\n\
             9:15 `expect_body` does nothing: no `http` is asked"
        );
    }
    assert_eq!(
        warnings("[service.restart]\ncommand = []\n[service.probe]\nexpect_body = \"\""),
        ""
    );
    assert!(parse(EXAMPLE).unwrap().warnings.is_empty());
}

#[test]
fn methods() {
    let text = format!(
        "{LEAST}[service.restart]\nmethod = \"none\"\n[service.drain]\nmethod = \"none\"\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.services[0].restart.method, RestartMethod::None);
    assert_eq!(config.services[0].drain.method, DrainMethod::None);
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deployd.toml");
    std::fs::write(&path, LEAST.replace("sources", "suorces")).unwrap();
    let text = super::load(&path).unwrap_err().to_string();
    assert!(
        text.contains(
            "  line 3, column 1: unknown key `suorces` in `builds`; did you mean `sources`?\n    |\n  3 | suorces = [\"https://builds.internal/\"]\n    | ^"
        ),
        "{text}"
    );
}
