// SPDX-License-Identifier: Apache-2.0
//! Chat templates with transformers' Jinja settings: trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now,
//! its own tojson, and `{% generation %}` blocks (transparent, or kept between two marks when the context asks for them). A template is a stranger's program: fuel, recursion and
//! output are bounded. What these cannot bound (one huge string) the caller bounds by rendering in a process of its own.

use crate::{error, python, Fault, ERROR, LIMIT, RAISED, SYNTAX};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use std::cell::RefCell;
use std::io::{self, Write};

const FUEL: u64 = 1_000_000;
const RECURSION: usize = 100;
const OUTPUT_BYTES: usize = 4 << 20;

thread_local! {
    static RAISED_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub struct Template {
    environment: Environment<'static>,
    is_rows: bool,
}

impl Template {
    /// `is_rows`: a user's template over the keys of a row (core/data/row_template.h).
    pub fn open(source: &str, is_rows: bool) -> Result<Self, Fault> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(move |out, state, value| {
            if is_rows && value.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            let text = python::text(value);
            let is_value = is_rows && !is_of_template(state, value, &text);
            let marked = if is_value { format!("{}{text}{}", VALUE_MARKS.0, VALUE_MARKS.1) } else { text };
            out.write_str(&marked).map_err(|_| Error::new(ErrorKind::WriteFailure, "output is full"))
        });
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        environment.add_filter("string", |value: Value| python::text(&value));
        environment.add_filter("format", format_filter);
        environment.add_filter("generation_block", generation_block);
        environment
            .add_template_owned("chat", without_generation_tags(source))
            .map_err(|e| Fault(SYNTAX, describe(&e)))?;
        if is_rows {
            environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
            environment.remove_filter("safe"); // it would let a row's text pass for the template's
        }
        Ok(Self { environment, is_rows })
    }

    /// The variables of a chat as they come; of a row its keys, and the control tokens' names.
    fn variables(&self, context: &serde_json::Value) -> Value {
        if !self.is_rows {
            return Value::from_serialize(context);
        }
        let mut variables = std::collections::BTreeMap::new();
        for (name, token) in context["named_tokens"].as_object().into_iter().flatten() {
            variables.insert(name.clone(), Value::from_safe_string(token.as_str().unwrap_or_default().to_string()));
        }
        for (key, value) in context["row"].as_object().into_iter().flatten() {
            variables.insert(key.clone(), Value::from_serialize(value));
        }
        variables.insert("mark_generation".into(), Value::from(true));
        Value::from(variables)
    }

    /// "the row has no \"question\"", of a template that reads what is not there.
    fn missing_keys(&self, variables: &Value) -> String {
        let Ok(template) = self.environment.get_template("chat") else { return String::new() };
        let is_known = |name: &String| variables.get_attr(name).is_ok_and(|value| !value.is_undefined()) || self.environment.globals().any(|(global, _)| global == name);
        let mut names: Vec<String> = template.undeclared_variables(false).into_iter().filter(|name| !is_known(name)).collect();
        names.sort();
        names.iter().map(|name| format!(", the row has no \"{name}\"")).collect()
    }

    pub fn render(&self, context: &[u8]) -> Result<Vec<u8>, Fault> {
        let context: serde_json::Value = serde_json::from_slice(context).map_err(error)?;
        RAISED_WORDS.with(|words| words.take());
        let mut out = Bounded(Vec::new());
        let template = self.environment.get_template("chat").map_err(error)?;
        let variables = self.variables(&context);
        match template.render_captured_to(variables.clone(), &mut out) {
            Ok(_) => Ok(out.0),
            Err(failure) => Err(match RAISED_WORDS.with(|words| words.take()) {
                Some(words) => Fault(RAISED, words),
                None if matches!(failure.kind(), ErrorKind::OutOfFuel | ErrorKind::WriteFailure) => Fault(LIMIT, describe(&failure)),
                None if self.is_rows && failure.kind() == ErrorKind::UndefinedError => Fault(ERROR, describe(&failure) + &self.missing_keys(&variables)),
                None => Fault(ERROR, describe(&failure)),
            }),
        }
    }
}

fn describe(failure: &Error) -> String {
    let line = failure.line().map(|line| format!(" (template line {line})")).unwrap_or_default();
    match failure.detail() {
        Some(detail) => format!("{}: {detail}{line}", failure.kind()),
        None => format!("{}{line}", failure.kind()),
    }
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES {
            return Err(io::Error::other("the text is longer than 4 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands around a generation block when the context has `mark_generation`: noncharacters, which no text holds.
const MARKS: (char, char) = ('\u{FDD0}', '\u{FDD1}');

/// What stands around every value that a row's template writes.
const VALUE_MARKS: (char, char) = ('\u{FDD2}', '\u{FDD3}');

/// A generation block, whose values carry marks of their own, or a control token by its name.
fn is_of_template(state: &State, value: &Value, text: &str) -> bool {
    const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let is_token = |name: &&str| state.lookup(name).is_some_and(|token| token.is_safe() && token.as_str() == Some(text));
    value.is_safe() && (text.starts_with(MARKS.0) || NAMES.iter().any(|name| is_token(&name)))
}

fn generation_block(state: &State, text: Value) -> Value {
    let is_marked = state.lookup("mark_generation").is_some_and(|mark| mark.is_true());
    if is_marked { Value::from_safe_string(format!("{}{}{}", MARKS.0, python::text(&text), MARKS.1)) } else { text }
}

/// `{% generation %}` marks what the assistant says, for masks; as a filter block it keeps its whitespace control and its scope.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let inside = &rest[at + 2..];
        let Some(end) = inside.find("%}") else { break };
        let (tag, sign) = (&inside[..end], |c: char| c == '-' || c == '+');
        let name = tag.trim_start_matches(sign).trim_end_matches(sign).trim();
        out.push_str(&rest[..at + 2]);
        match name {
            "generation" | "endgeneration" => {
                let statement = if name == "generation" { "filter generation_block" } else { "endfilter" };
                out.push_str(&tag.replacen(name, statement, 1));
            }
            _ => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &inside[end + 2..];
    }
    out.push_str(rest);
    out
}

fn raise_exception(message: Value) -> Result<Value, Error> {
    let words = python::text(&message);
    RAISED_WORDS.with(|slot| *slot.borrow_mut() = Some(words.clone()));
    Err(Error::new(ErrorKind::InvalidOperation, words))
}

/// datetime.now().strftime(format)
fn strftime_now(format: String) -> Result<String, Error> {
    let refused = || Error::new(ErrorKind::InvalidOperation, "strftime_now: format not understood");
    let format = std::ffi::CString::new(format).map_err(|_| refused())?;
    let mut bytes = [0u8; 1024];
    let size = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&now, &mut parts);
        libc::strftime(bytes.as_mut_ptr().cast(), bytes.len(), format.as_ptr(), &parts)
    };
    String::from_utf8(bytes[..size].to_vec()).map_err(|_| refused())
}

/// json.dumps with transformers' keyword arguments.
fn tojson(value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        Some(level) if level.kind() == ValueKind::Number => Some(" ".repeat(usize::try_from(level)?.min(16))),
        Some(level) => level.as_str().map(|text| text.chars().take(16).collect()),
        None => None,
    };
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        _ => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
    };
    let style = python::JsonStyle {
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        indent,
        item_separator: item,
        key_separator: key,
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    Ok(Value::from_safe_string(python::json(&value, &style)?))
}

/// The built-in filter, but a width that asks for gigabytes is refused.
fn format_filter(state: &State, format: &Value, arguments: Rest<Value>) -> Result<Value, Error> {
    let text = format.as_str().unwrap_or_default();
    let long = text.as_bytes().windows(6).any(|part| part.iter().all(u8::is_ascii_digit));
    if long || text.contains('*') {
        return Err(Error::new(ErrorKind::InvalidOperation, "format: width too large"));
    }
    minijinja::filters::format(state, format, arguments)
}
