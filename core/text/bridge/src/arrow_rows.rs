// SPDX-License-Identifier: Apache-2.0
//! Rows of an Arrow file as JSON, one record batch at a time: what the `datasets` library keeps in its cache and `save_to_disk` writes
//! (the streaming format), and the file format, which is the same stream behind eight bytes of magic.
//!
//! ```text
//! message  FFFFFFFF | u32 size of the header | header (flatbuffer, tells the size of its body) | body
//! ```
//! The messages are walked once before anything is read, which gives the count of rows, lets rows be passed over unread, and finds where a
//! file was cut off: no size that a damaged file claims is ever allocated.

use crate::arrow_values::{unreadable, value};
use crate::{error, Fault, RowFile};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{root_as_message, MessageHeader};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Take};

const MAGIC: &[u8] = b"ARROW1\0\0";
const CONTINUATION: u32 = u32::MAX;

pub struct Rows {
    batches: StreamReader<Take<BufReader<File>>>,
    /// The one that is being read, and its next row.
    batch: Option<RecordBatch>,
    row: usize,
    /// Where each batch begins, and the number of the next.
    begins: Vec<u64>,
    next_batch: usize,
    /// What ends the rows early.
    failure: Option<String>,
}

/// What a walk over the messages shows.
#[derive(Default)]
struct Extent {
    end: u64,
    rows: i64,
    batches: Vec<u64>,
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
        let cut = |extent: Extent| {
            let words = format!("the file is cut off or damaged at byte {}", extent.end);
            Ok(Extent { cut: Some(words), ..extent })
        };
        // The writers of both formats end with a mark: a file that ends between two messages is cut off as well.
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
            extent.batches.push(extent.end);
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
        let schema = batches.schema();
        if let Some(words) = schema.fields().iter().find_map(|field| unreadable(field)) {
            return Err(error(words));
        }
        let columns: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let described = serde_json::json!({ "rows": extent.rows, "columns": columns }).to_string().into_bytes();
        Ok((Self { batches, batch: None, row: 0, begins: extent.batches, next_batch: 0, failure: extent.cut }, described))
    }

    /// Moves on to a batch with rows that are not read yet; false behind the last.
    fn advance(&mut self) -> Result<bool, Fault> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            let Some(batch) = self.batches.next() else { return self.failure.take().map_or(Ok(false), |words| Err(error(words))) };
            let begin = self.begins.get(self.next_batch).copied().unwrap_or_default();
            self.batch = Some(batch.map_err(|problem| error(format!("the rows that begin at byte {begin} are damaged ({problem})")))?);
            self.row = 0;
            self.next_batch += 1;
        }
        Ok(true)
    }
}

impl RowFile for Rows {
    fn next(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        let mut lines = Vec::new();
        if !self.advance()? {
            return Ok(lines);
        }
        let Some(batch) = &self.batch else { return Ok(lines) };
        let end = batch.num_rows().min(self.row + count);
        for row in self.row..end {
            let cells: Map<String, Value> = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| (field.name().clone(), value(column, row))).collect();
            serde_json::to_writer(&mut lines, &cells).map_err(error)?;
            lines.push(b'\n');
        }
        self.row = end;
        Ok(lines)
    }
}
