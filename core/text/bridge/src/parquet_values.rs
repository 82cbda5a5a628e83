// SPDX-License-Identifier: Apache-2.0
//! Cells of Parquet rows as JSON, alike to those of Arrow arrays.

use crate::arrow_values::{bytes, shortest};
use parquet::record::{Field, Row};
use serde_json::Value;

pub fn value(field: &Field) -> Value {
    match field {
        Field::Float(number) => shortest(*number),
        Field::Bytes(cell) => bytes(cell.data()),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        other => other.to_json_value(),
    }
}

pub fn object(row: &Row) -> Value {
    Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
}
