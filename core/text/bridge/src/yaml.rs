// SPDX-License-Identifier: Apache-2.0
//! A YAML document as JSON, anchors and merge keys resolved.

use crate::{error, Fault};

const DEPTH: usize = 200;

/// How deep brackets and indicators nest at most: the scanner's time grows with the square of it. Brackets inside quotes do not count.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut quote) = (0usize, 0usize, None);
    for line in text.lines() {
        let begin = line.trim_start();
        let dashes = begin.bytes().take_while(|c| matches!(c, b'-' | b'?' | b':' | b' ')).filter(|c| *c != b' ').count();
        deepest = deepest.max(dashes);
        let mut before = ' ';
        for c in line.chars() {
            match (c, quote) {
                (_, Some(mark)) => quote = if c == mark && before != '\\' { None } else { quote },
                // A quote opens where a value may begin; an apostrophe in a word does not.
                ('"' | '\'', None) if " [{,:-(".contains(before) => quote = Some(c),
                ('[' | '{', None) => {
                    open += 1;
                    deepest = deepest.max(open);
                }
                (']' | '}', None) => open = open.saturating_sub(1),
                _ => {}
            }
            before = c;
        }
    }
    deepest
}

pub fn to_json(text: &str) -> Result<Vec<u8>, Fault> {
    if depth(text) > DEPTH {
        return Err(error(format!("it nests deeper than {DEPTH} levels")));
    }
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(error)?;
    value.apply_merge().map_err(error)?;
    serde_json::to_vec(&value).map_err(error)
}
