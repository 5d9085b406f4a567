//! What znodes may hold that no program of ours has written.

/// As large as anything that a server with the default `jute.maxbuffer` takes, with room for the
/// rest of the request.
const LARGE_BYTES: usize = 1_000_000;
/// What may be in a znode that no program of ours has written. Nothing in it is good for any of
/// them, but for a hold, which holds whatever it says.
pub fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("nul", vec![0; 3]),
        (
            "invalid UTF-8",
            b"{\"v\":1,\"build\":\"\xff\xfe\",\"role\":\"\xff\"}".to_vec(),
        ),
        (
            "truncated",
            text(r#"{"v":1,"build":"r2","role":"canary","rol"#),
        ),
        ("nested", vec![b'['; 60_000]),
        ("nested objects", text(&r#"{"a":"#.repeat(10_000))),
        ("nested too deep for a znode", vec![b'['; 100_000]),
        ("a megabyte", vec![b'x'; LARGE_BYTES]),
        (
            "wrong types",
            text(
                r#"{"v":1,"build":7,"role":[],"restart_concurrency":{},"artifact":"x","rollout":"x"}"#,
            ),
        ),
        (
            "twice",
            text(
                r#"{"v":1,"build":"r2","build":"r2","role":"fleet","role":"fleet","restart_concurrency":1,
                "restart_concurrency":1,"artifact":1,"artifact":2,"rollout":2,"rollout":2}"#,
            ),
        ),
        (
            "a number without end",
            text(r#"{"v":1,"build":"r2","role":"fleet","rollout":1e999}"#),
        ),
        ("a large version", text(r#"{"v":99999999999999999999999}"#)),
        (
            "a newer version",
            text(r#"{"v":2,"build":"r2","role":"fleet"}"#),
        ),
        (
            "no version",
            text(r#"{"build":"r2","role":"fleet","rollout":2}"#),
        ),
        (
            "control characters",
            text(
                r#"{"v":1,"build":"\u001b[2J","role":"\u001b[2J","restart_concurrency":"\u001b[2J","rollout":"\u001b",
                "artifact":{"url":"\u001b","sha256":"\u001b[2J","size":1}}"#,
            ),
        ),
        (
            "the directory above",
            text(
                r#"{"v":1,"build":"../../etc","role":"..","restart_concurrency":"..","rollout":"../2",
                "artifact":{"url":"..","sha256":"..","size":1}}"#,
            ),
        ),
    ]
}
