//! What real tools write is unpacked as it was packed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::archives::{Place, gzip, tree};

/// Makes a tree with something of everything that a build may have.
fn make_tree(root: &Path) {
    let deep = format!("{}/{}", "long".repeat(20), "names".repeat(30));
    for directory in ["bin", "lib/empty", &deep] {
        fs::create_dir_all(root.join(directory)).expect("a fresh directory");
    }
    for (name, body, mode) in [
        ("bin/run", "#!/bin/sh\n", 0o755),
        ("lib/a", "", 0o644),
        ("lib/gr\u{fc}n \u{1f600}", "unicode", 0o644),
        ("lib/private", "x", 0o600),
        (&format!("{deep}/{}", "file".repeat(40)), "deep", 0o644),
        ("lib/big", &"0123456789".repeat(100_000), 0o644),
    ] {
        fs::write(root.join(name), body).expect("space");
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).expect("ours");
    }
    fs::hard_link(root.join("bin/run"), root.join("bin/again")).expect("one file system");
    symlink("/usr/bin/python3", root.join("bin/python")).expect("a fresh name");
    symlink("x".repeat(200), root.join("bin/long")).expect("a fresh name");
}

/// Packs the tree with a command that runs in it and writes a tar to its output.
#[track_caller]
fn check_tool(command: &[&str]) {
    let place = Place::new();
    let packed = place.path("packed");
    fs::create_dir(&packed).expect("a fresh directory");
    make_tree(&packed);
    let tar = output(command, &packed, b"");
    let unpacked = place.outcome(&place.unpack(&gzip(&tar), &[]));
    assert_eq!(unpacked, tree(&packed), "{command:?}");
}

#[track_caller]
fn output(command: &[&str], directory: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

/// Says whether a tool is there; a test without its tool says so, or fails where it is required.
fn have(tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(tool).exists()));
    let required = std::env::var("DEPLOY_TEST_REQUIRE").unwrap_or_default();
    assert!(
        found || !required.split(',').any(|name| name == tool),
        "{tool} is required and missing"
    );
    if !found {
        eprintln!("skipped: no {tool}");
    }
    found
}

#[test]
fn gnu_tar_in_all_its_formats() {
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        check_tool(&["tar", "-cf-", "--format", format, "."]);
    }
    check_tool(&["tar", "-cf-", "--label", "web r2431", "-b", "2048", "."]);
    check_tool(&["tar", "-cf-", "--format", "pax", "--xattrs", "--acls", "."]);
    check_tool(&[
        "tar",
        "-cf-",
        "--sort=name",
        "--owner=root:0",
        "--numeric-owner",
        ".",
    ]);
}

#[test]
fn gnu_tars_ustar_and_v7_with_short_names() {
    for format in ["ustar", "v7"] {
        let place = Place::new();
        let packed = place.path("packed");
        fs::create_dir_all(packed.join("a/b")).expect("a fresh directory");
        fs::write(packed.join("a/b/c"), "body").expect("space");
        let tar = output(&["tar", "-cf-", "--format", format, "."], &packed, b"");
        let unpacked = place.outcome(&place.unpack(&gzip(&tar), &[]));
        assert_eq!(unpacked, tree(&packed), "{format}");
    }
}

#[test]
fn gnu_tars_sparse_files_are_refused() {
    for (arguments, what) in [
        (&["--format=gnu"][..], "GNU"),
        (&["--format=pax", "--sparse-version=0.0"], "PAX"),
        (&["--format=pax", "--sparse-version=0.1"], "PAX"),
        (&["--format=pax", "--sparse-version=1.0"], "PAX"),
    ] {
        let place = Place::new();
        let packed = place.path("packed");
        fs::create_dir(&packed).expect("a fresh directory");
        let file = fs::File::create(packed.join("holes")).expect("a fresh name");
        file.set_len(1 << 20).expect("a hole");
        let command = [&["tar", "-cSf-", "."], arguments].concat();
        let tar = output(&command, &packed, b"");
        let outcome = place.outcome(&place.unpack(&gzip(&tar), &[]));
        let why = format!("it is a sparse file ({what}); pack it without --sparse");
        assert!(outcome.ends_with(&why), "{outcome}");
    }
}

#[test]
fn pythons_tarfile_in_all_its_formats() {
    for format in ["GNU_FORMAT", "PAX_FORMAT"] {
        let script = format!(
            "import sys, tarfile\n\
             with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.{format}) as t:\n\
             \u{20}   t.add('.')\n"
        );
        check_tool(&["python3", "-c", &script]);
    }
}

#[test]
fn bsdtar_in_all_its_formats() {
    if !have("bsdtar") {
        return;
    }
    for format in ["gnutar", "pax", "rpax"] {
        check_tool(&["bsdtar", "-cf-", "--format", format, "."]);
    }
}

#[test]
fn busybox_tar() {
    if have("busybox") {
        check_tool(&["busybox", "tar", "-cf-", "."]);
    }
}

#[test]
fn compressors() {
    for compressor in ["gzip", "zstd", "pigz"] {
        if !have(compressor) {
            continue;
        }
        let place = Place::new();
        let packed = place.path("packed");
        fs::create_dir(&packed).expect("a fresh directory");
        make_tree(&packed);
        let tar = output(&["tar", "-cf-", "."], &packed, b"");
        let archive = output(&[compressor, "-c"], &packed, &tar);
        let unpacked = place.outcome(&place.unpack(&archive, &[]));
        assert_eq!(unpacked, tree(&packed), "{compressor}");
    }
}

#[test]
fn git_archive() {
    let place = Place::new();
    let packed = place.path("packed");
    fs::create_dir(&packed).expect("a fresh directory");
    make_tree(&packed);
    let git = |arguments: &[&str]| {
        let who = [
            "git",
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=m",
        ];
        output(&[&who, arguments].concat(), &packed, b"")
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "x"]);
    let archive = git(&["archive", "--format=tar.gz", "--prefix=web/", "HEAD"]);
    let unpacked = place.outcome(&place.unpack(&archive, &[]));
    assert!(unpacked.contains("f755 web/bin/run 10\n"), "{unpacked}");
    assert!(
        unpacked.contains("l web/bin/python -> /usr/bin/python3\n"),
        "{unpacked}"
    );
}

#[test]
fn npm_pack() {
    if !have("npm") {
        return;
    }
    let place = Place::new();
    let packed = place.path("packed");
    fs::create_dir(&packed).expect("a fresh directory");
    make_tree(&packed);
    fs::write(
        packed.join("package.json"),
        r#"{"name":"web","version":"1.0.0"}"#,
    )
    .expect("space");
    output(
        &["npm", "pack", "--silent", "--ignore-scripts"],
        &packed,
        b"",
    );
    let archive = fs::read(packed.join("web-1.0.0.tgz")).expect("npm made it");
    let unpacked = place.outcome(&place.unpack(&archive, &[]));
    assert!(
        unpacked.contains("f644 package/package.json 32\n"),
        "{unpacked}"
    );
}

#[test]
fn cargo_package() {
    let place = Place::new();
    let packed = place.path("packed");
    fs::create_dir(&packed).expect("a fresh directory");
    make_tree(&packed);
    fs::create_dir(packed.join("src")).expect("a fresh directory");
    fs::write(packed.join("src/lib.rs"), "").expect("space");
    let manifest = "[package]\nname = \"web\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
         include = [\"src\", \"bin/run\", \"lib\"]\n[workspace]\n";
    fs::write(packed.join("Cargo.toml"), manifest).expect("space");
    let command = ["cargo", "package", "--offline", "--no-verify", "--quiet"];
    let target = ["--target-dir", "made", "--allow-dirty"];
    output(&[&command[..], &target].concat(), &packed, b"");
    let archive = fs::read(packed.join("made/package/web-1.0.0.crate")).expect("cargo made it");
    let unpacked = place.outcome(&place.unpack(&archive, &[]));
    assert!(
        unpacked.contains("f755 web-1.0.0/bin/run 10\n"),
        "{unpacked}"
    );
    assert!(
        unpacked.contains("f644 web-1.0.0/src/lib.rs 0\n"),
        "{unpacked}"
    );
}

#[test]
fn the_tar_crate_as_cargo_uses_it() {
    let place = Place::new();
    let packed = place.path("packed");
    fs::create_dir(&packed).expect("a fresh directory");
    make_tree(&packed);
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder
        .append_dir_all("web", &packed)
        .expect("it is readable");
    let archive = gzip(&builder.into_inner().expect("memory takes everything"));
    let unpacked = place.outcome(&place.unpack(&archive, &[]));
    // It knows no hard links.
    assert!(unpacked.contains("f755 web/bin/again 10\n"), "{unpacked}");
    assert!(
        unpacked.contains("f644 web/lib/big 1000000\n"),
        "{unpacked}"
    );
}
