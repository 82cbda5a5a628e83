// SPDX-License-Identifier: Apache-2.0
//! Cells of Arrow arrays as JSON. Not by the `arrow-json` crate: it would bring Arrow's casts and comparisons, which take four
//! minutes of one core to build.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::Array;
use arrow_schema::{DataType, Field, TimeUnit};
use serde_json::{json, Number, Value};

/// What keeps a column from being read: "column \"image\" is of the type Interval(DayTime)".
pub fn unreadable(field: &Field) -> Option<String> {
    kind(field.data_type()).map(|kind| format!("its column \"{}\" is of the type {kind}", field.name()))
}

/// The type within `data_type` that `value` has no arm for.
fn kind(data_type: &DataType) -> Option<String> {
    use DataType::*;
    match data_type {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float16 | Float32 | Float64 => None,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => None,
        Utf8 | LargeUtf8 | Utf8View | Date32 | Date64 | Timestamp(_, _) => None,
        List(inner) | LargeList(inner) | FixedSizeList(inner, _) => kind(inner.data_type()),
        Struct(fields) => fields.iter().find_map(|field| kind(field.data_type())),
        Dictionary(_, values) => kind(values),
        other => Some(other.to_string()),
    }
}

/// A number that is not finite has no JSON.
fn real(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// 0.1 stays 0.1 and does not become 0.10000000149.
pub fn shortest(value: f32) -> Value {
    real(value.to_string().parse().unwrap_or(f64::NAN))
}

fn time<T: ArrowTemporalType>(array: &dyn Array, row: usize) -> Value
where
    i64: From<T::Native>,
{
    array.as_primitive::<T>().value_as_datetime(row).map_or(Value::Null, |time| Value::from(time.format("%Y-%m-%dT%H:%M:%S%.f").to_string()))
}

/// Some writers keep text in columns of bytes. What is no text is told by its size alone: nothing reads it as one.
pub fn bytes(cell: &[u8]) -> Value {
    std::str::from_utf8(cell).map_or_else(|_| json!({ "bytes": cell.len() }), Value::from)
}

fn list(array: &dyn Array) -> Value {
    Value::Array((0..array.len()).map(|row| value(array, row)).collect())
}

/// The cell of `array` at `row`; types that `unreadable` names are null.
pub fn value(array: &dyn Array, row: usize) -> Value {
    use DataType::*;
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        Boolean => Value::from(array.as_boolean().value(row)),
        Int8 => Value::from(array.as_primitive::<Int8Type>().value(row)),
        Int16 => Value::from(array.as_primitive::<Int16Type>().value(row)),
        Int32 => Value::from(array.as_primitive::<Int32Type>().value(row)),
        Int64 => Value::from(array.as_primitive::<Int64Type>().value(row)),
        UInt8 => Value::from(array.as_primitive::<UInt8Type>().value(row)),
        UInt16 => Value::from(array.as_primitive::<UInt16Type>().value(row)),
        UInt32 => Value::from(array.as_primitive::<UInt32Type>().value(row)),
        UInt64 => Value::from(array.as_primitive::<UInt64Type>().value(row)),
        Float16 => shortest(array.as_primitive::<Float16Type>().value(row).to_f32()),
        Float32 => shortest(array.as_primitive::<Float32Type>().value(row)),
        Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        Utf8 => Value::from(array.as_string::<i32>().value(row)),
        LargeUtf8 => Value::from(array.as_string::<i64>().value(row)),
        Utf8View => Value::from(array.as_string_view().value(row)),
        Binary => bytes(array.as_binary::<i32>().value(row)),
        LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        BinaryView => bytes(array.as_binary_view().value(row)),
        FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        Date32 => time::<Date32Type>(array, row),
        Date64 => time::<Date64Type>(array, row),
        Timestamp(TimeUnit::Second, _) => time::<TimestampSecondType>(array, row),
        Timestamp(TimeUnit::Millisecond, _) => time::<TimestampMillisecondType>(array, row),
        Timestamp(TimeUnit::Microsecond, _) => time::<TimestampMicrosecondType>(array, row),
        Timestamp(TimeUnit::Nanosecond, _) => time::<TimestampNanosecondType>(array, row),
        List(_) => list(&array.as_list::<i32>().value(row)),
        LargeList(_) => list(&array.as_list::<i64>().value(row)),
        FixedSizeList(_, _) => list(&array.as_fixed_size_list().value(row)),
        Struct(fields) => {
            let columns = array.as_struct().columns();
            Value::Object(fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value(column, row))).collect())
        }
        Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let key = value(dictionary.keys(), row).as_u64().unwrap_or(0);
            value(dictionary.values(), key as usize)
        }
        _ => Value::Null,
    }
}
