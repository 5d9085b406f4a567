//! Whoever has time does it: with no helper and with several the same must come of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::mem;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::{Jobs, Over};
use crate::host::archive::access::Access;
use crate::host::archive::error::UnpackError;
use crate::host::archive::file::Wanted;
use crate::host::archive::fill::Filler;
use crate::host::archive::name::EntryPath;
use crate::host::archive::stream::Piece;
use crate::host::archive::tree::Place;

const HELPERS: [usize; 4] = [0, 1, 2, 5];

/// Bytes that look the same nowhere within a file.
fn bytes(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|number| (number as u32).to_le_bytes())
        .take(count)
        .collect()
}

/// Gives what it has in pieces, and then this.
struct Archive {
    bytes: Vec<u8>,
    position: usize,
    end: fn() -> io::Result<usize>,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = &self.bytes[self.position..];
        if left.is_empty() {
            return (self.end)();
        }
        let count = left.len().min(buffer.len()).min(40_000);
        buffer[..count].copy_from_slice(&left[..count]);
        self.position += count;
        Ok(count)
    }
}

/// Cuts all that comes into files of these names and sizes, as often as it takes.
fn unpack(
    archive: Archive,
    helpers: usize,
    parent: &Path,
    names: &dyn Fn(usize) -> (String, usize),
) -> Result<(), UnpackError> {
    let parent: Arc<OwnedFd> = Arc::new(fs::File::open(parent).expect("the directory").into());
    let access = Access::new(None).expect("a umask");
    let jobs = Jobs::new(Box::new(archive), access);
    thread::scope(|scope| {
        let _over = Over(&jobs);
        jobs.employ(helpers, scope)?;
        let mut filler = Filler::new(&jobs, access);
        let made = cut(&jobs, &mut filler, &parent, names);
        filler.finish().and(made)
    })
}

fn cut(
    jobs: &Jobs,
    filler: &mut Filler<'_>,
    parent: &Arc<OwnedFd>,
    names: &dyn Fn(usize) -> (String, usize),
) -> Result<(), UnpackError> {
    let mut buffer = Arc::new(Vec::new());
    let mut position = 0;
    for number in 0.. {
        let (name, size) = names(number);
        let path = EntryPath::of_file(name.as_bytes()).map_err(UnpackError::archive)?;
        let place = Place {
            parent: Arc::clone(parent),
            path,
        };
        filler.file(
            Wanted {
                place,
                mode: 0o644,
                modified: None,
            },
            size as u64,
        )?;
        let mut left = size;
        while left > 0 {
            if position == buffer.len() {
                let Some(next) = jobs.inflated(mem::take(&mut buffer))? else {
                    return Ok(());
                };
                buffer = Arc::new(next.map_err(|source| UnpackError::Corrupt { source })?);
                position = 0;
            }
            let count = left.min(buffer.len() - position);
            filler.write(&Piece {
                buffer: &buffer,
                range: position..position + count,
            })?;
            position += count;
            left -= count;
        }
    }
    Ok(())
}

/// Files of all sizes: none, some bytes, and more than several buffers.
fn sizes(number: usize) -> (String, usize) {
    let size = match number % 50 {
        7 => 0,
        13 => 300_000,
        31 => 1_000_003,
        other => other * 17 + number % 7,
    };
    (format!("{number}"), size)
}

/// Some megabytes, in whole buffers, and then this: of a buffer that fails nothing is taken.
fn that_ends_so(end: fn() -> io::Result<usize>) -> Archive {
    Archive {
        bytes: bytes(3 << 20),
        position: 0,
        end,
    }
}

fn whole(bytes: Vec<u8>) -> Archive {
    Archive {
        bytes,
        position: 0,
        end: || Ok(0),
    }
}

#[test]
fn every_file_has_its_bytes() {
    let all = bytes(12_000_000);
    let mut expected = BTreeMap::new();
    let mut position = 0;
    for number in 0.. {
        let (name, size) = sizes(number);
        let end = (position + size).min(all.len());
        expected.insert(name, all[position..end].to_vec());
        position = end;
        if position == all.len() {
            break;
        }
    }
    for helpers in HELPERS {
        let parent = tempfile::tempdir().expect("a directory");
        unpack(whole(all.clone()), helpers, parent.path(), &sizes).expect("all is well");
        let made: BTreeMap<_, _> = fs::read_dir(parent.path())
            .expect("the directory")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name = entry.file_name().into_string().expect("a name");
                (name, fs::read(entry.path()).expect("a file"))
            })
            .collect();
        assert!(
            made.keys().eq(expected.keys()),
            "{helpers} helpers: {} files of {}",
            made.len(),
            expected.len()
        );
        for (name, bytes) in &expected {
            assert!(made[name] == *bytes, "{helpers} helpers: {name}");
        }
    }
}

#[test]
fn the_earliest_failure_is_told() {
    for helpers in HELPERS {
        for first in [3, 500, 4000] {
            let parent = tempfile::tempdir().expect("a directory");
            for taken in [first, first + 1, first + 40, first + 200] {
                fs::write(parent.path().join(taken.to_string()), "here before").expect("a file");
            }
            let names = |number: usize| (number.to_string(), 100);
            let failed = unpack(whole(bytes(1_000_000)), helpers, parent.path(), &names);
            let told = failed.expect_err("the name is taken").to_string();
            assert!(
                told.contains(&format!("\"{first}\"")),
                "{helpers} helpers: {told}"
            );
        }
    }
}

#[test]
fn an_archive_that_cannot_be_inflated_is_told_and_what_comes_before_is_there() {
    for helpers in HELPERS {
        let parent = tempfile::tempdir().expect("a directory");
        let archive = that_ends_so(|| Err(io::Error::other("not what it was")));
        let names = |number: usize| (number.to_string(), 1000);
        let failed = unpack(archive, helpers, parent.path(), &names);
        let told = failed.expect_err("it ends with an error");
        assert!(
            matches!(told, UnpackError::Corrupt { .. }),
            "{helpers} helpers: {told}"
        );
        assert!(parent.path().join("0").exists(), "{helpers} helpers");
    }
}

#[test]
fn nobody_waits_for_who_has_panicked() {
    for helpers in HELPERS {
        let parent = tempfile::tempdir().expect("a directory");
        let archive = that_ends_so(|| panic!("the decoder has a bug"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            unpack(archive, helpers, parent.path(), &|number| {
                (number.to_string(), 1000)
            })
        }));
        assert!(panicked.is_err(), "{helpers} helpers");
    }
}
