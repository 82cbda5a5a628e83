// SPDX-License-Identifier: Apache-2.0
//! gzip and zstd, of one member or frame or several, from a file into an open one. Its end is checked: half a download is an error.

use crate::{error, Fault};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

fn reader(mut file: File) -> Result<Box<dyn Read>, Fault> {
    let mut head = [0u8; 4];
    let count = file.read(&mut head).map_err(error)?;
    file.seek(SeekFrom::Start(0)).map_err(error)?;
    match &head[..count] {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)))),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(Box::new(zstd::stream::read::Decoder::new(file).map_err(error)?)),
        _ => Err(error("it is neither gzip nor zstd")),
    }
}

/// `fd` stays the caller's. Gives the bytes written, as text.
pub unsafe fn unpack(path: &str, fd: i32, limit: u64) -> Result<Vec<u8>, Fault> {
    let mut source = reader(File::open(path).map_err(error)?)?;
    let target = ManuallyDrop::new(File::from_raw_fd(fd));
    let mut target = &*target;
    let mut chunk = vec![0u8; 1 << 18];
    let mut total = 0u64;
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(failure) if failure.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(failure) if failure.kind() == std::io::ErrorKind::UnexpectedEof => return Err(error("it ends early, as half a download does")),
            Err(failure) => return Err(error(failure)),
        };
        total += count as u64;
        if total > limit {
            return Err(error(format!("it unpacks to more than {limit} bytes")));
        }
        target.write_all(&chunk[..count]).map_err(|failure| error(format!("what it unpacks to could not be kept: {failure}")))?;
    }
    Ok(total.to_string().into_bytes())
}
