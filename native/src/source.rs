//! Whole lines out of an open file, or out of bytes.

use crate::scan::LINE_LIMIT;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is read at once: what stays in a processor's cache until it has been scanned.
const STEP: usize = 256 << 10;

/// Call `scan` with blocks of whole lines of a file's range; the last line may lack its newline.
///
/// Of a file that has become shorter only the whole lines come.
///
/// # Errors
/// What reading or `scan` gives.
pub fn blocks_of_file<E: From<io::Error>>(
    file: &File,
    mut offset: u64,
    mut length: u64,
    mut scan: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; STEP];
    let mut held = 0; // the beginning of a line, at the start of the buffer
    let mut too_long = false; // and what of it does not fit is passed over
    while length > 0 {
        let room = (STEP - held).min(usize::try_from(length).unwrap_or(STEP));
        let read = match file.read_at(&mut buffer[held..held + room], offset) {
            Ok(0) => return Ok(()), // the file has shrunk, and a line cut short may look like a whole one
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        offset += read as u64;
        length -= read as u64;
        let filled = held + read;
        match memchr::memrchr(b'\n', &buffer[held..filled]) {
            Some(last) => {
                let mut start = 0;
                if too_long {
                    start = memchr::memchr(b'\n', &buffer[held..filled]).map_or(0, |first| held + first);
                    let line = [&buffer[..=LINE_LIMIT], b"\n"].concat();
                    scan(&line)?;
                    start += 1;
                    too_long = false;
                }
                let end = held + last + 1;
                if start < end {
                    scan(&buffer[start..end])?;
                }
                buffer.copy_within(end..filled, 0);
                held = filled - end;
            }
            None if too_long || filled == STEP => {
                too_long = true;
                held = LINE_LIMIT + 1;
            }
            None => held = filled,
        }
    }
    if held > 0 {
        buffer.truncate(held);
        buffer.push(b'\n');
        scan(&buffer)?;
    }
    Ok(())
}

/// Call `scan` with the lines of bytes, the last of which may lack its newline.
///
/// # Errors
/// What `scan` gives.
pub fn blocks_of_bytes<E>(data: &[u8], mut scan: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let end = memchr::memrchr(b'\n', data).map_or(0, |last| last + 1);
    scan(&data[..end])?;
    if end < data.len() {
        scan(&[&data[end..], b"\n"].concat())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(data: &[u8], name: &str) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        File::create(&path).unwrap().write_all(data).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut seen = Vec::new();
        blocks_of_file(&file, 0, data.len() as u64, |block| {
            assert_eq!(block.last(), Some(&b'\n'));
            seen.extend_from_slice(block);
            Ok::<(), io::Error>(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn lines_of_every_length_come_whole() {
        let mut data = Vec::new();
        for length in [0, 1, 100, LINE_LIMIT, STEP / 2, 3, STEP - 2, 7] {
            data.extend(std::iter::repeat(b'x').take(length));
            data.push(b'\n');
        }
        assert_eq!(read(&data, "whole"), data);
        data.pop();
        assert_eq!(read(&data, "unfinished"), [&data[..], b"\n"].concat());
    }

    #[test]
    fn of_a_file_that_has_shrunk_only_whole_lines_come() {
        let path = std::env::temp_dir().join(format!("shrunk-{}", std::process::id()));
        File::create(&path).unwrap().write_all(b"a\nbc").unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut seen = Vec::new();
        blocks_of_file(&file, 0, 10, |block| {
            seen.extend_from_slice(block);
            Ok::<(), io::Error>(())
        })
        .unwrap();
        assert_eq!(seen, b"a\n");
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_comes() {
        for length in [STEP, STEP + 1, 2 * STEP, 3 * STEP - 9] {
            let long = vec![b'x'; length];
            let beginning = &long[..=LINE_LIMIT];
            let data = [b"a\n", &long[..], b"\nb\nc"].concat();
            assert_eq!(read(&data, "long"), [b"a\n", beginning, b"\nb\nc\n"].concat());
            let data = [b"a\n", &long[..]].concat();
            assert_eq!(read(&data, "end"), [b"a\n", beginning, b"\n"].concat());
        }
    }
}
