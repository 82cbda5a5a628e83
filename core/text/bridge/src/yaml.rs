// SPDX-License-Identifier: Apache-2.0
//! A YAML document as JSON, anchors and merge keys resolved.

use crate::{error, Fault};

const DEPTH: usize = 200;
/// The same without regard to quotes, which a comment or a block of text may seem to open: what is left is quick.
const DEPTH_OF_ALL: usize = 2000;

/// How deep brackets and indicators nest at most, without brackets inside quotes and with them: the scanner's time grows with the square of it.
fn depths(text: &str) -> (usize, usize) {
    let (mut open, mut deepest, mut quote) = (0usize, 0usize, None);
    let (mut open_of_all, mut deepest_of_all) = (0usize, 0usize);
    for line in text.lines() {
        let begin = line.trim_start();
        let dashes = begin.bytes().take_while(|c| matches!(c, b'-' | b'?' | b':' | b' ')).filter(|c| *c != b' ').count();
        deepest = deepest.max(dashes);
        let mut before = ' ';
        for c in line.chars() {
            match c {
                '[' | '{' => open_of_all += 1,
                ']' | '}' => open_of_all = open_of_all.saturating_sub(1),
                _ => {}
            }
            deepest_of_all = deepest_of_all.max(open_of_all);
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
    (deepest, deepest_of_all)
}

pub fn to_json(text: &str) -> Result<Vec<u8>, Fault> {
    let (deepest, deepest_of_all) = depths(text);
    if deepest > DEPTH || deepest_of_all > DEPTH_OF_ALL {
        return Err(error(format!("it nests deeper than {DEPTH} levels")));
    }
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(error)?;
    value.apply_merge().map_err(error)?;
    serde_json::to_vec(&value).map_err(error)
}
