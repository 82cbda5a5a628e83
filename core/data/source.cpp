// SPDX-License-Identifier: Apache-2.0
#include "data/source.h"

#include "contract/system_error.h"
#include "data/sources/file_kind.h"
#include "data/sources/folder.h"
#include "io/recognise.h"

#include <algorithm>
#include <fstream>

namespace luthier {

namespace fs = std::filesystem;

namespace {

/// Several files as one: rows are counted on, and each knows its file.
class Files final : public RowSource {
public:
    explicit Files(std::vector<fs::path> files) : m_files(std::move(files)) {}

    Result<std::optional<SourceRow>> next() override {
        while (true) {
            if (!m_source.rows) {
                if (m_next == m_files.size()) return std::optional<SourceRow>{};
                Result<OpenSource> opened = openSource(m_files[m_next++]);
                m_rowsLost = 1;
                if (!opened) {
                    ++m_row;
                    return opened.problems();
                }
                m_source = std::move(*opened);
            }
            Result<std::optional<SourceRow>> row = m_source.rows->next();
            if (!row) {
                m_rowsLost = m_source.rows->rowsLost();
                m_row += m_rowsLost;
                return row;
            }
            if (row->has_value()) {
                (*row)->row = ++m_row;
                (*row)->file = &m_files[m_next - 1];
                return row;
            }
            m_done += bytesOfFile();
            m_source = {};
        }
    }
    /// Of the files as they lie on disk, which may be compressed.
    std::int64_t bytesRead() const override {
        if (!m_source.rows || m_source.bytes == 0) return m_done;
        return m_done + static_cast<std::int64_t>(static_cast<double>(bytesOfFile()) *
                                                  static_cast<double>(m_source.rows->bytesRead()) /
                                                  static_cast<double>(m_source.bytes));
    }
    std::int64_t rowsLost() const override { return m_rowsLost; }
    std::vector<std::string> classNames(const std::string& column) const override {
        return m_source.rows ? m_source.rows->classNames(column) : std::vector<std::string>();
    }

private:
    std::int64_t bytesOfFile() const {
        std::error_code code;
        const std::uintmax_t size = fs::file_size(m_files[m_next - 1], code);
        return code ? 0 : static_cast<std::int64_t>(size);
    }

    std::vector<fs::path> m_files;
    std::size_t m_next = 0;
    OpenSource m_source;
    std::int64_t m_row = 0;
    std::int64_t m_rowsLost = 1;
    std::int64_t m_done = 0;
};

/// UTF-16, by its mark or by a zero in every second of the first bytes.
bool isUtf16(const fs::path& path) {
    std::string head(256, '\0');
    std::ifstream stream(path, std::ios::binary);
    stream.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<std::size_t>(stream.gcount()));
    if (head.rfind("\xFF\xFE", 0) == 0 || head.rfind("\xFE\xFF", 0) == 0) return true;
    if (head.size() < 8) return false;
    std::size_t zeros[2] = {0, 0};
    for (std::size_t i = 0; i < head.size(); ++i) zeros[i % 2] += head[i] == '\0' ? 1 : 0;
    return std::max(zeros[0], zeros[1]) > head.size() / 3 &&
           std::min(zeros[0], zeros[1]) < head.size() / 16;
}

/// The first byte that is no space; 0: there is none.
char firstOf(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    char first = 0;
    return stream >> first ? first : '\0';
}

Result<OpenSource> openText(const TextFile& file) {
    if (isUtf16(file.content))
        return Problem{"data_encoding", file.path.string() + " is UTF-16 text.",
                       "Save it as UTF-8.", file.path.string()};
    const std::string ending = endingOf(file.name);
    if (const FileKind* kind = fileKindOf(ending); kind != nullptr && kind->openText != nullptr)
        return kind->openText(file, ending);
    const char first = firstOf(file.content);
    for (const FileKind& kind : fileKinds())
        if (kind.begins != nullptr && kind.begins(first)) return kind.openText(file, ending);
    return Problem{"data_kind", file.path.string() + " is of a kind Luthier does not read.",
                   "Convert it to " + endingsOfRows() +
                       "; text files may be compressed (.jsonl.gz, .csv.zst).",
                   file.path.string()};
}

/// By what the file holds, and by its ending where that is text.
Result<OpenSource> openByContent(const fs::path& path) {
    const std::string ending = endingOf(path);
    if (const Result<Content> content = contentOfFile(path)) {
        for (const FileKind& kind : fileKinds())
            if (kind.content == *content) return kind.openFile(path);
        // Its own reader says best what is wrong with a damaged one; Arrow's streams begin with no
        // name.
        if (const FileKind* kind = fileKindOf(ending);
            kind != nullptr && kind->openFile != nullptr && !looksLike(*content, path, "rows"))
            return kind->openFile(path);
    }
    const Result<TextFile> file = openTextFile(path);
    if (!file) return file.problems();
    Result<OpenSource> source = openText(*file);
    if (source) source->bytes = file->bytes;
    return source;
}

}  // namespace

Result<std::int64_t> RowSource::skip(std::int64_t count) {
    std::int64_t passed = 0;
    while (passed < count) {
        Result<std::optional<SourceRow>> row = next();
        if (row && !row->has_value()) break;
        passed += row ? 1 : rowsLost();
    }
    return passed;
}

std::vector<std::string> RowSource::classNames(const std::string&) const { return {}; }

Result<OpenSource> openSource(const fs::path& path) {
    std::error_code code;
    if (fs::is_directory(path, code)) {
        Result<DataFiles> files = filesOfFolder(path);
        if (!files) return files.problems();
        return openSource(files->train);
    }
    if (!fs::exists(path, code))
        return Problem{"data_missing", path.string() + " does not exist.",
                       "Check the path in data.train.path or data.eval.path.", path.string()};
    if (fs::is_regular_file(path,
                            code)) {  // anything else is refused where the content is looked at
        if (fs::file_size(path, code) == 0)
            return Problem{"data_empty", path.string() + " is empty.", "Choose a file with rows.",
                           path.string()};
        errno = 0;
        if (!std::ifstream(path, std::ios::binary).good())
            return Problem{"data_unreadable",
                           path.string() + " could not be opened" +
                               (errno ? ": " + systemText(errno) : "") + ".",
                           remedyFor(errno, "Check its permissions."), path.string()};
    } else if (const std::optional<Problem> other = looksLike(path, "rows")) {
        return *other;
    }
    Result<OpenSource> source = openByContent(path);
    if (source && source->bytes == 0)
        source->bytes = static_cast<std::int64_t>(fs::file_size(path, code));
    return source;
}

Result<OpenSource> openSource(const std::vector<fs::path>& files) {
    if (files.size() == 1) return openSource(files.front());
    OpenSource source;
    std::error_code code;
    for (const fs::path& file : files)
        source.bytes += static_cast<std::int64_t>(fs::file_size(file, code));
    source.rows = std::make_unique<Files>(files);
    return source;
}

Result<OpenSource> openJsonSource(const fs::path& path) {
    std::error_code code;
    if (!fs::exists(path, code))
        return Problem{"file_missing", path.string() + " could not be opened.", "Check the path.",
                       path.string()};
    const Result<TextFile> file = openTextFile(path);
    if (!file) return file.problems();
    const std::vector<FileKind>& kinds = fileKinds();
    // Whatever else it begins with, the reader of JSON says what is wrong with it.
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [](const FileKind& each) {
        return each.begins != nullptr && each.begins('{');
    });
    Result<OpenSource> source = kind->openText(*file, "");
    if (source) source->bytes = file->bytes;
    return source;
}

Json fileKindsToJson() {
    Json list = Json::array();
    for (const FileKind& kind : fileKinds()) {
        Json endings = Json::array(), packed = Json::array();
        for (const std::string& ending : kind.endings) {
            if (kind.isAside != nullptr && kind.isAside("rows" + ending)) continue;  // notes
            endings.push_back(ending);
            if (kind.openText == nullptr) continue;
            for (const char* packing : {".gz", ".zst"}) packed.push_back(ending + packing);
        }
        list.push_back({{"title", kind.title},
                        {"endings", std::move(endings)},
                        {"packed_endings", std::move(packed)}});
    }
    return list;
}

std::string placeOf(const fs::path& path, const SourceRow& row) {
    return "row " + std::to_string(row.fileRow) + " of " +
           (row.file != nullptr ? *row.file : path).filename().string() + " (byte " +
           std::to_string(row.byte) + ")";
}

}  // namespace luthier
