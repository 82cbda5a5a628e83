// SPDX-License-Identifier: Apache-2.0
//! Rows of an Arrow file as JSON, one record batch at a time: what the `datasets` library keeps in its cache and `save_to_disk` writes
//! (the streaming format), and the file format, which is the same stream behind eight bytes of magic.
//!
//! ```text
//! message  FFFFFFFF | u32 size of the header | header (flatbuffer, tells the size of its body) | body
//! ```
//! The messages are walked once before anything is read, which gives the count of rows, lets rows be passed over unread, and finds where a
//! file was cut off: no size that a damaged file claims is ever allocated.

use crate::{error, Fault, RowFile};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{root_as_message, MessageHeader};
use arrow_json::writer::{LineDelimited, WriterBuilder};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Take};

const MAGIC: &[u8] = b"ARROW1\0\0";
const CONTINUATION: u32 = u32::MAX;

pub struct Rows {
    batches: StreamReader<Take<BufReader<File>>>,
    /// What ends the rows early.
    failure: Option<String>,
}

/// What a walk over the messages shows.
#[derive(Default)]
struct Extent {
    end: u64,
    rows: i64,
    cut: Option<String>,
}

fn read_u32(file: &mut BufReader<File>) -> Option<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).ok().map(|()| u32::from_le_bytes(bytes))
}

fn walk(file: &mut BufReader<File>, begin: u64, size: u64) -> Result<Extent, Fault> {
    let mut extent = Extent { end: begin, ..Extent::default() };
    loop {
        file.seek(SeekFrom::Start(extent.end)).map_err(error)?;
        if extent.end == size {
            return Ok(extent);
        }
        let cut = |extent: Extent| {
            let words = format!("the file is cut off or damaged at byte {}", extent.end);
            Ok(Extent { cut: Some(words), ..extent })
        };
        let Some(mut header) = read_u32(file) else { return cut(extent) };
        let mut head = 4;
        if header == CONTINUATION {
            let Some(next) = read_u32(file) else { return cut(extent) };
            header = next;
            head = 8;
        }
        if header == 0 {
            return Ok(extent);
        }
        if u64::from(header) > size - extent.end {
            return cut(extent);
        }
        let mut bytes = vec![0; header as usize];
        if file.read_exact(&mut bytes).is_err() {
            return cut(extent);
        }
        let Ok(message) = root_as_message(&bytes) else { return cut(extent) };
        let body = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
        let begin_of_body = extent.end + head + u64::from(header);
        if body > size.saturating_sub(begin_of_body) {
            return cut(extent);
        }
        if message.header_type() == MessageHeader::RecordBatch {
            extent.rows += message.header_as_record_batch().map_or(0, |batch| batch.length());
        }
        extent.end = begin_of_body + body;
    }
}

impl Rows {
    /// The reader, and {"rows": n, "columns": [names]}; the rows of the whole messages.
    pub fn open(path: &str) -> Result<(Self, Vec<u8>), Fault> {
        let file = File::open(path).map_err(error)?;
        let size = file.metadata().map_err(error)?.len();
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        let begin = if file.read_exact(&mut magic).is_ok() && magic == MAGIC { MAGIC.len() as u64 } else { 0 };
        let extent = walk(&mut file, begin, size)?;
        file.seek(SeekFrom::Start(begin)).map_err(error)?;
        let batches = StreamReader::try_new(file.take(extent.end - begin), None).map_err(|problem| error(extent.cut.clone().unwrap_or(problem.to_string())))?;
        let columns: Vec<String> = batches.schema().fields().iter().map(|field| field.name().clone()).collect();
        let described = serde_json::json!({ "rows": extent.rows, "columns": columns }).to_string().into_bytes();
        Ok((Self { batches, failure: extent.cut }, described))
    }
}

impl RowFile for Rows {
    /// The rows of the next batch. Batches of the `datasets` library have a thousand rows.
    fn next(&mut self, _count: usize) -> Result<Vec<u8>, Fault> {
        loop {
            let Some(batch) = self.batches.next() else { return self.failure.take().map_or(Ok(Vec::new()), |words| Err(error(words))) };
            let batch = batch.map_err(error)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
            writer.write(&batch).map_err(error)?;
            writer.finish().map_err(error)?;
            return Ok(writer.into_inner());
        }
    }
}
