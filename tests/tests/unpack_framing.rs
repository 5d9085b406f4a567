//! What `deployd unpack` makes of compression, framing, bombs and budgets.

use tests::archives::{Header, Tar, check, check_with, gzip, zstd_frame};

const CORRUPT: &str = "refused: bad archive: failed to decompress it";

fn build() -> Tar {
    Tar::new().file("x", b"body")
}

/// Refused for any reason that starts with `why`.
#[track_caller]
fn check_refused(archive: &[u8], why: &str) {
    let place = tests::archives::Place::new();
    let output = place.unpack(archive, &[]);
    let outcome = place.outcome(&output);
    assert!(outcome.starts_with(why), "{outcome}");
}

#[test]
fn gzip_in_its_forms() {
    let tar = build().end();
    check(&gzip(&tar), "f644 x 4");
    // Several members, cut anywhere, an empty one among them.
    let (one, two) = tar.split_at(700);
    check(&[gzip(one), gzip(b""), gzip(two)].concat(), "f644 x 4");
    let named = flate2::GzBuilder::new()
        .filename("x.tar")
        .comment("c")
        .extra(vec![1; 100]);
    let mut encoder = named.write(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &tar).expect("memory takes everything");
    check(
        &encoder.finish().expect("memory takes everything"),
        "f644 x 4",
    );
}

#[test]
fn gzip_may_be_followed_by_zeros_only() {
    let archive = gzip(&build().end());
    check(&[&archive[..], &[0; 10_000]].concat(), "f644 x 4");
    for tail in [&b"x"[..], b"\x1f", b"\x1f\x8b", b"garbage", b"\0\0\0x"] {
        check_refused(&[&archive[..], tail].concat(), CORRUPT);
    }
}

#[test]
fn every_cut_and_every_flipped_trailer_bit_shows() {
    let archive = gzip(&build().end());
    for length in 1..archive.len() {
        check_refused(&archive[..length], "refused: bad archive: ");
    }
    for at in archive.len() - 8..archive.len() {
        let mut bad = archive.clone();
        bad[at] ^= 0x10;
        check_refused(&bad, CORRUPT);
    }
    let archive = zstd_frame(&build().end());
    for length in 1..archive.len() {
        check_refused(&archive[..length], "refused: bad archive: ");
    }
    let mut bad = archive.clone();
    *bad.last_mut().expect("it has bytes") ^= 1;
    check_refused(&bad, CORRUPT);
}

#[test]
fn zstd_in_its_forms() {
    let tar = build().end();
    check(&zstd_frame(&tar), "f644 x 4");
    let (one, two) = tar.split_at(700);
    let skippable = b"\x5a\x2a\x4d\x18\x04\0\0\0skip";
    check(
        &[&zstd_frame(one), &skippable[..], &zstd_frame(two)].concat(),
        "f644 x 4",
    );
    check(&[&skippable[..], &zstd_frame(&tar)].concat(), "f644 x 4");
    check_refused(&[&zstd_frame(&tar)[..], b"garbage"].concat(), CORRUPT);
    check_refused(skippable, "refused: bad archive: its end marker is missing");
    check_refused(&skippable[..10], "refused: bad archive: ");
}

#[test]
fn zstd_windows_are_bounded() {
    // A frame header that asks for a window of 2 GiB.
    let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    check_refused(&huge, CORRUPT);
}

#[test]
fn other_formats_are_named() {
    for (archive, what) in [
        (&b""[..], "it is empty"),
        (b"BZh91AY&SY", "it is bzip2"),
        (b"\xfd7zXZ\0\0", "it is xz"),
        (b"PK\x03\x04", "it is zip"),
        (b"\x04\x22\x4d\x18", "it is lz4"),
        (&build().end(), "it is a tar that is not compressed"),
        (b"hello", "its format is unknown"),
        (b"\x1f", "its format is unknown"),
        (&[0; 1024], "its format is unknown"),
    ] {
        let why = format!("refused: bad archive: {what}; accepted are .tar.gz and .tar.zst");
        check(archive, &why);
    }
    check(
        &gzip(&gzip(&build().end())),
        "refused: bad archive: it ends in the middle of a header",
    );
    check(
        &gzip(&[b'x'; 2048]),
        "refused: bad archive: a header has a bad checksum",
    );
}

#[test]
fn the_end_is_marked_once_and_is_the_end() {
    let marker = |blocks: usize| build().raw(&vec![0; 512 * blocks]).0;
    check(
        &gzip(&marker(0)),
        "refused: bad archive: its end marker is missing",
    );
    check(
        &gzip(&marker(1)),
        "refused: bad archive: its end marker is cut short",
    );
    check(&gzip(&marker(2)), "f644 x 4");
    check(&gzip(&marker(20)), "f644 x 4");
    check(
        &gzip(&build().raw(&[0; 512 + 100]).0),
        "refused: bad archive: its end marker is cut short",
    );
    check(&gzip(&build().raw(&[0; 1024 + 100]).0), "f644 x 4");
    let lone = build().raw(&[0; 512]).file("y", b"").end();
    check(
        &gzip(&lone),
        "refused: bad archive: it has a lone zero block",
    );
    for tail in [&b"x"[..], &build().end()] {
        for padding in [0, 512, 9000] {
            let tar = Tar(build().end()).raw(&vec![0; padding]).raw(tail).0;
            let why = "refused: bad archive: something that is not zero follows its end marker";
            check(&gzip(&tar), why);
            check(&[gzip(&build().end()), gzip(tail)].concat(), why);
        }
    }
}

#[test]
fn half_an_archive() {
    let tar = build().file("y", &[b'y'; 3000]).end();
    for (length, why) in [
        (0, "its end marker is missing"),
        (100, "it ends in the middle of a header"),
        (512, "it ends in the middle of an entry"),
        (514, "it ends in the middle of an entry"),
        (1024, "its end marker is missing"),
        (1500, "it ends in the middle of a header"),
        (4000, "it ends in the middle of an entry"),
        // Even the padding of the last entry must be there.
        (1536 + 3000, "it ends in the middle of an entry"),
    ] {
        check(
            &gzip(&tar[..length]),
            &format!("refused: bad archive: {why}"),
        );
    }
}

#[test]
fn bad_checksums() {
    let sealed = Header::new(b'0', b"x").sealed();
    for (at, bytes) in [
        (0, &b"y"[..]),
        (148, b"        "),
        (148, b"000000\0 "),
        (148, b"garbage!"),
        (500, b"\x01"),
    ] {
        let mut bad = sealed;
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        check(
            &gzip(&build().raw(&bad).end()),
            "refused: bad archive: a header has a bad checksum",
        );
    }
}

#[test]
fn an_empty_build() {
    let why = "refused: bad archive: empty build: it has no files";
    check(&gzip(&Tar::new().end()), why);
    check(&gzip(&Tar::new().directory("./").directory("a").end()), why);
}

#[test]
fn budgets_are_exact() {
    let tar = gzip(&Tar::new().file("a", &[1; 600]).file("b", &[2; 400]).end());
    check_with(&tar, &["--max-bytes", "1000"], "f644 a 600\nf644 b 400");
    check_with(
        &tar,
        &["--max-bytes", "999"],
        "refused: entry \"b\": the archive unpacks to more than 999 bytes",
    );
    check_with(&tar, &["--max-entries", "2"], "f644 a 600\nf644 b 400");
    check_with(
        &tar,
        &["--max-entries", "1"],
        "refused: entry \"b\": the archive has more than 1 entries",
    );
    let repeated = Tar::new().directory("d").directory("d").file("a", b"");
    check_with(
        &gzip(&repeated.end()),
        &["--max-entries", "2"],
        "refused: entry \"a\": the archive has more than 2 entries",
    );
}

#[test]
fn bombs_are_refused_by_what_they_claim() {
    // Claims 1 TiB and has nothing: refused before a byte is written.
    let claim = Tar::new().header(
        Header::new(b'0', b"x").with(124, b"20000000000000\0".get(..12).expect("12 bytes")),
    );
    check(
        &gzip(&claim.end()),
        "refused: entry \"x\": the archive unpacks to more than 8589934592 bytes",
    );
}

#[test]
fn bytes_that_are_no_files_have_a_budget_too() {
    let over = "refused: bad archive: it has more bytes than its limit allows";
    let zeros = build().raw(&vec![0; 8 << 20]).0;
    check(&gzip(&zeros), "f644 x 4");
    check_with(&gzip(&zeros), &["--max-bytes", "1000000"], over);
    check_with(&zstd_frame(&zeros), &["--max-bytes", "1000000"], over);
    let comment = [b"comment=", &[b'c'; 1_000_000][..]].concat();
    let mut headers = Tar::new();
    for number in 0..8 {
        headers = headers
            .pax(b'x', &[&comment])
            .file(&number.to_string(), b"");
    }
    check_with(&gzip(&headers.end()), &["--max-bytes", "1000000"], over);
}

#[test]
fn many_small_entries_are_no_bomb() {
    let mut tar = Tar::new().file("f", b"x");
    for _ in 0..10_000 {
        tar = tar.directory("d");
    }
    let archive = gzip(&tar.end());
    check_with(&archive, &["--max-bytes", "1"], "d755 d\nf644 f 1");
}

#[test]
fn files_may_be_far_between() {
    // Each in a buffer of its own, of which there are less than files wait to be filled.
    let mut tar = Tar::new();
    let mut expected = String::new();
    for number in 10..50 {
        tar = tar.file(&number.to_string(), b"x");
        expected = format!("{expected}f644 {number} 1\n");
        for _ in 0..300 {
            tar = tar.directory("d");
        }
    }
    check(&gzip(&tar.end()), &format!("{expected}d755 d"));
}

#[test]
fn directories_that_no_entry_names_have_a_budget_too() {
    let mut tar = Tar::new();
    for number in 0..30 {
        let name = format!("{number}/{}f", "d/".repeat(60));
        tar = tar.long(b'L', name.as_bytes()).file("x", b"");
    }
    check_with(
        &gzip(&tar.end()),
        &["--max-entries", "40"],
        "refused: bad archive: it has too many directories without an entry",
    );
}
