//! Addresses as they are typed.

use super::Address;

#[track_caller]
fn check(text: &str, expected: &str) {
    let shown = match Address::parse(text) {
        Ok(address) => address.shown(),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn an_address_has_defaults_for_the_port_and_the_root() {
    check("zk1", "zk1:2181/deploy");
    check("zk1,zk2:2182, zk3", "zk1:2181,zk2:2182,zk3:2181/deploy");
    check("zk1/staging/deploy", "zk1:2181/staging/deploy");
    check("zk1/", "zk1:2181/deploy");
    check("[::1]", "[::1]:2181/deploy");
    check("[::1]:2182/x", "[::1]:2182/x");
    check(
        "",
        "error: no ZooKeeper server is named; expected host:port",
    );
    check(
        "/deploy",
        "error: no ZooKeeper server is named; expected host:port",
    );
    check("zk1:0", "error: \"zk1:0\" is not host:port");
    check(
        "zk1//x",
        "error: `//x` is not a root znode: an absolute path like `/deploy` is wanted",
    );
}
