//! Writes znodes larger than any client of ours would: the protocol, byte by byte.

use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What the server calls a write.
const SET_DATA: i32 = 5;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Writes a znode that exists, with a session of its own; returns the server's error number, 0 for
/// none.
///
/// # Errors
/// Where the server hangs up, as it does on what is too large for it.
pub fn set(port: u16, path: &str, data: &[u8]) -> Result<i32> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // Version, last transaction, session timeout in milliseconds, session, password.
    let mut hello = [0; 12].to_vec();
    hello.extend(4000_i32.to_be_bytes());
    hello.extend([0; 8]);
    hello.extend(buffer(&[0; 16]));
    stream.write_all(&buffer(&hello))?;
    answer(&mut stream)?;
    let mut request = [1_i32.to_be_bytes(), SET_DATA.to_be_bytes()].concat();
    request.extend(buffer(path.as_bytes()));
    request.extend(buffer(data));
    // Of whatever version.
    request.extend((-1_i32).to_be_bytes());
    stream.write_all(&buffer(&request))?;
    // Its number, the transaction, the error.
    let answer = answer(&mut stream)?;
    let error = answer.get(12..16).and_then(|word| word.try_into().ok());
    Ok(error.map_or(-1, i32::from_be_bytes))
}

fn buffer(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).expect("tests send less than 2 GiB");
    [&length.to_be_bytes(), bytes].concat()
}

fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::try_from(i32::from_be_bytes(length)).unwrap_or(0);
    let mut answer = Vec::new();
    stream.take(length).read_to_end(&mut answer)?;
    Ok(answer)
}
