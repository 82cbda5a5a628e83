// SPDX-License-Identifier: Apache-2.0
//! tokenizer.json by the `tokenizers` crate, the library that wrote the file. Truncation and padding that a file may carry
//! are switched off: lengths are the trainer's business.

use crate::{error, Fault};
use serde_json::json;
use tokenizers::{AddedToken, PostProcessorWrapper};

pub struct Tokenizer {
    marked: tokenizers::Tokenizer, // control tokens in the text become control tokens
    plain: tokenizers::Tokenizer,  // they stay text
}

impl Tokenizer {
    pub fn open(json: &[u8]) -> Result<Self, Fault> {
        let mut marked = tokenizers::Tokenizer::from_bytes(json).map_err(error)?;
        marked.with_truncation(None).map_err(error)?;
        marked.with_padding(None);
        marked.set_encode_special_tokens(false);
        let mut opened = Self { plain: marked.clone(), marked };
        opened.renew_plain();
        Ok(opened)
    }

    fn renew_plain(&mut self) {
        self.plain = self.marked.clone();
        self.plain.set_encode_special_tokens(true);
    }

    pub fn set_ends(&mut self, bos: i64, eos: i64) -> Result<(), Fault> {
        let mut single = Vec::new();
        let mut pair = Vec::new();
        let mut tokens = serde_json::Map::new();
        for sequence in ["A", "B"] {
            let kind = usize::from(sequence == "B");
            for part in [bos, -1, eos] {
                let is_text = part == -1 && single.len() == usize::from(bos >= 0) && sequence == "A";
                let piece = if part >= 0 {
                    let name = self.piece(part as u32);
                    tokens.insert(name.clone(), json!({"id": name, "ids": [part], "tokens": [name]}));
                    json!({"SpecialToken": {"id": name, "type_id": kind}})
                } else if is_text || (part == -1 && sequence == "B") {
                    json!({"Sequence": {"id": sequence, "type_id": kind}})
                } else {
                    continue;
                };
                if sequence == "A" {
                    single.push(piece.clone());
                }
                pair.push(piece);
            }
        }
        let described = json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens});
        let processor: PostProcessorWrapper = serde_json::from_value(described).map_err(error)?;
        self.marked.with_post_processor(Some(processor));
        self.renew_plain();
        Ok(())
    }

    pub fn add_special(&mut self, token: &str) -> Result<(), Fault> {
        let known = self.marked.token_to_id(token).is_some_and(|id| self.is_special(id));
        if !known && !token.is_empty() {
            self.marked.add_special_tokens([AddedToken::from(token, true)]).map_err(error)?;
            self.renew_plain();
        }
        Ok(())
    }

    pub fn encode(&self, text: &str, add_special: bool, plain: bool) -> Result<Vec<u8>, Fault> {
        let tokenizer = if plain { &self.plain } else { &self.marked };
        let encoding = tokenizer.encode(text, add_special).map_err(error)?;
        let mut bytes = Vec::with_capacity(encoding.len() * 12);
        for (id, (begin, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            for number in [*id, *begin as u32, *end as u32] {
                bytes.extend_from_slice(&number.to_ne_bytes());
            }
        }
        Ok(bytes)
    }

    pub fn ids(&self, text: &str, add_special: bool, plain: bool) -> Result<Vec<u8>, Fault> {
        let tokenizer = if plain { &self.plain } else { &self.marked };
        let encoding = tokenizer.encode_fast(text, add_special).map_err(error)?;
        Ok(encoding.get_ids().iter().flat_map(|id| id.to_ne_bytes()).collect())
    }

    /// With the post-processor, of one text or a pair: {id, token type, part} each; part 2 is what the post-processor put there.
    pub fn frame(&self, first: &str, second: Option<&str>, plain: bool) -> Result<Vec<u8>, Fault> {
        let tokenizer = if plain { &self.plain } else { &self.marked };
        let encoding = match second {
            Some(second) => tokenizer.encode_fast((first, second), true),
            None => tokenizer.encode_fast(first, true),
        }
        .map_err(error)?;
        let mut bytes = Vec::with_capacity(encoding.len() * 12);
        for ((id, kind), part) in encoding.get_ids().iter().zip(encoding.get_type_ids()).zip(encoding.get_sequence_ids()) {
            for number in [*id, *kind, part.map_or(2, |part| part as u32)] {
                bytes.extend_from_slice(&number.to_ne_bytes());
            }
        }
        Ok(bytes)
    }

    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<Vec<u8>, Fault> {
        self.marked.decode(ids, skip_special).map(String::into_bytes).map_err(error)
    }

    pub fn piece(&self, id: u32) -> String {
        self.marked.id_to_token(id).unwrap_or_default()
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        self.marked.token_to_id(token)
    }

    pub fn size(&self) -> i64 {
        self.marked.get_vocab(true).values().max().map_or(0, |id| i64::from(*id) + 1)
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.marked.get_added_vocabulary().get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }
}
