// SPDX-License-Identifier: Apache-2.0
//! Patterns of settings as Python's re.fullmatch means them, on an engine whose time is linear in the text. What the two write differently is
//! rewritten; what Python means otherwise or this engine cannot do is an error, never another meaning.

use crate::{error, Fault};
use regex::{Regex, RegexBuilder};
use std::iter::Peekable;
use std::str::Chars;

const LONGEST: usize = 16 << 10;

fn refused(what: &str) -> Fault {
    error(format!("{what} is not supported: patterns are matched in linear time"))
}

/// What stands behind a backslash.
fn escape(out: &mut String, chars: &mut Peekable<Chars>, in_class: bool) -> Result<(), Fault> {
    match chars.next() {
        None => return Err(error("it ends with a backslash")),
        Some('Z') if !in_class => out.push_str("\\z"),
        Some(digit @ '1'..='9') if !in_class => return Err(refused(&format!("the back-reference \\{digit}"))),
        Some('0') => out.push_str("\\x00"),
        Some(c @ ('<' | '>')) => out.push(c), // Rust's marks of words
        Some(c) => {
            out.push('\\');
            out.push(c);
        }
    }
    Ok(())
}

/// `[…]`, whose opening bracket is read: Python knows no sets inside sets, nor && -- ~~.
fn class(out: &mut String, chars: &mut Peekable<Chars>) -> Result<(), Fault> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    loop {
        match chars.next() {
            None => return Err(error("a \"[\" is not closed")),
            Some(']') => break,
            Some('\\') => escape(out, chars, true)?,
            Some(c @ ('[' | '&' | '~')) => {
                out.push('\\');
                out.push(c);
            }
            Some('-') if chars.peek() == Some(&'-') => out.push_str("\\-"),
            Some(c) => out.push(c),
        }
    }
    out.push(']');
    Ok(())
}

/// A brace that begins no repetition is an ordinary character to Python.
fn is_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let inside = &rest[..end];
    let (from, to) = inside.split_once(',').unwrap_or((inside, "0"));
    let is_count = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    is_count(from) && is_count(to) && !(from.is_empty() && !inside.contains(','))
}

fn rewritten(pattern: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut repeated = false;
    while let Some(c) = chars.next() {
        let was_repeated = std::mem::take(&mut repeated);
        match c {
            '\\' => escape(&mut out, &mut chars, false)?,
            '[' => class(&mut out, &mut chars)?,
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    let rest: String = chars.clone().take(4).collect();
                    for (begin, name) in [("?=", "look-ahead"), ("?!", "look-ahead"), ("?<=", "look-behind"), ("?<!", "look-behind"), ("?(", "a condition"), ("?>", "an atomic group"), ("?P=", "a back-reference"), ("?#", "a comment")] {
                        if rest.starts_with(begin) {
                            return Err(refused(name));
                        }
                    }
                }
            }
            '*' | '+' | '?' => {
                if was_repeated && c != '?' {
                    return Err(refused(if c == '+' { "a possessive repetition" } else { "a repetition of a repetition" }));
                }
                out.push(c);
                // `?` behind a repetition makes it lazy, and nothing may follow that.
                repeated = true;
            }
            '{' => {
                let rest: String = chars.clone().collect();
                if !is_repetition(&rest) {
                    out.push_str("\\{");
                } else if was_repeated {
                    return Err(refused("a repetition of a repetition"));
                } else {
                    out.push('{');
                    if chars.peek() == Some(&',') {
                        out.push('0');
                    }
                    for inside in chars.by_ref() {
                        out.push(inside);
                        if inside == '}' {
                            break;
                        }
                    }
                    repeated = true;
                }
            }
            '}' => out.push_str("\\}"),
            _ => out.push(c),
        }
    }
    Ok(out)
}

pub fn open(pattern: &str) -> Result<Regex, Fault> {
    if pattern.len() > LONGEST {
        return Err(error("it is longer than 16 KiB"));
    }
    let whole = rewritten(pattern)?;
    // Alone first, so that "a)(b" is an error of its own.
    let build = |text: &str| RegexBuilder::new(text).nest_limit(200).size_limit(8 << 20).dfa_size_limit(8 << 20).build();
    let words = |failure: regex::Error| error(failure.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string());
    build(&whole).map_err(words)?;
    build(&format!("\\A(?:{whole})\\z")).map_err(words)
}
