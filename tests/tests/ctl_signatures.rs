//! `build add` looks at the signature beside an archive.

mod ctl_rig;

use ctl_rig::Rig;
use deploy_core::artifact::Digest;
use sha2::{Digest as _, Sha256};
use tests::minisign::{Key, Kind};

const ARCHIVE: &[u8] = b"an archive";

#[tokio::test]
async fn a_build_is_registered_with_the_key_that_signed_it() {
    let Some(key) = Key::make() else { return };
    let Some(rig) = Rig::start("signatures").await else {
        return;
    };
    rig.ctl("init").await.is(0);
    let file = rig.file("r2.tar.gz", ARCHIVE);
    let digest = Digest::from_bytes(&Sha256::digest(ARCHIVE).into());
    let add = format!("build add web r2 --url https://b/r2 --file {file}");

    rig.file("r2.tar.gz.minisig", b"<html>");
    let said = rig.ctl(&add).await.is(2);
    said.says(&["is not a signature of minisign", "tip: minisign -Sm"]);
    let other = key.sign(
        ARCHIVE,
        &format!("service:web build:r1 sha256:{digest}"),
        Kind::Hashed,
    );
    rig.file("r2.tar.gz.minisig", other.as_bytes());
    let said = rig.ctl(&add).await.is(2);
    said.says(&["is not for build r2 of web", "build:r1"]);

    let comment = format!("service:web build:r2 sha256:{digest}");
    let signature = key.sign(ARCHIVE, &comment, Kind::Hashed);
    rig.file("r2.tar.gz.minisig", signature.as_bytes());
    // minisign writes the key's number into its comment, without zeros before it.
    let public = std::fs::read_to_string(key.public()).expect("it was made");
    let number = public
        .lines()
        .next()
        .and_then(|line| line.split(' ').next_back());
    let number = format!("{:0>16}", number.expect("a key has a number"));
    rig.ctl(&add)
        .await
        .is(0)
        .says(&[&format!("signed by key {number}")]);
    rig.ctl("build show web r2")
        .await
        .is(0)
        .prints(&[&format!("key {number}")]);
}
