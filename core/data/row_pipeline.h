// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of a source and what becomes of them, in the order of the file. Mapping is most of the work
// (it tokenises), so it is done by as many threads as there are cores, a stretch of rows ahead of
// the one that is handed out:
//
//     this thread   read 1 | read 2         | hand out 1 | read 3         | hand out 2 …
//     the others           | map 1          | map 2                       | map 3 …
//
// One thread calls; `map` is called by several at once.

#include "data/row_format.h"
#include "data/source.h"

#include <functional>
#include <future>
#include <optional>
#include <vector>

namespace luthier {

struct PipelineRow {
    Result<std::optional<SourceRow>> row;     ///< or the problem of a row that cannot be read
    std::int64_t count = 1;                   ///< rows that the problem stands for
    std::optional<Result<MappedRow>> mapped;  ///< of a row that was read
};

class RowPipeline final {
public:
    /// Before mapping, in the order of the rows, by the calling thread. A problem ends everything.
    using Prepare = std::function<Result<void>(SourceRow&)>;
    using Map = std::function<Result<MappedRow>(const SourceRow&)>;

    RowPipeline(RowSource& source, Prepare prepare, Map map);

    /// nullopt at the end. Throws what `map` throws.
    Result<std::optional<PipelineRow>> next();

private:
    struct Stretch {
        std::vector<PipelineRow> rows;
        std::vector<std::future<void>>
            work;  ///< after `rows`: destroyed, and so waited for, before them
    };
    Result<Stretch> startNext();

    RowSource& m_source;
    Prepare m_prepare;
    Map m_map;
    bool m_isStarted = false;
    Stretch m_current;
    Stretch m_ahead;
    std::size_t m_at = 0;
};

}  // namespace luthier
