// SPDX-License-Identifier: Apache-2.0
//! Rows of a Parquet file as JSON, some at a time, by the `parquet` crate's record reader.

use crate::{error, Fault, RowFile};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;

pub struct Rows {
    rows: RowIter<'static>,
    failure: Option<String>,
}

impl Rows {
    /// The reader, and {"rows": n, "columns": [names]}.
    pub fn open(path: &str) -> Result<(Self, Vec<u8>), Fault> {
        let file = std::fs::File::open(path).map_err(error)?;
        let reader = SerializedFileReader::new(file).map_err(error)?;
        let facts = reader.metadata().file_metadata();
        let columns: Vec<&str> = facts.schema().get_fields().iter().map(|field| field.name()).collect();
        let described = serde_json::json!({ "rows": facts.num_rows(), "columns": columns }).to_string().into_bytes();
        Ok((Self { rows: RowIter::from_file_into(Box::new(reader)), failure: None }, described))
    }
}

impl RowFile for Rows {
    /// Rows before a damaged page come first, then its message.
    fn next(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        if let Some(message) = self.failure.take() {
            return Err(error(message));
        }
        let mut lines = Vec::new();
        for row in self.rows.by_ref().take(count) {
            match row {
                Ok(row) => {
                    serde_json::to_writer(&mut lines, &row.to_json_value()).map_err(error)?;
                    lines.push(b'\n');
                }
                Err(problem) if lines.is_empty() => return Err(error(problem)),
                Err(problem) => {
                    self.failure = Some(problem.to_string());
                    break;
                }
            }
        }
        Ok(lines)
    }
}
