// SPDX-License-Identifier: Apache-2.0
//! Rows of an Arrow file as JSON, one record batch at a time: what the `datasets` library keeps in its cache and `save_to_disk` writes
//! (the streaming format), and the file format, which is the same stream behind eight bytes of magic.
//!
//! ```text
//! message  FFFFFFFF | u32 size of the header | header (flatbuffer, tells the size of its body) | body
//! ```
//! The messages are walked once before anything is read, which gives the count of rows, lets rows be passed over unread, and finds where a
//! file was cut off: no size that a damaged file claims is ever allocated. A batch that is damaged within costs its own rows.

use crate::arrow_values::{unreadable, value};
use crate::{caught, error, Fault, RowFile};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{root_as_message, Message, MessageHeader, RecordBatch as BatchHeader};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Take};

const MAGIC: &[u8] = b"ARROW1\0\0";
const CONTINUATION: u32 = u32::MAX;
/// What a column of text with offsets of 32 bits can hold.
const LARGEST_BUFFER: i64 = 1 << 31;

pub struct Rows {
    batches: StreamReader<Take<BufReader<File>>>,
    /// The one that is being read, and its next row.
    batch: Option<RecordBatch>,
    row: usize,
    extent: Extent,
    position: i64,
}

/// What a walk over the messages shows.
#[derive(Default)]
struct Extent {
    end: u64,
    rows: i64,
    batches: Vec<Batch>,
    /// What ends the rows early.
    cut: Option<String>,
}

struct Batch {
    begin: u64,
    /// Rows of the file up to its last.
    end_row: i64,
}

fn read_u32(file: &mut BufReader<File>) -> Option<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).ok().map(|()| u32::from_le_bytes(bytes))
}

/// The buffers of a message with rows or the values of a dictionary.
fn batch_of<'a>(message: &Message<'a>) -> Option<BatchHeader<'a>> {
    message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data())
}

/// A compressed buffer says how large it was, and the library allocates that.
fn claims_too_much(file: &mut BufReader<File>, message: &Message, begin_of_body: u64) -> bool {
    let Some(batch) = batch_of(message).filter(|batch| batch.compression().is_some()) else { return false };
    batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 8).any(|buffer| {
        let mut size = [0; 8];
        let place = u64::try_from(buffer.offset()).ok().and_then(|offset| begin_of_body.checked_add(offset));
        let is_read = place.is_some_and(|place| file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut size)).is_ok());
        !is_read || i64::from_le_bytes(size) > LARGEST_BUFFER
    })
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
        if body > size.saturating_sub(begin_of_body) || claims_too_much(file, &message, begin_of_body) {
            return cut(extent);
        }
        if message.header_type() == MessageHeader::RecordBatch {
            let rows = message.header_as_record_batch().map_or(0, |batch| batch.length().max(0));
            extent.rows = extent.rows.saturating_add(rows);
            extent.batches.push(Batch { begin: extent.end, end_row: extent.rows });
        }
        extent.end = begin_of_body + body;
    }
}

impl Rows {
    /// The reader, and {"rows": n, "columns": [names], "huggingface": what the `datasets` library says of them}; the rows of the whole messages.
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
        let described = serde_json::json!({ "rows": extent.rows, "columns": columns, "huggingface": schema.metadata().get("huggingface") });
        Ok((Self { batches, batch: None, row: 0, extent, position: 0 }, described.to_string().into_bytes()))
    }

    /// Number of the batch that the file stands before.
    fn next_batch(&self) -> usize {
        let place = self.extent.end - self.batches.get_ref().limit();
        self.extent.batches.partition_point(|batch| batch.begin < place)
    }

    /// The rows of a batch that cannot be decoded. A dictionary that cannot be costs all rows behind it: they may use its words.
    fn lose(&mut self, batch: usize, problem: String) -> Fault {
        let lost = self.extent.batches.get(batch).filter(|_| self.next_batch() > batch);
        let words = match lost {
            Some(batch) => format!("the rows {} to {}, which begin at byte {}, are damaged ({problem})", self.position + 1, batch.end_row, batch.begin),
            None => format!("the words that the rows from {} on are made of are damaged ({problem})", self.position + 1),
        };
        self.position = lost.map_or(self.extent.rows, |batch| batch.end_row);
        self.batch = None;
        error(words)
    }

    /// Moves on to a batch with rows that are not read yet; false behind the last.
    fn advance(&mut self) -> Result<bool, Fault> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            if self.position == self.extent.rows {
                return self.extent.cut.take().map_or(Ok(false), |words| Err(error(words)));
            }
            let number = self.next_batch();
            match caught(|| self.batches.next()).and_then(|batch| batch.transpose().map_err(|problem| problem.to_string())) {
                Ok(Some(batch)) => self.batch = Some(batch),
                Ok(None) => return Ok(false),
                Err(problem) => return Err(self.lose(number, problem)),
            }
            self.row = 0;
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
        self.position += (end - self.row) as i64;
        self.row = end;
        Ok(lines)
    }

    fn position(&self) -> i64 {
        self.position
    }
}
