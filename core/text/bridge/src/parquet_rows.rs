// SPDX-License-Identifier: Apache-2.0
//! Rows of a Parquet file as JSON, some at a time, by the `parquet` crate's record reader.
//!
//! ```text
//! PAR1 | row group 1: a chunk of pages for each column | row group 2 | … | footer: columns, types, places of the chunks | its size | PAR1
//! ```
//! Row groups are read one by one, so a damaged page costs the rows of its group behind it and no others. Without a footer nothing tells what the
//! pages are: such a file gives no rows.

use crate::parquet_values::object;
use crate::{caught, error, Fault, RowFile};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

const MAGIC: &[u8; 4] = b"PAR1";

pub struct Rows {
    reader: SerializedFileReader<File>,
    /// The one that is being read, and the number of the next.
    group: Option<ReaderIter>,
    next_group: usize,
    /// Rows of the groups before `next_group`.
    end: i64,
    position: i64,
    /// What ends the group early.
    failure: Option<String>,
}

/// What the first and the last bytes say.
fn check_ends(file: &mut File) -> Result<(), Fault> {
    let size = file.metadata().map_err(error)?.len();
    let mut first = [0; 4];
    let mut last = [0; 4];
    if size < 12 || file.read_exact(&mut first).is_err() || &first != MAGIC {
        return Err(error("it does not begin with PAR1"));
    }
    file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut last)).map_err(error)?;
    if &last == MAGIC {
        return Ok(());
    }
    Err(error(format!("it is cut off at byte {size}, before its footer, and without the footer nothing tells its columns and where their rows lie")))
}

/// Where the column chunks of a group lie.
fn extent(group: &RowGroupMetaData) -> (u64, u64) {
    let ranges = || group.columns().iter().map(|column| column.byte_range());
    (ranges().map(|(begin, _)| begin).min().unwrap_or(0), ranges().map(|(begin, size)| begin + size).max().unwrap_or(0))
}

impl Rows {
    /// The reader, and {"rows": n, "columns": [names], "huggingface": what the `datasets` library says of them}.
    pub fn open(path: &str) -> Result<(Self, Vec<u8>), Fault> {
        let mut file = File::open(path).map_err(error)?;
        check_ends(&mut file)?;
        let reader = SerializedFileReader::new(file).map_err(|problem| error(format!("its footer is damaged ({problem})")))?;
        let facts = reader.metadata().file_metadata();
        let columns: Vec<&str> = facts.schema().get_fields().iter().map(|field| field.name()).collect();
        let about = facts.key_value_metadata().and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface")).and_then(|pair| pair.value.clone());
        let described = serde_json::json!({ "rows": facts.num_rows(), "columns": columns, "huggingface": about }).to_string().into_bytes();
        Ok((Self { reader, group: None, next_group: 0, end: 0, position: 0, failure: None }, described))
    }

    /// The group that is read now; None behind the last.
    fn open_group(&mut self) -> Result<Option<ReaderIter>, String> {
        if self.group.is_some() || self.next_group == self.reader.num_row_groups() {
            return Ok(self.group.take());
        }
        self.next_group += 1;
        let facts = self.reader.metadata();
        self.end += facts.row_group(self.next_group - 1).num_rows();
        let schema = facts.file_metadata().schema_descr_ptr();
        let opened = caught(|| TreeBuilder::new().as_iter(schema, self.reader.get_row_group(self.next_group - 1)?.as_ref()))?;
        opened.map(Some).map_err(|problem| problem.to_string())
    }

    /// The first column with a page that cannot be read, and where its pages begin.
    fn damaged_column(&self) -> Option<String> {
        let group = self.reader.get_row_group(self.next_group - 1).ok()?;
        (0..group.num_columns()).find_map(|index| {
            let read = || group.get_column_page_reader(index)?.try_for_each(|page| page.map(|_| ()));
            let column = group.metadata().column(index);
            let words = || format!("column \"{}\", which begins at byte {}", column.column_path().string(), column.byte_range().0);
            if caught(read).is_ok_and(|read| read.is_ok()) { None } else { Some(words()) }
        })
    }

    /// Leaves the group that was opened last, with its rows from `position` on.
    fn lose(&mut self, problem: String) -> Fault {
        let group = self.reader.metadata().row_group(self.next_group - 1);
        let (begin, end) = extent(group);
        let column = self.damaged_column().map_or(String::new(), |column| format!("{column}: "));
        let number = self.next_group;
        let first = self.position + 1;
        self.position = self.end;
        error(format!("row group {number} (bytes {begin} to {end}) is damaged and its rows {first} to {} are lost ({column}{problem})", self.end))
    }

    /// Adds some rows to `lines`; false behind the group's last.
    fn read(&mut self, group: &mut ReaderIter, count: usize, lines: &mut Vec<u8>) -> Result<bool, String> {
        for _ in 0..count {
            let Some(row) = caught(|| group.next())? else { return Ok(false) };
            let row = object(&row.map_err(|problem| problem.to_string())?);
            serde_json::to_writer(&mut *lines, &row).map_err(|problem| problem.to_string())?;
            lines.push(b'\n');
            self.position += 1;
        }
        Ok(true)
    }
}

impl RowFile for Rows {
    /// Rows before a damaged page come first, then its message.
    fn next(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        if let Some(problem) = self.failure.take() {
            return Err(self.lose(problem));
        }
        let mut lines = Vec::new();
        while lines.is_empty() {
            let mut group = match self.open_group() {
                Ok(Some(group)) => group,
                Ok(None) => break,
                Err(problem) => return Err(self.lose(problem)),
            };
            match self.read(&mut group, count, &mut lines) {
                Ok(has_more) => self.group = has_more.then_some(group),
                Err(problem) if lines.is_empty() => return Err(self.lose(problem)),
                Err(problem) => self.failure = Some(problem),
            }
        }
        Ok(lines)
    }

    fn position(&self) -> i64 {
        self.position
    }
}
