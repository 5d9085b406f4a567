//! As much of ZooKeeper's protocol as the bench needs: sessions that cost nearly nothing, so that what
//! is measured is the server and the agents.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What a session asks the server for; with its default settings it grants this much.
pub(in crate::bench) const SESSION_TIME: Duration = Duration::from_secs(40);
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Larger than any answer to what is asked here.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// `xid` of an event of a watch.
pub(in crate::bench) const EVENT: i32 = -1;
const PING_XID: i32 = -2;
const GET: i32 = 4;
const SET: i32 = 5;
const PING: i32 = 11;

/// Whether a request also arms a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Watch {
    /// It does.
    Armed,
    /// It only reads.
    None,
}

/// A session, asked one thing at a time.
#[derive(Debug)]
pub(in crate::bench) struct Session {
    /// The connection.
    pub(in crate::bench) stream: TcpStream,
}

/// The head of an answer, and what follows.
#[derive(Debug)]
pub(in crate::bench) struct Answer {
    /// Which request it belongs to.
    pub(in crate::bench) xid: i32,
    /// 0, or what is wrong.
    pub(in crate::bench) error: i32,
    /// The rest.
    pub(in crate::bench) rest: Vec<u8>,
}

impl Session {
    /// Begins a session.
    pub(in crate::bench) fn connect(address: SocketAddr) -> Result<Session> {
        let mut stream = TcpStream::connect(address).context("failed to connect to ZooKeeper")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        let timeout = i32::try_from(SESSION_TIME.as_millis())?;
        let mut body = Vec::new();
        // Version of the protocol, last transaction seen, timeout, session, password.
        body.extend(0_i32.to_be_bytes());
        body.extend(0_i64.to_be_bytes());
        body.extend(timeout.to_be_bytes());
        body.extend(0_i64.to_be_bytes());
        bytes(&mut body, &[0; 16]);
        body.push(0);
        stream.write_all(&framed(&body))?;
        let answer = read_frame(&mut stream)?;
        if answer.get(4..8) == Some(&[0; 4]) || answer.len() < 16 {
            bail!("ZooKeeper gave no session");
        }
        Ok(Session { stream })
    }

    /// Sends a request, and returns its answer; events and answers to pings in between are dropped.
    pub(in crate::bench) fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        loop {
            let answer = parse(&read_frame(&mut self.stream)?)?;
            if answer.xid >= 0 {
                return Ok(answer);
            }
        }
    }

    /// Returns the data of a znode.
    pub(in crate::bench) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let answer = self.ask(&get(1, path, Watch::None))?;
        if answer.error != 0 {
            bail!("ZooKeeper says {} to reading {path}", answer.error);
        }
        let length = answer.rest.first_chunk().context("no data in an answer")?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let data = answer.rest.get(4..4 + length);
        Ok(data.context("an answer is cut")?.to_vec())
    }

    /// Replaces the data of a znode, and returns when ZooKeeper has said that it is done.
    pub(in crate::bench) fn set(&mut self, path: &str, data: &[u8]) -> Result<()> {
        let mut body = head(1, SET);
        bytes(&mut body, path.as_bytes());
        bytes(&mut body, data);
        body.extend((-1_i32).to_be_bytes());
        match self.ask(&framed(&body))?.error {
            0 => Ok(()),
            error => bail!("ZooKeeper says {error} to writing {path}"),
        }
    }
}

/// A request: what is in a znode?
pub(in crate::bench) fn get(xid: i32, path: &str, watch: Watch) -> Vec<u8> {
    let mut body = head(xid, GET);
    bytes(&mut body, path.as_bytes());
    body.push(u8::from(watch == Watch::Armed));
    framed(&body)
}

/// A request that keeps the session alive.
pub(in crate::bench) fn ping() -> Vec<u8> {
    framed(&head(PING_XID, PING))
}

/// Takes a whole frame off the front of what was received.
pub(in crate::bench) fn take_frame(received: &mut Vec<u8>) -> Result<Option<Answer>> {
    let Some(length) = received.first_chunk() else {
        return Ok(None);
    };
    let end = 4 + frame_length(*length)?;
    if received.len() < end {
        return Ok(None);
    }
    let answer = parse(&received[4..end]);
    received.drain(..end);
    answer.map(Some)
}

fn head(xid: i32, kind: i32) -> Vec<u8> {
    [xid.to_be_bytes(), kind.to_be_bytes()].concat()
}

fn bytes(body: &mut Vec<u8>, data: &[u8]) {
    let length = i32::try_from(data.len()).expect("nothing that is sent here is so long");
    body.extend(length.to_be_bytes());
    body.extend(data);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 4);
    bytes(&mut frame, body);
    frame
}

fn frame_length(length: [u8; 4]) -> Result<usize> {
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        bail!("ZooKeeper sent something odd");
    }
    Ok(length)
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("no answer")?;
    let mut body = vec![0; frame_length(length)?];
    stream.read_exact(&mut body).context("no answer")?;
    Ok(body)
}

fn parse(body: &[u8]) -> Result<Answer> {
    let field = |at: usize| -> Result<i32> {
        let field = body.get(at..).and_then(|rest| rest.first_chunk());
        Ok(i32::from_be_bytes(*field.context("an answer is cut")?))
    };
    // Between the two is the transaction.
    Ok(Answer {
        xid: field(0)?,
        error: field(12)?,
        rest: body[16..].to_vec(),
    })
}
