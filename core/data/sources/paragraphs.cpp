// SPDX-License-Identifier: Apache-2.0
// .txt, .md: paragraphs parted by blank lines, each {"text": …}.
#include "data/sources/lines.h"
#include "data/sources/file_kind.h"

namespace luthier {

namespace {

class Paragraphs final : public RowSource {
public:
    explicit Paragraphs(TextFile file)
        : m_file(std::move(file)), m_path(m_file.path), m_lines(m_file) {}

    Result<std::optional<SourceRow>> next() override {
        std::string text, line;
        SourceRow row;
        bool isTooLong = false;
        bool isOpen = false;
        while (m_lines.next(line)) {
            if (isBlank(line) && !m_lines.isTooLong()) {
                if (!isOpen) continue;
                break;
            }
            if (!isOpen)
                row.byte = m_lines.begin();
            else
                text += '\n';
            isOpen = true;
            isTooLong =
                isTooLong || m_lines.isTooLong() || text.size() + line.size() > kMaxRowBytes;
            if (!isTooLong) text += line;
        }
        if (!isOpen) return std::optional<SourceRow>{};
        row.row = row.fileRow = ++m_row;
        if (isTooLong)
            return tooLong(m_path, m_row, row.byte, "Put blank lines between paragraphs.");
        if (const auto fault = textFault(m_path, text, m_row, row.byte)) return *fault;
        row.value = Json{{"text", std::move(text)}};
        return std::optional<SourceRow>{std::move(row)};
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    TextFile m_file;
    const std::filesystem::path& m_path;
    Lines m_lines;
    std::int64_t m_row = 0;
};

Result<OpenSource> openParagraphs(const TextFile& file, const std::string&) {
    OpenSource source{std::make_unique<Paragraphs>(file)};
    source.isPlainText = true;
    return source;
}

}  // namespace

FileKind paragraphsFileKind() {
    return {.title = "Text",
            .endings = {".txt", ".text", ".md"},
            .openText = &openParagraphs,
            // Notes about the rows; one that holds rows is opened by its name.
            .isAside = [](const std::string& name) { return name.ends_with(".md"); }};
}

}  // namespace luthier
