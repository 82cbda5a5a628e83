// SPDX-License-Identifier: Apache-2.0
#include "data/order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace luthier;

TEST_CASE("the order is the same on every machine") {
    // Written down once: a change here would change what every seed means.
    CHECK(permutation(8, 42, "order", 0) == permutation(8, 42, "order", 0));
    CHECK(permutation(100, 42, "order", 0) != permutation(100, 42, "order", 1));
    CHECK(permutation(100, 42, "order", 0) != permutation(100, 43, "order", 0));
    CHECK(permutation(100, 42, "order", 0) != permutation(100, 42, "split", 0));
    auto order = permutation(1000, 7, "order", 3);
    std::sort(order.begin(), order.end());
    for (std::uint32_t i = 0; i < 1000; ++i) REQUIRE(order[i] == i);
}

TEST_CASE("an epoch shows every row once and its last step may be short") {
    BatchPlan plan(std::vector<std::uint32_t>(10, 5),
                   {.batchSize = 2, .accumulation = 2, .epochs = 2});
    CHECK(plan.totalSteps() == 6);
    std::multiset<std::uint32_t> seen;
    for (std::int64_t step = 1; step <= 3; ++step)
        for (const auto& micro : plan.step(step).microBatches)
            for (const auto& sequence : micro) seen.insert(sequence.begin(), sequence.end());
    CHECK(seen.size() == 10);
    CHECK(std::set<std::uint32_t>(seen.begin(), seen.end()).size() == 10);
    CHECK(plan.step(3).microBatches.size() == 1);
    CHECK(plan.step(3).epoch == doctest::Approx(1));
    CHECK(plan.step(4).epoch == doctest::Approx(1 + 1.0 / 3));
}

TEST_CASE("a step can be asked for in any order") {
    for (const bool packing : {false, true}) {
        std::vector<std::uint32_t> lengths;
        for (std::uint32_t i = 0; i < 57; ++i) lengths.push_back(3 + i * 7 % 11);
        const PlanOptions options{
            .batchSize = 2, .accumulation = 3, .maxSteps = 40, .packing = packing, .maxLength = 30};
        BatchPlan forward(lengths, options);
        std::vector<std::vector<MicroBatch>> expected;
        for (std::int64_t step = 1; step <= 40; ++step)
            expected.push_back(forward.step(step).microBatches);
        for (std::int64_t step = 40; step >= 1; step -= 3) {
            BatchPlan fresh(lengths, options);
            CHECK(fresh.step(step).microBatches == expected[static_cast<std::size_t>(step - 1)]);
            CHECK(forward.step(step).microBatches == expected[static_cast<std::size_t>(step - 1)]);
        }
    }
}

TEST_CASE("packed sequences stay within the length") {
    const std::vector<std::uint32_t> lengths{10, 20, 5, 30, 7, 8, 9};
    BatchPlan plan(lengths, {.batchSize = 1, .maxSteps = 20, .packing = true, .maxLength = 30});
    for (std::int64_t step = 1; step <= 20; ++step)
        for (const auto& micro : plan.step(step).microBatches)
            for (const auto& sequence : micro) {
                std::uint32_t total = 0;
                for (const auto row : sequence) total += lengths[row];
                CHECK(total <= 30);
            }
}

TEST_CASE("without shuffling rows come in file order") {
    BatchPlan plan({1, 1, 1}, {.batchSize = 2, .maxSteps = 3, .shuffle = false});
    CHECK(plan.step(1).microBatches[0] == MicroBatch{{0}, {1}});
    CHECK(plan.step(2).microBatches[0] == MicroBatch{{2}});
    CHECK(plan.step(3).microBatches[0] == MicroBatch{{0}, {1}});
}

TEST_CASE("parts of an epoch round up to whole steps") {
    CHECK(BatchPlan(std::vector<std::uint32_t>(10, 1), {.batchSize = 3, .epochs = 0.5})
              .totalSteps() == 2);
    CHECK(BatchPlan({}, {}).totalSteps() == 0);
}

TEST_CASE("rows grouped by length come in transformers' order") {
    // get_length_grouped_indices(lengths, 4) of transformers 5.23 over rows in file order.
    std::vector<std::uint32_t> lengths;
    for (std::uint32_t i = 0; i < 70; ++i) lengths.push_back(i * 7919 % 101 + 1);
    const std::vector<std::uint32_t> expected{
        32, 7,  2,  14, 9,  4,  11, 6,  1,  13, 8,  3,  15, 10, 5,  0,  27, 22,
        17, 29, 24, 19, 31, 26, 21, 16, 28, 23, 18, 30, 25, 20, 12, 44, 39, 34,
        46, 41, 36, 43, 38, 33, 45, 40, 35, 47, 42, 37, 59, 54, 49, 61, 56, 51,
        63, 58, 53, 48, 60, 55, 50, 62, 57, 52, 64, 66, 68, 65, 67, 69};
    BatchPlan plan(
        lengths,
        {.batchSize = 2, .accumulation = 2, .epochs = 1, .shuffle = false, .groupByLength = true});
    std::vector<std::uint32_t> order;
    for (std::int64_t step = 1; step <= plan.totalSteps(); ++step)
        for (const auto& micro : plan.step(step).microBatches)
            for (const auto& sequence : micro)
                order.insert(order.end(), sequence.begin(), sequence.end());
    CHECK(order == expected);
}

TEST_CASE("grouping by length keeps every row once an epoch and another order each epoch") {
    std::vector<std::uint32_t> lengths;
    for (std::uint32_t i = 0; i < 203; ++i) lengths.push_back(i * 31 % 17 + 1);
    BatchPlan plan(lengths, {.batchSize = 4, .epochs = 2, .groupByLength = true});
    std::vector<std::vector<std::uint32_t>> epochs(2);
    for (std::int64_t step = 1; step <= plan.totalSteps(); ++step)
        for (const auto& micro : plan.step(step).microBatches)
            for (const auto& sequence : micro)
                epochs[step > plan.totalSteps() / 2 ? 1 : 0].push_back(sequence.front());
    CHECK(epochs[0] != epochs[1]);
    CHECK(std::set<std::uint32_t>(epochs[0].begin(), epochs[0].end()).size() == 203);
    CHECK(epochs[0].size() == 203);
}

TEST_CASE("rows drawn for evaluation are the same for a seed, ascending and without repeats") {
    const auto rows = drawnRows(1000, 50, 42, "evaluation");
    CHECK(rows.size() == 50);
    CHECK(std::is_sorted(rows.begin(), rows.end()));
    CHECK(std::set<std::uint32_t>(rows.begin(), rows.end()).size() == 50);
    CHECK(rows.back() < 1000);
    CHECK(rows == drawnRows(1000, 50, 42, "evaluation"));
    CHECK(rows != drawnRows(1000, 50, 43, "evaluation"));
    CHECK(drawnRows(3, 50, 42, "evaluation") == std::vector<std::uint32_t>{0, 1, 2});
    CHECK(drawnRows(0, 50, 42, "evaluation").empty());
}
