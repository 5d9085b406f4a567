//! `deployd fetch` over TLS: whom it trusts, and that it tries only once where it doesn't.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tests::archives::{deployd, names};
use tests::eventually::eventually;
use tests::proxy::Proxy;
use tests::{missing, ports, spawn_tied};

const BODY: &str = "hello";
/// The digest of it.
const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
/// How long anything may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A server with a certificate of an authority of its own.
struct Secure {
    dir: TempDir,
    child: Child,
    /// Counts connections.
    proxy: Proxy,
}

impl Secure {
    /// Starts one whose certificate is for `name`, and good for so many days; `None`, aloud, where
    /// there is no openssl.
    fn start(name: &str, days: &str) -> Option<Secure> {
        Self::start_at(&format!("127.0.0.1:{}", ports::free()), name, days)
    }

    fn start_at(address: &str, name: &str, days: &str) -> Option<Secure> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        if Command::new("openssl").arg("version").output().is_err() {
            missing("openssl", "it can't be run (Debian: openssl)");
            return None;
        }
        let make = |line: &str| openssl(dir.path(), line);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        make(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
        ));
        make(&format!(
            "req {key} -keyout key -out request -subj /CN=builds"
        ));
        fs::write(dir.path().join("names"), format!("subjectAltName={name}\n")).expect("space");
        make(&format!(
            "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} \
             -extfile names -out pem"
        ));
        fs::write(dir.path().join("file"), BODY).expect("space");
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-quiet", "-cert", "pem", "-key", "key", "-WWW"])
            .args(["-accept", address])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = spawn_tied(command);
        eventually("the server listens", LIMIT, || {
            TcpStream::connect(address).map(drop)
        });
        let (_, port) = address.rsplit_once(':').expect("it has a port");
        let proxy = Proxy::start(port.parse().expect("a number"));
        Some(Secure { dir, child, proxy })
    }

    /// Fetches from it, and trusts its authority, too, where that is said.
    fn fetch(&self, authority: Option<&str>) -> Output {
        self.fetch_from(&format!("https://{}/file", self.proxy.address()), authority)
    }

    fn fetch_from(&self, url: &str, authority: Option<&str>) -> Output {
        let mut command = deployd();
        if let Some(name) = authority {
            command.env("SSL_CERT_FILE", self.dir.path().join(name));
        }
        command
            .args(["fetch", url])
            .arg(self.dir.path().join("fetched/file"))
            .args(["--sha256", SHA256, "--size", "5"]);
        let fetched = self.dir.path().join("fetched");
        fs::create_dir_all(fetched).expect("space");
        command.output().expect("deployd starts")
    }

    /// Asserts that it is not trusted, for this reason, and asked once.
    #[track_caller]
    fn is_refused(&self, authority: Option<&str>, why: &str) {
        let output = self.fetch(authority);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("no trust in the server"), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(self.proxy.accepted(), 1, "{said}");
        assert!(names(&self.dir.path().join("fetched")).is_empty());
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // Fails only if it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(dir: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(dir)
        .output()
        .expect("openssl can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {line}: {said}");
}

#[test]
fn a_server_with_a_good_certificate() {
    let Some(server) = Secure::start("IP:127.0.0.1", "2") else {
        return;
    };
    let output = server.fetch(Some("ca.pem"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let file = fs::read_to_string(server.dir.path().join("fetched/file"));
    assert_eq!(file.expect("it was fetched"), BODY);
}

#[test]
fn a_redirect_from_http_leads_to_whom_one_trusts() {
    // Only where both have their own port it is the same server: an address that nobody else has.
    let plain = match TcpListener::bind("127.80.44.3:80") {
        Ok(plain) => plain,
        Err(error) => return missing("root", &format!("nothing can listen on port 80: {error}")),
    };
    let Some(server) = Secure::start_at("127.80.44.3:443", "IP:127.80.44.3", "2") else {
        return;
    };
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().expect("deployd asks");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).expect("a request");
        let answer =
            "HTTP/1.1 302 Found\r\nLocation: https://127.80.44.3/file\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("it is sent");
    });
    let output = server.fetch_from("http://127.80.44.3/file", Some("ca.pem"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(names(&server.dir.path().join("fetched")), ["file"]);
}

#[test]
fn an_authority_that_nobody_knows() {
    if let Some(server) = Secure::start("IP:127.0.0.1", "2") {
        server.is_refused(None, "UnknownIssuer");
    }
}

#[test]
fn a_certificate_of_another_name() {
    if let Some(server) = Secure::start("DNS:other.example", "2") {
        server.is_refused(Some("ca.pem"), "other.example");
    }
}

#[test]
fn a_certificate_that_has_expired() {
    if let Some(server) = Secure::start("IP:127.0.0.1", "-1") {
        server.is_refused(Some("ca.pem"), "xpired");
    }
}
