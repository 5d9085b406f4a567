use super::{BuildName, HostName, ServiceName};

#[test]
fn build_names() {
    let longest = "b".repeat(64);
    for good in [
        "r2431",
        "1",
        "1.0.0-rc.1_x",
        "A",
        "true",
        "a..b",
        longest.as_str(),
    ] {
        assert!(BuildName::parse(good).is_ok(), "{good}");
    }
    let too_long = "b".repeat(65);
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "-x",
        "_x",
        "a/b",
        "a b",
        "a\n",
        "ü",
        too_long.as_str(),
    ] {
        assert!(BuildName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn service_names() {
    for good in ["web", "0", "a-b", "web-"] {
        assert!(ServiceName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "Web", "-web", "we_b", "web.x", "a/b"] {
        assert!(ServiceName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn host_names() {
    assert!(HostName::parse("web-09.ams.example.com").is_ok());
    assert!(HostName::parse("..").is_err());
}

#[test]
fn a_refused_name_is_shown_escaped_and_cut() {
    let error = BuildName::parse(&format!("\u{1b}[31m{}", "x".repeat(5000))).unwrap_err();
    let text = error.to_string();
    assert!(text.len() < 300, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("is not a build name"), "{text}");
}
