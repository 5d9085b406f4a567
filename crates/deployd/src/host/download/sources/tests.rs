use url::Url;

use super::{PlainHttp, Sources};

const SOURCES: [&str; 4] = [
    "https://builds.internal/web",
    "https://builds.internal:8443/",
    "https://cdn.internal/a/b/",
    "http://plain.internal",
];

fn sources(plain_http: PlainHttp) -> Sources {
    let listed = match plain_http {
        PlainHttp::Allowed => &SOURCES[..],
        PlainHttp::Refused => &SOURCES[..3],
    };
    let listed: Vec<String> = listed.iter().map(|&text| text.to_owned()).collect();
    Sources::parse(&listed, plain_http).expect("they are well-formed")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect(text)
}

#[test]
fn urls_are_compared_parsed_and_by_whole_segments() {
    let sources = sources(PlainHttp::Allowed);
    for (text, allowed) in [
        ("https://builds.internal/web/r1.tar.gz", true),
        ("https://builds.internal/web", true),
        ("https://builds.internal/web/", true),
        ("HTTPS://Builds.Internal/web/x", true),
        ("https://builds.internal:443/web/x", true),
        ("https://builds.internal/web/x?token=1", true),
        ("https://builds.internal/web/a%20b", true),
        ("https://builds.internal/web/x..y/...", true),
        ("https://builds.internal/webevil/x", false),
        ("https://builds.internal/WEB/x", false),
        ("https://builds.internal/", false),
        ("https://builds.internal/web/../other/x", false),
        ("https://builds.internal/web/%2e%2e/other/x", false),
        ("https://builds.internal/web/.%2E/other/x", false),
        ("https://builds.internal/web/..\\..\\other", false),
        ("https://builds.internal/web/..%2fother/x", false),
        ("https://builds.internal/web/%2fother", false),
        ("https://builds.internal/web/..%5cother/x", false),
        ("https://builds.internal/web/%252e%252e/other/x", false),
        ("https://builds.internal/web/%25252e%25252e/other/x", false),
        ("https://builds.internal/web/%00", false),
        ("https://builds.internal/web/%0a", false),
        ("http://builds.internal/web/x", false),
        ("https://builds.internal.evil/web/x", false),
        ("https://evil/https://builds.internal/web/x", false),
        ("https://builds.internal@evil/web/x", false),
        ("https://user@builds.internal/web/x", false),
        ("https://:pw@builds.internal/web/x", false),
        ("https://builds.internal:8443/anything", true),
        ("https://builds.internal:8444/anything", false),
        ("https://cdn.internal/a/b/c", true),
        ("https://cdn.internal/a/b", false),
        ("http://plain.internal/x", true),
        ("http://plain.internal:8080/x", false),
        ("https://plain.internal/x", false),
        ("ftp://builds.internal/web/x", false),
        ("file:///web/x", false),
    ] {
        assert_eq!(sources.check(&url(text)).is_ok(), allowed, "{text}");
    }
}

#[test]
fn http_must_be_allowed() {
    let sources = sources(PlainHttp::Refused);
    let error = sources.check(&url("http://builds.internal/web/x"));
    let error = error.expect_err("http is not allowed").to_string();
    assert!(error.contains("allow_http"), "{error}");
}

#[test]
fn no_sources_allow_nothing() {
    let sources = Sources::parse(&[], PlainHttp::Allowed).expect("nothing is wrong");
    assert!(sources.check(&url("https://builds.internal/x")).is_err());
}

#[test]
fn prefixes_that_are_none() {
    for prefix in [
        "builds.internal/web",
        "//builds.internal/web",
        "https://",
        "ftp://builds.internal/",
        "https://user@builds.internal/",
        "https://builds.internal/?x=1",
        "https://builds.internal/#x",
        "https://builds.internal/%2f",
        "http://builds.internal/",
    ] {
        let parsed = Sources::parse(&[prefix.to_owned()], PlainHttp::Refused);
        assert_eq!(parsed.expect_err(prefix).len(), 1);
    }
}

/// From, to, whether sources allow it, and whether it is allowed without any.
const REDIRECTS: [(&str, &str, bool, bool); 11] = [
    (
        "https://builds.internal/web/a",
        "https://builds.internal/web/b",
        true,
        true,
    ),
    (
        "https://builds.internal/web/a",
        "https://builds.internal/other",
        false,
        true,
    ),
    (
        "https://builds.internal/web/a",
        "https://cdn.internal/a/b/c",
        true,
        false,
    ),
    (
        "https://builds.internal/web/a",
        "http://plain.internal/x",
        false,
        false,
    ),
    (
        "http://plain.internal/a",
        "http://plain.internal/b",
        true,
        true,
    ),
    (
        "http://plain.internal/a",
        "https://plain.internal/b",
        false,
        true,
    ),
    (
        "http://plain.internal/a",
        "https://plain.internal:8443/b",
        false,
        false,
    ),
    (
        "http://plain.internal/a",
        "http://plain.internal:8080/b",
        false,
        false,
    ),
    (
        "http://plain.internal/a",
        "http://127.0.0.1/b",
        false,
        false,
    ),
    (
        "http://plain.internal/a",
        "https://builds.internal/web/b",
        true,
        false,
    ),
    (
        "http://plain.internal/a",
        "file:///etc/passwd",
        false,
        false,
    ),
];

#[test]
fn redirects_lead_nowhere_else() {
    let listed = sources(PlainHttp::Allowed);
    let typed = Sources::as_typed();
    for (from, to, by_list, by_hand) in REDIRECTS {
        let (from, to) = (url(from), url(to));
        let listed = listed.check_redirect(&from, &to).is_ok();
        let typed = typed.check_redirect(&from, &to).is_ok();
        assert_eq!((listed, typed), (by_list, by_hand), "{from} to {to}");
    }
}

#[test]
fn messages_keep_secrets() {
    let error = sources(PlainHttp::Allowed)
        .check(&url("https://alice:hunter2@evil/x?sig=abc#frag"))
        .expect_err("evil is no source")
        .to_string();
    assert_eq!(
        error,
        "https://evil/x is refused: it has a user or password"
    );
}
