// SPDX-License-Identifier: Apache-2.0
//! A YAML document as JSON, anchors and merge keys resolved.

use crate::{error, Fault};

pub fn to_json(text: &str) -> Result<Vec<u8>, Fault> {
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(error)?;
    value.apply_merge().map_err(error)?;
    serde_json::to_vec(&value).map_err(error)
}
