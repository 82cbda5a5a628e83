// SPDX-License-Identifier: Apache-2.0
#include "task/task.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace luthier;

namespace {

/// Rows of these lengths; the first id of each is its place.
struct Rows {
    explicit Rows(const std::vector<std::size_t>& lengths) {
        for (std::size_t i = 0; i < lengths.size(); ++i)
            ids.push_back(std::vector<std::int32_t>(lengths[i], static_cast<std::int32_t>(i)));
        for (const auto& row : ids) examples.push_back({.ids = row, .labels = row});
    }
    std::vector<std::vector<std::int32_t>> ids;
    std::vector<Example> examples;
};

}  // namespace

TEST_CASE("rows are shown once, the longest first, with their places") {
    const Rows rows({3, 9, 1, 7, 7, 2, 5});
    std::vector<std::int64_t> seen;
    std::size_t last = 100;
    CHECK(inBatches(rows.examples, {2, {}},
                    [&](std::span<const Example> batch, std::span<const std::int64_t> places) {
                        REQUIRE(batch.size() == places.size());
                        for (std::size_t i = 0; i < batch.size(); ++i) {
                            CHECK(batch[i].ids.front() == places[i]);
                            CHECK(batch[i].ids.size() <= last);
                            last = batch[i].ids.size();
                            seen.push_back(places[i]);
                        }
                    }));
    std::sort(seen.begin(), seen.end());
    CHECK(seen == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("short rows pass together up to the tokens of a batch of the longest") {
    const Rows rows({8, 8, 2, 2, 2, 2, 2, 2, 2, 2, 2});
    std::vector<std::size_t> sizes;
    inBatches(rows.examples, {2, {}},
              [&](std::span<const Example> batch, std::span<const std::int64_t>) {
                  sizes.push_back(batch.size());
              });
    CHECK(sizes == std::vector<std::size_t>{2, 8, 1});
}

TEST_CASE("a pass over rows ends when it is told to") {
    const Rows rows({5, 5, 5, 5, 5, 5});
    std::vector<std::int64_t> told;
    std::size_t shown = 0;
    const bool isWhole = inBatches(rows.examples,
                                   {2,
                                    [&](std::int64_t done, std::int64_t total) {
                                        CHECK(total == 6);
                                        told.push_back(done);
                                        return done < 4;
                                    }},
                                   [&](std::span<const Example> batch,
                                       std::span<const std::int64_t>) { shown += batch.size(); });
    CHECK_FALSE(isWhole);
    CHECK(told == std::vector<std::int64_t>{2, 4});
    CHECK(shown == 4);
    CHECK(inBatches({}, {2, {}}, [](std::span<const Example>, std::span<const std::int64_t>) {
        FAIL("there is nothing to show");
    }));
}
