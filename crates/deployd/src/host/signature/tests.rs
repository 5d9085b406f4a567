use std::fs::File;
use std::io::Write;

use proptest::prelude::{any, prop_oneof};
use proptest::sample::Index;

use super::Keys;
use crate::config::tests::properties::check;

/// A key and a signature as `minisign` makes them; the key signs nothing of ours.
const KEY: &str = "untrusted comment: minisign public key E7620F1842B4E81F
RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";

#[test]
fn no_text_is_a_signature_of_these_bytes() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let key = dir.path().join("key.pub");
    std::fs::write(&key, KEY).expect("a file can be written");
    let keys = Keys::read(&[key]).expect("the key is one");
    let mut file = tempfile::tempfile().expect("a file can be made");
    file.write_all(b"not what was signed")
        .expect("it can be written");
    let refused = |text: &str, file: &File| {
        let comment = "timestamp:1633700835\tfile:test\tprehashed";
        let error = keys
            .check((text, comment), file)
            .expect_err("it is not of these bytes");
        let text = error.to_string();
        let found = text.split(", not for").next().unwrap_or_default();
        assert!(!found.chars().any(char::is_control), "{text:?}");
    };
    refused(SIGNATURE, &file);
    check(300, &(any::<Index>(), any::<char>()), |(at, c)| {
        let mut chars: Vec<char> = SIGNATURE.chars().collect();
        let at = at.index(chars.len());
        chars[at] = c;
        refused(&chars.iter().collect::<String>(), &file);
        refused(&chars[..at].iter().collect::<String>(), &file);
    });
    let like =
        "[a-z :]{0,20}\n[A-Za-z0-9+/=]{0,99}\ntrusted comment: [a-z]{0,9}\n[A-Za-z0-9+/=]{0,99}";
    check(300, &prop_oneof![like, any::<String>()], |text| {
        refused(&text, &file)
    });
}
