// SPDX-License-Identifier: Apache-2.0
#pragma once
// A kind of file that holds rows is one file here that fills in a FileKind, and one line of
// sources.list. All endings in messages, folders and file dialogs come from there.

#include "data/source.h"
#include "data/sources/text_file.h"
#include "io/recognise.h"

#include <optional>
#include <string>
#include <vector>

namespace luthier {

struct FileKind {
    std::string title;                 ///< "CSV"
    std::vector<std::string> endings;  ///< ".csv", ".tsv": small letters
    /// Text, which may be compressed (.csv.gz); `ending` is one of `endings`. Null: no text.
    Result<OpenSource> (*openText)(const TextFile& file, const std::string& ending) = nullptr;
    /// Anything else.
    Result<OpenSource> (*openFile)(const std::filesystem::path& path) = nullptr;
    /// What such a file begins with, whatever it is called.
    std::optional<Content> content = {};
    /// Whether text of an ending that no kind has is read as this one, by its first character.
    bool (*begins)(char first) = nullptr;
    /// Files of this ending that are no rows.
    bool (*isAside)(const std::string& name) = nullptr;
    /// Two files of one name in two folders are two data sets.
    bool isOfCaches = false;
};

/// Made from sources.list.
std::vector<FileKind> listOfFileKinds();
const std::vector<FileKind>& fileKinds();

/// The kind of this ending, in small letters; nullptr: none has it.
const FileKind* fileKindOf(const std::string& ending);

/// ".jsonl" of rows.JSONL
std::string endingOf(const std::filesystem::path& path);

/// ".jsonl, .json, .csv or .txt"
std::string endingsOfRows();

}  // namespace luthier
