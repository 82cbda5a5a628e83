// SPDX-License-Identifier: Apache-2.0
#include "data/row_pipeline.h"

#include <algorithm>
#include <thread>

namespace luthier {

namespace {

// A stretch must outweigh the start of its threads and be small beside the rows that are kept.
constexpr std::size_t kStretchRows = 512;
constexpr std::int64_t kStretchBytes = 4 << 20;

}  // namespace

RowPipeline::RowPipeline(RowSource& source, Prepare prepare, Map map)
    : m_source(source), m_prepare(std::move(prepare)), m_map(std::move(map)) {}

Result<RowPipeline::Stretch> RowPipeline::startNext() {
    Stretch stretch;
    const std::int64_t begin = m_source.bytesRead();
    while (stretch.rows.size() < kStretchRows && m_source.bytesRead() - begin < kStretchBytes) {
        Result<std::optional<SourceRow>> row = m_source.next();
        if (row && !row->has_value()) break;
        if (row)
            if (Result<void> prepared = m_prepare(**row); !prepared) return prepared.problems();
        const std::int64_t count = row ? 1 : m_source.rowsLost();
        stretch.rows.push_back({std::move(row), count, std::nullopt});
    }
    const std::size_t threads = std::min<std::size_t>(
        std::max(1u, std::thread::hardware_concurrency()), stretch.rows.size());
    PipelineRow* const rows = stretch.rows.data();  // stays where it is when the stretch is moved
    for (std::size_t first = 0; first < threads; ++first)
        stretch.work.push_back(std::async(
            std::launch::async, [this, rows, first, threads, count = stretch.rows.size()] {
                for (std::size_t i = first; i < count; i += threads)
                    if (rows[i].row) rows[i].mapped = m_map(**rows[i].row);
            }));
    return stretch;
}

Result<std::optional<PipelineRow>> RowPipeline::next() {
    if (m_at == m_current.rows.size()) {
        if (!m_isStarted) {
            m_isStarted = true;
            Result<Stretch> first = startNext();
            if (!first) return first.problems();
            m_ahead = std::move(*first);
        }
        m_current = std::move(m_ahead);
        m_ahead = {};
        m_at = 0;
        if (m_current.rows.empty()) return std::optional<PipelineRow>{};
        Result<Stretch> next = startNext();
        if (!next) return next.problems();
        m_ahead = std::move(*next);
        for (std::future<void>& part : m_current.work) part.get();
    }
    return std::optional<PipelineRow>{std::move(m_current.rows[m_at++])};
}

}  // namespace luthier
