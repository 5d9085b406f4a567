//! What `deployd unpack` makes of names, types, links, duplicates and modes.

use tests::archives::{Header, Place, Tar, check, gzip};

/// One entry, beside a file that makes it a build.
#[track_caller]
fn check_entry(header: Header, expected: &str) {
    let tar = Tar::new().file("z", b"").header(header);
    check(&gzip(&tar.end()), expected);
}

#[track_caller]
fn check_tar(tar: Tar, expected: &str) {
    check(&gzip(&tar.end()), expected);
}

fn refused(name: &str, why: &str) -> String {
    format!("refused: entry \"{name}\": {why}")
}

#[test]
fn an_ordinary_build() {
    check_tar(
        Tar::new()
            .directory("./")
            .directory("./bin/")
            .entry(Header::new(b'0', b"./bin/run").mode(0o755), b"#!/bin/sh\n")
            .file("./lib/deep/er", b"body")
            .symlink("./python", "/usr/bin/python3")
            .hard_link("./bin/again", "./bin/run"),
        "d755 bin\n\
         f755 bin/again 10 links 2\n\
         f755 bin/run 10 links 2\n\
         d755 lib\n\
         d755 lib/deep\n\
         f644 lib/deep/er 4\n\
         l python -> /usr/bin/python3",
    );
}

#[test]
fn directories_in_any_order() {
    check_tar(
        Tar::new()
            .file("a/b/f", b"")
            .directory("c")
            .file("a/b/c/g", b"")
            .file("c/h", b"")
            .directory("a/b")
            .file("b/i", b"")
            .file("a/j", b"")
            .file("a/b/c/k", b""),
        "d755 a\nd755 a/b\nd755 a/b/c\nf644 a/b/c/g 0\nf644 a/b/c/k 0\nf644 a/b/f 0\n\
         f644 a/j 0\nd755 b\nf644 b/i 0\nd755 c\nf644 c/h 0",
    );
}

#[test]
fn names_that_lead_outside() {
    for name in [
        "../outside/victim",
        "a/../../outside/x",
        "..",
        "a/..",
        "./..",
    ] {
        let why = refused(name, "the name contains ..");
        for kind in [b'0', b'5', b'2', b'1'] {
            check_entry(Header::new(kind, name.as_bytes()).link(b"z"), &why);
        }
    }
    for name in ["/etc/passwd", "//etc/passwd", "/"] {
        let why = refused(name, "the name is absolute");
        check_entry(Header::new(b'5', name.as_bytes()), &why);
    }
    check_entry(Header::new(b'0', b""), &refused("", "the name is empty"));
}

#[test]
fn prefixes_count_as_part_of_the_name() {
    let name = |prefix: &[u8]| Header::new(b'0', b"x").with(345, prefix);
    check_entry(name(b"a/b"), "d755 a\nd755 a/b\nf644 a/b/x 0\nf644 z 0");
    check_entry(name(b"../a"), &refused("../a/x", "the name contains .."));
    check_entry(name(b"/a"), &refused("/a/x", "the name is absolute"));
    let gnu = name(b"14500000000").with(257, b"ustar  \0");
    check_entry(gnu, "f644 x 0\nf644 z 0");
    for magic in [b"ustar\0\0\0", b"\0\0\0\0\0\0\0\0", b"ustar 00"] {
        let why = refused("x", "its header has a prefix, but is not ustar");
        check_entry(name(b"a").with(257, magic), &why);
        // Without a prefix nobody can read anything else into it.
        check_entry(name(b"").with(257, magic), "f644 x 0\nf644 z 0");
    }
}

#[test]
fn names_are_kept_byte_for_byte() {
    check_tar(
        Tar::new()
            .entry(Header::new(b'0', b"\xff\xfe"), b"")
            .file("A", b"")
            .file("a", b"")
            .file("e\u{301}", b"")
            .file("\u{e9}", b"")
            .file("new\nline\x1b[31m", b"")
            .file("C:\\x", b""),
        "f644 A 0\nf644 C:\\\\x 0\nf644 a 0\nf644 e\\xcc\\x81 0\nf644 new\\nline\\x1b[31m 0\n\
         f644 \\xc3\\xa9 0\nf644 \\xff\\xfe 0",
    );
}

#[test]
fn messages_escape_names() {
    let why = refused("a\\n\\u{1b}[31m\\u{202e}\\xff/..", "the name contains ..");
    let name = "a\n\x1b[31m\u{202e}".as_bytes();
    check_entry(Header::new(b'0', &[name, b"\xff/.."].concat()), &why);
}

#[test]
fn only_directories_end_in_a_slash() {
    for kind in [b'0', 0, b'7', b'2', b'1'] {
        let why = refused("x/", "its name ends in /, but it is not a directory");
        check_entry(Header::new(kind, b"x/").link(b"z"), &why);
    }
    // V7, without a magic, writes directories like that.
    let v7 = |kind| Header::new(kind, b"x/").with(257, &[0; 8]).mode(0o755);
    check_entry(v7(0), "d755 x\nf644 z 0");
    for header in [v7(b'0'), v7(0).size(5)] {
        let why = refused("x/", "its name ends in /, but it is not a directory");
        check_entry(header, &why);
    }
    let why = refused(".", "its name ends in /., but it is not a directory");
    check_entry(Header::new(b'2', b".").link(b"/tmp"), &why);
}

#[test]
fn types_that_are_files() {
    for kind in [b'0', 0, b'7'] {
        check_entry(Header::new(kind, b"x"), "f644 x 0\nf644 z 0");
    }
}

#[test]
fn types_that_are_refused_by_name() {
    for (kind, what) in [
        (b'3', "it is a character device"),
        (b'4', "it is a block device"),
        (b'6', "it is a fifo"),
        (b'S', "it is a sparse file (GNU); pack it without --sparse"),
        (b'D', "it is a directory of an incremental backup"),
        (b'M', "it is part of a file of another volume"),
        (b'N', "it is a list of long names"),
        (b'A', "it is an access control list"),
        (b'I', "it is an inode without data"),
        (b'X', "it is a Solaris extended header"),
        (b'8', "its type is unknown: \"8\""),
        (b'\n', "its type is unknown: \"\\n\""),
        (0xff, "its type is unknown: \"\\xff\""),
    ] {
        check_entry(Header::new(kind, b"x"), &refused("x", what));
    }
}

#[test]
fn volume_labels_are_passed_over() {
    let label = Header::new(b'V', b"/../label");
    check_entry(label.clone(), "f644 z 0");
    let with_body = Tar::new().entry(label.clone(), b"body").file("z", b"");
    check_tar(with_body, "f644 z 0");
    check_tar(
        Tar::new().header(label),
        "refused: bad archive: empty build: it has no files",
    );
}

#[test]
fn symbolic_links_are_data() {
    check_tar(
        Tar::new()
            .symlink("absolute", "/etc/passwd")
            .symlink("up", "../../outside")
            .symlink("self", "self")
            .symlink("dangling", "nowhere"),
        "l absolute -> /etc/passwd\nl dangling -> nowhere\nl self -> self\nl up -> ../../outside",
    );
    check_entry(
        Header::new(b'2', b"x"),
        &refused("x", "the symbolic link points nowhere"),
    );
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    for target in ["../../outside", ".", "inside", "/tmp"] {
        let link = || Tar::new().directory("inside").symlink("link", target);
        let why = |name| refused(name, "it is beneath \"link\", which is a symbolic link");
        check_tar(link().file("link/victim", b"evil"), &why("link/victim"));
        check_tar(link().directory("link/d"), &why("link/d"));
        check_tar(link().symlink("link/l", "x"), &why("link/l"));
        check_tar(
            link().file("z", b"").hard_link("link/h", "z"),
            &why("link/h"),
        );
        let twice = refused("link", "it is in the archive twice");
        check_tar(link().file("link", b"evil"), &twice);
        check_tar(link().directory("link/"), &twice);
        check_tar(link().symlink("link", "elsewhere"), &twice);
    }
}

#[test]
fn hard_links_need_a_file_of_this_archive() {
    let why = "the target of the hard link is no file that comes before it";
    let before = || {
        Tar::new()
            .file("a/f", b"x")
            .symlink("link", "a")
            .symlink("victim", "../../outside/victim")
    };
    for target in [
        "later",
        "a",
        "h",
        "link",
        "link/f",
        "victim",
        "a/f/x",
        "nowhere/x",
    ] {
        let tar = before().hard_link("h", target).file("later", b"");
        check_tar(tar, &refused("h", why));
    }
    for (target, rule) in [
        ("/etc/passwd", "the name is absolute"),
        ("../../outside/victim", "the name contains .."),
        ("", "the name is empty"),
        ("a/f/", "its name ends in /, but it is not a directory"),
    ] {
        let why = format!("the target of the hard link: {rule}");
        check_tar(before().hard_link("h", target), &refused("h", &why));
    }
    check_tar(
        Tar::new()
            .file("f", b"x")
            .header(Header::new(b'1', b"g").link(b".//f").mode(0o4777))
            .hard_link("h", "g"),
        "f644 f 1 links 3\nf644 g 1 links 3\nf644 h 1 links 3",
    );
}

#[test]
fn only_directories_repeat() {
    check_tar(
        Tar::new()
            .file("a/f", b"")
            .directory("a")
            .header(Header::new(b'5', b"./a//").mode(0o700)),
        "d700 a\nf644 a/f 0",
    );
    let twice = |name| refused(name, "it is in the archive twice");
    check_tar(Tar::new().file("f", b"a").file("f", b"b"), &twice("f"));
    check_tar(Tar::new().file("f", b"a").file(".//f", b"b"), &twice("f"));
    check_tar(Tar::new().file("f", b"a").directory("f"), &twice("f"));
    check_tar(Tar::new().directory("d").file("d", b"a"), &twice("d"));
    check_tar(Tar::new().directory("d").symlink("d", "x"), &twice("d"));
    check_tar(Tar::new().file("f", b"").hard_link("f", "f"), &twice("f"));
    check_tar(
        Tar::new().file("d/f", b"a").file("d/f/x", b"b"),
        &refused("d/f/x", "it is beneath \"f\", which is no directory"),
    );
}

/// Directories and links are made by one thread, and files by two: what comes of it must not depend on which was faster.
#[test]
fn it_does_not_matter_who_is_faster() {
    let many = |tar, dir| (0..500).fold(tar, |tar: Tar, i| tar.file(&format!("{dir}/{i}"), b"x"));
    let twice = |name| refused(name, "it is in the archive twice");
    let file = || many(Tar::new(), "before").file("d/f", b"a");
    let beneath = refused("d/f/x", "it is beneath \"f\", which is no directory");
    check_tar(file().file("d/f/x", b""), &beneath);
    check_tar(many(file(), "after").file("d/f/x", b""), &beneath);
    check_tar(many(file(), "after").directory("d/f"), &twice("d/f"));
    check_tar(many(file(), "after").symlink("d/f", "x"), &twice("d/f"));
    check_tar(file().directory("d/f/x"), &beneath);
    check_tar(file().symlink("d/f", "x"), &twice("d/f"));
    check_tar(
        file().hard_link("h", "later").file("later", b""),
        &refused(
            "h",
            "the target of the hard link is no file that comes before it",
        ),
    );
    let both = file().file("d/f", b"").file("before/1", b"");
    check_tar(both.directory("../d"), &twice("d/f"));
    // The fault that comes first in the archive is told, not the one that was found first.
    let nested = || file().file("g", b"").file("g", b"");
    check_tar(nested().directory("d/f"), &twice("g"));
    check_tar(nested().symlink("d/f", "x"), &twice("g"));
    check_tar(nested().file("d/f/x", b""), &twice("g"));
    check_tar(many(nested(), "after").file("d/f", b""), &twice("g"));
    check_tar(
        file().file("g", b"").directory("./g/").directory("d//f"),
        &twice("g"),
    );
}

#[test]
fn hard_links_between_many_files() {
    let (mut tar, mut expected) = (Tar::new(), vec!["d755 d".to_owned()]);
    for i in 1000..1600 {
        let size = i % 7 * 100;
        let name = format!("d/{i}");
        let linked = i % 3 == 0;
        tar = tar.file(&name, &vec![b'x'; size]);
        if linked {
            tar = tar.hard_link(&format!("{name}-again"), &name);
        }
        let links = if linked { " links 2" } else { "" };
        expected.push(format!("f644 {name} {size}{links}"));
        if linked {
            expected.push(format!("f644 {name}-again {size}{links}"));
        }
    }
    check_tar(tar, &expected.join("\n"));
}

#[test]
fn modes_are_trimmed() {
    for (mode, file, directory) in [
        (0o7777, 755, 755),
        (0o4755, 755, 755),
        (0o666, 644, 744),
        (0o777, 755, 755),
        (0o600, 600, 700),
        (0o000, 400, 700),
        (0o111, 511, 711),
        (0o500, 500, 700),
        (0o100_644, 644, 744),
    ] {
        let tar = Tar::new()
            .header(Header::new(b'0', b"f").mode(mode))
            .header(Header::new(b'5', b"d").mode(mode));
        check_tar(tar, &format!("d{directory} d\nf{file} f 0"));
    }
    let root = Header::new(b'5', b"./").mode(0o1777);
    check_entry(root, "f644 z 0");
    let closed = Header::new(b'5', b"d").mode(0);
    check_tar(
        Tar::new().header(closed).file("d/f", b"x"),
        "d700 d\nf644 d/f 1",
    );
    check_entry(
        Header::new(b'0', b"x").with(100, b"rw-r--r-"),
        &refused("x", "its mode is not a number"),
    );
}

#[test]
fn owners_and_times_are_no_reason_to_refuse() {
    let odd = Header::new(b'0', b"x")
        .with(108, b"nonsense")
        .with(116, &[0xff; 8])
        .with(136, b"not a time..")
        .with(329, b"devmajor");
    check_entry(odd, "f644 x 0\nf644 z 0");
    let mut far = [0xff; 12];
    far[..5].copy_from_slice(&[0x80, 0, 0, 0, 0x7f]);
    check_entry(
        Header::new(b'0', b"x").with(136, &far),
        "f644 x 0\nf644 z 0",
    );
}

#[test]
fn lengths_and_depths() {
    let nested = |depth: usize| vec!["d"; depth].join("/");
    for (name, why) in [
        (
            "a".repeat(256),
            "a part of the name is longer than 255 bytes",
        ),
        (nested(257), "the name is deeper than 256 directories"),
        (
            vec!["a".repeat(200); 21].join("/"),
            "the name is longer than 4096 bytes",
        ),
        (
            vec!["a"; 2100].join("/"),
            "the name is longer than 4096 bytes",
        ),
    ] {
        let tar = Tar::new().long(b'L', name.as_bytes()).file("x", b"");
        let shown = format!("{}…", &name[..120]);
        check_tar(tar, &refused(&shown, why));
    }
    for name in [
        "a".repeat(255),
        nested(256),
        vec!["a".repeat(255); 16].join("/"),
    ] {
        let tar = Tar::new().long(b'L', name.as_bytes()).file("x", b"body");
        let place = Place::new();
        let output = place.unpack(&gzip(&tar.end()), &[]);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{why}");
    }
}

#[test]
fn the_agents_own_names_are_ordinary() {
    check_tar(
        Tar::new()
            .file(".complete", b"")
            .file(".deployd.json", b"{}"),
        "f644 .complete 0\nf644 .deployd.json 2",
    );
}
