/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The one C header between core/text and the Rust crate in this folder. No panic crosses it: every
 * entry catches unwinding and answers LUTHIER_TEXT_PANIC. Every answer is a buffer that the caller
 * frees; its bytes are the result, or a message when the status says so. A tokenizer may be used by
 * several threads at once. */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LUTHIER_TEXT_OK = 0,
    LUTHIER_TEXT_ERROR = 1, /* bytes are a message */
    LUTHIER_TEXT_PANIC =
        2, /* bytes are a message; the library is at fault or the file is hostile */
    LUTHIER_TEXT_RAISED = 3, /* the chat template called raise_exception; bytes are its words */
    LUTHIER_TEXT_SYNTAX = 4, /* the chat template does not parse */
    LUTHIER_TEXT_LIMIT = 5,  /* out of fuel, recursion or output */
};

enum {
    LUTHIER_ENCODE_SPECIAL = 1, /* run the post-processor: begin and end tokens */
    LUTHIER_ENCODE_PLAIN = 2,   /* control tokens written in the text stay text */
    LUTHIER_ENCODE_IDS = 4,     /* without places, which cost a third of the time */
};

typedef struct LuthierBuffer {
    int32_t status;
    uint8_t* data;
    size_t size;
    size_t capacity;
} LuthierBuffer;

typedef struct LuthierTokenizer LuthierTokenizer;
typedef struct LuthierTemplate LuthierTemplate;

void luthier_buffer_free(LuthierBuffer buffer);

/* `json` is the text of tokenizer.json. */
LuthierBuffer luthier_tokenizer_open(const uint8_t* json, size_t size, LuthierTokenizer** out);
void luthier_tokenizer_free(LuthierTokenizer* tokenizer);
/* Makes the post-processor put these ids around a text; -1 for none. */
LuthierBuffer luthier_tokenizer_set_ends(LuthierTokenizer* tokenizer, int64_t bos, int64_t eos);
/* Declares `token` a control token; adds it when the vocabulary lacks it. */
LuthierBuffer luthier_tokenizer_add_special(LuthierTokenizer* tokenizer, const uint8_t* token,
                                            size_t size);
/* OK: triples of uint32 {id, first byte, byte behind the last}; with LUTHIER_ENCODE_IDS the ids
 * alone. */
LuthierBuffer luthier_tokenizer_encode(const LuthierTokenizer* tokenizer, const uint8_t* text,
                                       size_t size, int32_t flags);
/* With the post-processor, of one text (`second` is NULL) or a pair. OK: triples of uint32 {id,
 * token type, part}; part: 0 the first text, 1 the second, 2 put there by the post-processor. */
LuthierBuffer luthier_tokenizer_frame(const LuthierTokenizer* tokenizer, const uint8_t* first,
                                      size_t first_size, const uint8_t* second, size_t second_size,
                                      int32_t flags);
LuthierBuffer luthier_tokenizer_decode(const LuthierTokenizer* tokenizer, const uint32_t* ids,
                                       size_t count, int32_t skip_special);
/* The piece as the vocabulary spells it; empty for an id it does not hold. */
LuthierBuffer luthier_tokenizer_piece(const LuthierTokenizer* tokenizer, uint32_t id);
int64_t luthier_tokenizer_id(const LuthierTokenizer* tokenizer, const uint8_t* token,
                             size_t size);                         /* -1: none */
int64_t luthier_tokenizer_size(const LuthierTokenizer* tokenizer); /* highest id + 1 */
int32_t luthier_tokenizer_is_special(const LuthierTokenizer* tokenizer, uint32_t id);

/* Compiles a chat template with transformers' settings (trim_blocks, lstrip_blocks, loop controls).
 * `is_rows`: a template over a row, see TemplateUse::Rows in text/chat_template.h. */
LuthierBuffer luthier_template_open(const uint8_t* source, size_t size, int32_t is_rows,
                                    LuthierTemplate** out);
void luthier_template_free(LuthierTemplate* compiled);
/* `context` is a JSON object of the template's variables. */
LuthierBuffer luthier_template_render(const LuthierTemplate* compiled, const uint8_t* context,
                                      size_t size);

typedef struct LuthierRows LuthierRows;

/* A Parquet or Arrow file. OK: bytes are {"rows": n, "columns": [names], "huggingface": text of the
 * `datasets` library, if any}. One thread at a time. */
LuthierBuffer luthier_rows_open(const uint8_t* path, size_t size, int32_t is_arrow,
                                LuthierRows** out);
void luthier_rows_free(LuthierRows* rows);
/* OK: some rows, about `count`, one JSON object a line; empty at the end. An error is a stretch of
 * lost rows. */
LuthierBuffer luthier_rows_next(LuthierRows* rows, size_t count);
/* How many rows were given or lost: behind an error, the row that the next call begins with. */
int64_t luthier_rows_position(const LuthierRows* rows);

/* A file of gzip or zstd, into the open file `fd`, which stays the caller's. OK: bytes are how many
 * were written, as text. */
LuthierBuffer luthier_unpack(const uint8_t* path, size_t size, int32_t fd, uint64_t limit);

typedef struct LuthierPattern LuthierPattern;

/* A regular expression with the meaning of Python's re.fullmatch, in time linear in the text; what
 * needs more (look-around, back-references) is an error. May be used by several threads at once. */
LuthierBuffer luthier_pattern_open(const uint8_t* pattern, size_t size, LuthierPattern** out);
void luthier_pattern_free(LuthierPattern* pattern);
int32_t luthier_pattern_matches(const LuthierPattern* pattern, const uint8_t* text, size_t size);

/* OK: bytes are the document as JSON. */
LuthierBuffer luthier_yaml_to_json(const uint8_t* document, size_t size);

#ifdef __cplusplus
}
#endif
