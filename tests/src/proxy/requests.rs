//! Requests of a ZooKeeper client, counted on the wire.

use std::collections::BTreeMap;

const WORD_BYTES: usize = 4;
/// Before the path: the number of the request, and what is asked for.
const HEAD_BYTES: usize = 2 * WORD_BYTES;

/// What asks for the names of the children of a znode: without its stat, and with it.
const LISTS: [i32; 2] = [8, 12];

/// How often each znode was asked for or changed, by what was asked.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<(String, i32), u64>);

impl Requests {
    /// Returns how many were about znodes whose paths begin so.
    pub(super) fn about(&self, prefix: &str) -> u64 {
        self.count(|path, _| path.starts_with(prefix))
    }

    /// Returns how many asked for the names of the children of a znode.
    pub(super) fn lists(&self, wanted: &str) -> u64 {
        self.count(|path, asked| path == wanted && LISTS.contains(&asked))
    }

    fn count(&self, counts: impl Fn(&str, i32) -> bool) -> u64 {
        let all = self.0.iter();
        all.filter(|((path, asked), _)| counts(path, *asked))
            .map(|(_, count)| count)
            .sum()
    }
}

/// What one connection has sent and is not complete yet: messages, each a length and so many bytes.
#[derive(Debug, Default)]
pub(super) struct Stream(Vec<u8>);

impl Stream {
    /// Takes what was sent next, and counts the requests that are complete with it.
    pub(super) fn feed(&mut self, bytes: &[u8], requests: &mut Requests) {
        self.0.extend_from_slice(bytes);
        while let Some(message) = self.message() {
            // Pings, and what opens a session, are about no znode.
            let path = message.get(HEAD_BYTES..).and_then(text);
            if let (Some(path), Some(asked)) = (path, message.get(WORD_BYTES..).and_then(word))
                && path.starts_with('/')
            {
                *requests.0.entry((path, asked)).or_default() += 1;
            }
        }
    }

    fn message(&mut self) -> Option<Vec<u8>> {
        let end = WORD_BYTES + length(&self.0)?;
        if self.0.len() < end {
            return None;
        }
        let message = self.0[WORD_BYTES..end].to_vec();
        self.0.drain(..end);
        Some(message)
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.get(WORD_BYTES..WORD_BYTES + length(bytes)?)?;
    String::from_utf8(text.to_vec()).ok()
}

fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(word(bytes)?).ok()
}

fn word(bytes: &[u8]) -> Option<i32> {
    let word = bytes.get(..WORD_BYTES)?;
    Some(i32::from_be_bytes(word.try_into().ok()?))
}
