//! What `deployd unpack` makes of PAX and GNU headers, and of numbers.

use tests::archives::{Header, Tar, check, gzip, record};

#[track_caller]
fn check_tar(tar: Tar, expected: &str) {
    check(&gzip(&tar.end()), expected);
}

/// A PAX header before the file `x` with four bytes.
#[track_caller]
fn check_pax(records: &[&[u8]], expected: &str) {
    check_tar(Tar::new().pax(b'x', records).file("x", b"body"), expected);
}

/// A PAX header that is refused whatever follows it.
#[track_caller]
fn check_pax_refused(records: &[&[u8]], why: &str) {
    check_pax(records, &format!("refused: entry \"PaxHeaders/x\": {why}"));
}

#[test]
fn pax_names_sizes_and_times() {
    check_pax(&[b"path=a/\xc3\xa9"], "d755 a\nf644 a/\\xc3\\xa9 4");
    check_pax(&[b"comment=hello", b"mtime=x"], "f644 x 4");
    check_tar(
        Tar::new()
            .pax(b'x', &[b"linkpath=/long/target"])
            .symlink("l", "short"),
        "l l -> /long/target",
    );
    // The size in the header is 0, the one that counts says 4.
    check_tar(
        Tar::new()
            .pax(b'x', &[b"size=4"])
            .header(Header::new(b'0', b"x"))
            .raw(b"body")
            .raw(&[0; 508]),
        "f644 x 4",
    );
    // A tar hidden in a file stays a file, whichever size a reader believes.
    let hidden = Tar::new().file("hidden", b"").end();
    check_tar(
        Tar::new()
            .pax(b'x', &[format!("size={}", hidden.len()).as_bytes()])
            .header(Header::new(b'0', b"x"))
            .raw(&hidden),
        "f644 x 1536",
    );
}

#[test]
fn pax_names_keep_the_rules_of_names() {
    for (path, why) in [
        ("../x", "the name contains .."),
        ("/x", "the name is absolute"),
        ("x/", "its name ends in /, but it is not a directory"),
    ] {
        let records: &[&[u8]] = &[&[b"path=", path.as_bytes()].concat()];
        check_pax(records, &format!("refused: entry \"{path}\": {why}"));
    }
    check_pax_refused(&[b"path="], "a PAX header has an empty name");
    check_pax_refused(&[b"path=a\0b"], "a PAX name contains a NUL byte");
    check_pax_refused(&[b"linkpath=a\0b"], "a PAX name contains a NUL byte");
}

#[test]
fn attributes_are_ignored() {
    check_pax(
        &[
            b"SCHILY.xattr.security.capability=\x01\0\0\x02\0\x20\0\0",
            b"SCHILY.xattr.user.two words=\n\n",
            b"SCHILY.acl.access=user::rwx,other::rwx",
            b"RHT.security.selinux=system_u:object_r:shadow_t",
            b"LIBARCHIVE.xattr.security.capability=AQAAAgAgAAA",
            b"uid=0",
            b"uname=root",
            b"hdrcharset=BINARY",
        ],
        "f644 x 4",
    );
}

#[test]
fn sparse_files_are_refused() {
    for key in [
        "GNU.sparse.major=1",
        "GNU.sparse.name=y",
        "GNU.sparse.map=0,4",
    ] {
        let why = "it is a sparse file (PAX); pack it without --sparse";
        check_pax_refused(&[key.as_bytes()], why);
        let global = Tar::new().pax(b'g', &[key.as_bytes()]).file("x", b"");
        check_tar(global, &format!("refused: entry \"PaxHeaders/x\": {why}"));
    }
}

#[test]
fn pax_records_are_strict() {
    for body in [
        &b"8 path=a\n"[..],
        b"10 path=aa\n",
        b"path=a\n",
        b"9 path=a\n\0\0\0",
        b"10  path=a\n",
        b"09 path=a\n",
        b"-9 path=a\n",
        b"4 a\n",
        b"5 =a\n",
        b"99999999999 a=b\n",
        b"\n",
    ] {
        let tar = Tar::new()
            .entry(Header::new(b'x', b"PaxHeaders/x"), body)
            .file("x", b"");
        check_tar(
            tar,
            "refused: entry \"PaxHeaders/x\": a PAX record is malformed",
        );
    }
    check_pax_refused(&[b"path=a", b"path=b"], "a PAX header says the same twice");
    check_pax_refused(&[b"size=-4"], "a PAX size is not a number");
    check_pax_refused(&[b"size="], "a PAX size is not a number");
    check_pax(&[], "f644 x 4");
}

#[test]
fn global_headers_set_no_names() {
    check_tar(
        Tar::new()
            .pax(b'g', &[b"comment=0123456789abcdef"])
            .file("x", b""),
        "f644 x 0",
    );
    for key in ["path=y", "linkpath=y", "size=0"] {
        check_tar(
            Tar::new().pax(b'g', &[key.as_bytes()]).file("x", b""),
            "refused: entry \"PaxHeaders/x\": a global PAX header sets a name or size",
        );
    }
}

#[test]
fn one_header_of_each_type_per_entry() {
    let twice = "an entry has two extended headers of one type";
    check_tar(
        Tar::new().pax(b'x', &[]).pax(b'x', &[]).file("x", b""),
        &format!("refused: entry \"PaxHeaders/x\": {twice}"),
    );
    check_tar(
        Tar::new().pax(b'g', &[]).pax(b'g', &[]).file("x", b""),
        &format!("refused: entry \"PaxHeaders/x\": {twice}"),
    );
    check_tar(
        Tar::new().long(b'L', b"a").long(b'L', b"b").file("x", b""),
        &format!("refused: entry \"././@LongLink\": {twice}"),
    );
    check_tar(
        Tar::new()
            .long(b'K', b"a")
            .long(b'K', b"b")
            .symlink("x", ""),
        &format!("refused: entry \"././@LongLink\": {twice}"),
    );
    check_tar(
        Tar::new().pax(b'x', &[]).pax(b'g', &[]).file("x", b""),
        "refused: entry \"PaxHeaders/x\": a global PAX header stands between an entry's headers",
    );
    check_tar(
        Tar::new()
            .pax(b'g', &[])
            .pax(b'x', &[])
            .file("x", b"")
            .pax(b'g', &[])
            .file("y", b""),
        "f644 x 0\nf644 y 0",
    );
}

#[test]
fn gnu_long_names() {
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    check_tar(
        Tar::new().long(b'L', name.as_bytes()).file("cut", b"x"),
        &format!("d755 {}\nf644 {name} 1", "d".repeat(120)),
    );
    check_tar(
        Tar::new()
            .long(b'K', &[b't'; 300])
            .long(b'L', b"link")
            .symlink("cut", "cut"),
        &format!("l link -> {}", "t".repeat(300)),
    );
    // Some writers leave out the NUL, or pad with more of them.
    for body in [&b"name"[..], b"name\0\0\0"] {
        let header = Header::new(b'L', b"././@LongLink");
        check_tar(Tar::new().entry(header, body).file("x", b""), "f644 name 0");
    }
    for (body, why) in [
        (&b"a\0b\0"[..], "a GNU long name contains a NUL byte"),
        (b"\0", "a GNU long name is empty"),
        (b"", "a GNU long name is empty"),
    ] {
        let header = Header::new(b'L', b"././@LongLink");
        check_tar(
            Tar::new().entry(header, body).file("x", b""),
            &format!("refused: entry \"././@LongLink\": {why}"),
        );
    }
    check_tar(
        Tar::new()
            .long(b'L', b"../../outside/victim")
            .file("x", b""),
        "refused: entry \"../../outside/victim\": the name contains ..",
    );
}

#[test]
fn gnu_and_pax_names_at_once() {
    let why = "it has a PAX name and a GNU long name at once";
    for pax_first in [true, false] {
        let (pax, long) = (
            |tar: Tar| tar.pax(b'x', &[b"path=pax"]),
            |tar: Tar| tar.long(b'L', b"gnu"),
        );
        let tar = match pax_first {
            true => long(pax(Tar::new())),
            false => pax(long(Tar::new())),
        };
        check_tar(tar.file("x", b""), &format!("refused: entry \"x\": {why}"));
    }
    check_tar(
        Tar::new()
            .long(b'K', b"gnu")
            .pax(b'x', &[b"linkpath=pax"])
            .symlink("x", "y"),
        &format!("refused: entry \"x\": {why}"),
    );
    check_tar(
        Tar::new()
            .long(b'L', b"gnu")
            .pax(b'x', &[b"mtime=1.5"])
            .file("x", b""),
        "f644 gnu 0",
    );
}

#[test]
fn long_headers_are_bounded() {
    let limit = 1 << 20;
    let comment = |length: usize| {
        let around = "1048576 comment=\n".len();
        record(&[b"comment=", &vec![b'c'; length - around][..]].concat())
    };
    for kind in [b'x', b'g'] {
        let body = comment(limit);
        assert_eq!(body.len(), limit);
        let header = || Header::new(kind, b"PaxHeaders/x");
        check_tar(Tar::new().entry(header(), &body).file("x", b""), "f644 x 0");
        check_tar(
            Tar::new()
                .entry(header(), &comment(limit + 1))
                .file("x", b""),
            "refused: entry \"PaxHeaders/x\": its extended header is larger than 1048576 bytes",
        );
    }
    // Refused by what it claims, before anything is read.
    for kind in [b'x', b'g', b'L', b'K'] {
        check_tar(
            Tar::new().header(Header::new(kind, b"h").size(64 << 20)),
            "refused: entry \"h\": its extended header is larger than 1048576 bytes",
        );
    }
}

#[test]
fn headers_without_their_entry() {
    for tar in [
        Tar::new().file("x", b"").pax(b'x', &[b"path=y"]),
        Tar::new().file("x", b"").long(b'L', b"y"),
        Tar::new().file("x", b"").long(b'K', b"y"),
    ] {
        check_tar(
            tar,
            "refused: bad archive: a long name or PAX header has no entry",
        );
    }
    check_tar(
        Tar::new()
            .pax(b'x', &[])
            .header(Header::new(b'V', b"v"))
            .file("x", b""),
        "refused: bad archive: a volume label has a long name",
    );
}

#[test]
fn sizes_are_numbers() {
    let sized = |field: &[u8]| Tar::new().header(Header::new(b'0', b"x").with(124, field));
    let body = |tar: Tar| tar.raw(b"body").raw(&[0; 508]);
    let mut base_256 = [0; 12];
    base_256[0] = 0x80;
    base_256[11] = 4;
    for field in [
        &b"00000000004\0"[..],
        b"000000000004",
        b"          4 ",
        b"4 \0\0\0\0\0\0\0\0\0\0",
        &base_256,
    ] {
        check_tar(body(sized(field)), "f644 x 4");
    }
    for field in [
        &b"-0000000004\0"[..],
        b"+0000000004\0",
        b"0x000000004\0",
        b"4\x009\0\0\0\0\0\0\0\0\0",
        b"00000000008\0",
        &[0xff; 12],
        &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4],
    ] {
        let why = "refused: entry \"x\": its size is not a number";
        check_tar(body(sized(field)), why);
    }
    check_tar(sized(&[0; 12]), "refused: entry \"x\": its size is missing");
    // 2^63 and more must not wrap around anything.
    base_256[4] = 0x80;
    check_tar(
        body(sized(&base_256)),
        "refused: entry \"x\": the archive unpacks to more than 8589934592 bytes",
    );
}

#[test]
fn only_files_have_sizes() {
    for kind in [b'5', b'2', b'1'] {
        let header = Header::new(kind, b"x").link(b"z").size(512);
        check_tar(
            Tar::new().file("z", b"").header(header).raw(&[b'x'; 512]),
            "refused: entry \"x\": it has a size, but is not a file",
        );
        let blank = Header::new(kind, b"x").link(b"z").with(124, &[0; 12]);
        let output = Tar::new().file("z", b"").header(blank).end();
        let place = tests::archives::Place::new();
        assert!(place.unpack(&gzip(&output), &[]).status.success());
    }
    check_tar(
        Tar::new()
            .pax(b'x', &[b"size=512"])
            .directory("x")
            .raw(&[b'x'; 512]),
        "refused: entry \"x\": it has a size, but is not a file",
    );
}
