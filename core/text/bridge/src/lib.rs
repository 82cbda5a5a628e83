// SPDX-License-Identifier: Apache-2.0
//! The C side of luthier_text.h. Nothing here but pointers, `catch_unwind` and buffers; the work is in `tokenizer` and `template`.

mod arrow_rows;
mod arrow_values;
mod memory;
mod parquet_rows;
mod parquet_values;
mod pattern;
mod python;
mod template;
mod tokenizer;
mod unpack;
mod yaml;

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

pub const OK: i32 = 0;
pub const ERROR: i32 = 1;
pub const PANIC: i32 = 2;
pub const RAISED: i32 = 3;
pub const SYNTAX: i32 = 4;
pub const LIMIT: i32 = 5;

/// A status of luthier_text.h and a message.
pub struct Fault(pub i32, pub String);

pub fn error<T: ToString>(message: T) -> Fault {
    Fault(ERROR, message.to_string())
}

#[repr(C)]
pub struct LuthierBuffer {
    status: i32,
    data: *mut u8,
    size: usize,
    capacity: usize,
}

fn buffer(status: i32, bytes: Vec<u8>) -> LuthierBuffer {
    let mut bytes = std::mem::ManuallyDrop::new(bytes);
    LuthierBuffer { status, data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() }
}

thread_local! {
    static PANIC_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic becomes a message instead of text on stderr.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            PANIC_WORDS.with(|words| *words.borrow_mut() = info.to_string().replace('\n', " "));
        }))
    });
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| PANIC_WORDS.with(|words| words.take()))
}

fn guarded(work: impl FnOnce() -> Result<Vec<u8>, Fault>) -> LuthierBuffer {
    match caught(work) {
        Ok(Ok(bytes)) => buffer(OK, bytes),
        Ok(Err(Fault(status, message))) => buffer(status, message.into_bytes()),
        Err(words) => buffer(PANIC, words.into_bytes()),
    }
}

unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if count == 0 { &[] } else { std::slice::from_raw_parts(data, count) }
}

unsafe fn text<'a>(data: *const u8, size: usize) -> Result<&'a str, Fault> {
    std::str::from_utf8(slice(data, size)).map_err(|e| error(format!("not UTF-8 at byte {}", e.valid_up_to())))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_buffer_free(buffer: LuthierBuffer) {
    drop(Vec::from_raw_parts(buffer.data, buffer.size, buffer.capacity));
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_open(json: *const u8, size: usize, out: *mut *mut tokenizer::Tokenizer) -> LuthierBuffer {
    guarded(|| {
        let opened = tokenizer::Tokenizer::open(slice(json, size))?;
        *out = Box::into_raw(Box::new(opened));
        Ok(Vec::new())
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_free(tokenizer: *mut tokenizer::Tokenizer) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(tokenizer))));
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_set_ends(tokenizer: *mut tokenizer::Tokenizer, bos: i64, eos: i64) -> LuthierBuffer {
    guarded(|| (*tokenizer).set_ends(bos, eos).map(|()| Vec::new()))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_add_special(tokenizer: *mut tokenizer::Tokenizer, token: *const u8, size: usize) -> LuthierBuffer {
    guarded(|| (*tokenizer).add_special(text(token, size)?).map(|()| Vec::new()))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_encode(tokenizer: *const tokenizer::Tokenizer, words: *const u8, size: usize, flags: i32) -> LuthierBuffer {
    guarded(|| {
        let words = text(words, size)?;
        if flags & 4 != 0 { (*tokenizer).ids(words, flags & 1 != 0, flags & 2 != 0) } else { (*tokenizer).encode(words, flags & 1 != 0, flags & 2 != 0) }
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_frame(tokenizer: *const tokenizer::Tokenizer, first: *const u8, first_size: usize, second: *const u8, second_size: usize, flags: i32) -> LuthierBuffer {
    guarded(|| {
        let second = if second.is_null() { None } else { Some(text(second, second_size)?) };
        (*tokenizer).frame(text(first, first_size)?, second, flags & 2 != 0)
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_decode(tokenizer: *const tokenizer::Tokenizer, ids: *const u32, count: usize, skip_special: i32) -> LuthierBuffer {
    guarded(|| (*tokenizer).decode(slice(ids, count), skip_special != 0))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_piece(tokenizer: *const tokenizer::Tokenizer, id: u32) -> LuthierBuffer {
    guarded(|| Ok((*tokenizer).piece(id).into_bytes()))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_id(tokenizer: *const tokenizer::Tokenizer, token: *const u8, size: usize) -> i64 {
    catch_unwind(AssertUnwindSafe(|| text(token, size).ok().and_then(|token| (*tokenizer).id(token)).map_or(-1, i64::from))).unwrap_or(-1)
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_size(tokenizer: *const tokenizer::Tokenizer) -> i64 {
    catch_unwind(AssertUnwindSafe(|| (*tokenizer).size())).unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn luthier_tokenizer_is_special(tokenizer: *const tokenizer::Tokenizer, id: u32) -> i32 {
    catch_unwind(AssertUnwindSafe(|| i32::from((*tokenizer).is_special(id)))).unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn luthier_template_open(source: *const u8, size: usize, is_rows: i32, out: *mut *mut template::Template) -> LuthierBuffer {
    guarded(|| {
        let compiled = template::Template::open(text(source, size)?, is_rows != 0)?;
        *out = Box::into_raw(Box::new(compiled));
        Ok(Vec::new())
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_template_free(compiled: *mut template::Template) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(compiled))));
}

#[no_mangle]
pub unsafe extern "C" fn luthier_template_render(compiled: *const template::Template, context: *const u8, size: usize) -> LuthierBuffer {
    guarded(|| (*compiled).render(slice(context, size)))
}

/// A file of rows in columns.
pub trait RowFile {
    /// Some rows, about `count` where the reader can choose, one JSON object a line; nothing at the end. Behind a fault reading goes on at
    /// `position`.
    fn next(&mut self, count: usize) -> Result<Vec<u8>, Fault>;
    /// How many rows were given or lost.
    fn position(&self) -> i64;
}

pub struct Rows(Box<dyn RowFile>);

#[no_mangle]
pub unsafe extern "C" fn luthier_rows_open(path: *const u8, size: usize, is_arrow: i32, out: *mut *mut Rows) -> LuthierBuffer {
    guarded(|| {
        let path = text(path, size)?;
        let (rows, described): (Box<dyn RowFile>, Vec<u8>) = if is_arrow != 0 {
            let (rows, described) = arrow_rows::Rows::open(path)?;
            (Box::new(rows), described)
        } else {
            let (rows, described) = parquet_rows::Rows::open(path)?;
            (Box::new(rows), described)
        };
        *out = Box::into_raw(Box::new(Rows(rows)));
        Ok(described)
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_rows_free(rows: *mut Rows) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(rows))));
}

#[no_mangle]
pub unsafe extern "C" fn luthier_rows_next(rows: *mut Rows, count: usize) -> LuthierBuffer {
    guarded(|| (*rows).0.next(count))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_rows_position(rows: *const Rows) -> i64 {
    (*rows).0.position()
}

#[no_mangle]
pub unsafe extern "C" fn luthier_yaml_to_json(document: *const u8, size: usize) -> LuthierBuffer {
    guarded(|| yaml::to_json(text(document, size)?))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_unpack(path: *const u8, size: usize, fd: i32, limit: u64) -> LuthierBuffer {
    guarded(|| unpack::unpack(text(path, size)?, fd, limit))
}

#[no_mangle]
pub unsafe extern "C" fn luthier_pattern_open(pattern: *const u8, size: usize, out: *mut *mut regex::Regex) -> LuthierBuffer {
    guarded(|| {
        *out = Box::into_raw(Box::new(pattern::open(text(pattern, size)?)?));
        Ok(Vec::new())
    })
}

#[no_mangle]
pub unsafe extern "C" fn luthier_pattern_free(pattern: *mut regex::Regex) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(pattern))));
}

#[no_mangle]
pub unsafe extern "C" fn luthier_pattern_matches(pattern: *const regex::Regex, words: *const u8, size: usize) -> i32 {
    catch_unwind(AssertUnwindSafe(|| text(words, size).is_ok_and(|words| (*pattern).is_match(words)))).map_or(0, i32::from)
}
