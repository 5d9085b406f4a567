use super::first_missing;

#[test]
fn lines_are_looked_for_in_their_order() {
    let printed = "  0.1s  ok  12 requests\nanother\n$ deployctl status\nweb  r1  at 17:01\n";
    let missing = |transcript| first_missing(transcript, printed);
    assert_eq!(missing(" 10.7s ok 9 requests\n…\nweb r22 at 9:59\n"), None);
    assert_eq!(missing("$ deployctl …\n"), None);
    assert_eq!(missing("$ deployctl status\nanother\n"), Some("another"));
    assert_eq!(missing("web r1 at noon\n"), Some("web r1 at noon"));
}
