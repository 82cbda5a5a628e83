// SPDX-License-Identifier: Apache-2.0
// .jsonl, .ndjson: one JSON object a line. A line that cannot be read is a problem of its own; the next one follows.
#include "data/sources/lines.h"
#include "data/sources/readers.h"

namespace luthier {

namespace {

class JsonLines final : public RowSource {
public:
    explicit JsonLines(std::filesystem::path path) : m_path(std::move(path)), m_lines(m_path) {}

    Result<std::optional<SourceRow>> next() override {
        do {
            if (!m_lines.next(m_line)) return std::optional<SourceRow>{};
        } while (isBlank(m_line) && !m_lines.isTooLong());
        ++m_row;
        if (m_lines.isTooLong()) return tooLong(m_path, m_row, m_lines.begin());
        return parsedRow(m_path, m_line, m_row, m_lines.begin());
    }
    Result<std::int64_t> skip(std::int64_t count) override {
        const std::int64_t passed = m_lines.skip(count);
        m_row += passed;
        return passed;
    }
    std::int64_t bytesRead() const override { return m_lines.end(); }

private:
    std::filesystem::path m_path;
    Lines m_lines;
    std::string m_line;
    std::int64_t m_row = 0;
};

}  // namespace

Result<OpenSource> openJsonLines(const std::filesystem::path& path) { return OpenSource{std::make_unique<JsonLines>(path)}; }

}  // namespace luthier
