use super::{Number, number};

#[track_caller]
fn check(field: &[u8], expected: Number) {
    assert_eq!(number(field), expected, "{}", field.escape_ascii());
}

#[test]
fn octal_fields() {
    check(b"0000644\0", Number::Value(0o644));
    check(b"   644 \0", Number::Value(0o644));
    check(b"644 \0\0\0\0", Number::Value(0o644));
    check(b"777777777777", Number::Value(0o777_777_777_777));
    check(b"\0\0\0\0\0\0\0\0", Number::Blank);
    check(b"        ", Number::Blank);
}

#[test]
fn what_readers_disagree_on_is_no_number() {
    for field in [
        &b"0000648\0"[..],
        b"+000644\0",
        b"-000644\0",
        b"0x00644\0",
        b"00_0644\0",
        b"0644\x001\0\0",
        b"0644 1\0\0",
        b"\t000644\0",
        b"garbage!",
    ] {
        check(field, Number::Garbled);
    }
}

#[test]
fn base_256_fields() {
    let mut field = [0; 12];
    field[0] = 0x80;
    check(&field, Number::Value(0));
    field[7] = 0x01;
    check(&field, Number::Value(1 << 32));
    field[4] = 0xff;
    check(&field, Number::Value(0xff00_0001_0000_0000));
    field[3] = 0x01;
    check(&field, Number::Garbled);
    check(&[0xff; 12], Number::Garbled);
    check(&[0x80, 0, 0, 0, 0, 0, 1, 0xa4], Number::Value(0o644));
}
