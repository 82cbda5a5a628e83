// SPDX-License-Identifier: Apache-2.0
#include "data/row_format.h"
#include "data/row_list.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <tuple>

using namespace luthier;

namespace {

auto fieldsOf(const DataRow& row) {
    return std::tuple(row.ids, row.labels, row.types, row.cut, row.classIndex, row.targets,
                      row.choices, row.answer, row.sourceRow, row.cutTokens, row.isTruncated);
}

DataRow rowOf(std::vector<std::int32_t> ids, std::vector<std::int32_t> labels,
              std::int64_t sourceRow = 1) {
    DataRow row;
    row.ids = std::move(ids);
    row.labels = std::move(labels);
    row.sourceRow = sourceRow;
    return row;
}

std::vector<DataRow> variousRows() {
    std::vector<DataRow> rows{
        rowOf({}, {}),
        rowOf({1, 2, 3}, {-100, -100, -100}),
        rowOf({1, 2, 3}, {1, 2, 3}),
        rowOf({1, 2, 3, 4, 5, 6}, {-100, 2, 3, -100, -100, 6}),
        rowOf({127, 128, 16384, 2000000, 2147483647, -1}, {-100, 128, 5, -100, 7, -1}),
        rowOf({9, 8}, {4, 5, 6, 7}, std::int64_t{1} << 40)};
    DataRow full = rowOf({1, 2, 3}, {-100, 2, 3});
    full.types = {0, 0, 1};
    full.cut = {9, 7};
    full.cutTokens = 200;
    full.isTruncated = true;
    full.classIndex = 3;
    full.targets = {0.5f, -0.0f, 1e30f};
    full.choices = {{4}, {}, {5, 6}};
    full.answer = 2;
    rows.push_back(full);
    DataRow answered = rowOf({5}, {5});
    answered.answer = 0;
    rows.push_back(answered);
    return rows;
}

}  // namespace

TEST_CASE("packed rows come out as they went in") {
    RowList list;
    const std::vector<DataRow> rows = variousRows();
    for (const DataRow& row : rows) list.push_back(row);
    REQUIRE(list.size() == rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CAPTURE(i);
        CHECK(fieldsOf(list[i]) == fieldsOf(rows[i]));
        CHECK(list.tokensOf(i) == rows[i].ids.size());
    }
    CHECK(fieldsOf(list.back()) == fieldsOf(rows.back()));
}

TEST_CASE("rows move to another list in their order, change and go") {
    RowList list, held;
    for (std::int32_t i = 0; i < 10; ++i) list.push_back(rowOf({i}, {i}, i));
    std::vector<bool> isMoved(10, false);
    isMoved[2] = isMoved[7] = true;
    list.moveTo(held, isMoved);
    CHECK(held.sharesBytesWith(list));
    REQUIRE(held.size() == 2);
    CHECK(held[0].ids == std::vector<std::int32_t>{2});
    CHECK(held[1].ids == std::vector<std::int32_t>{7});
    REQUIRE(list.size() == 8);
    CHECK(list[2].ids == std::vector<std::int32_t>{3});
    list.transform([](DataRow& row) { row.classIndex = row.ids[0] + 1; });
    CHECK(list[7].classIndex == 10);
    CHECK(held[1].classIndex == -1);
    list.truncate(3);
    list.truncate(5);
    CHECK(list.size() == 3);
    list.push_back(rowOf({42}, {42}));
    CHECK(list.back().ids == std::vector<std::int32_t>{42});
    std::size_t count = 0;
    for (const DataRow& row : list) count += row.ids.size();
    CHECK(count == 4);
}

TEST_CASE("rows beyond what is kept in memory lie in a file and are the same") {
    RowList list;
    std::vector<std::int32_t> ids(100000, 3000000);
    for (std::int64_t i = 0; i < 220; ++i) {  // 88 MB
        ids.front() = static_cast<std::int32_t>(i);
        list.push_back(rowOf(ids, ids, i));
        if (i % 50 == 49)
            CHECK(list[static_cast<std::size_t>(i / 2)].ids.front() ==
                  i / 2);  // read while it grows
    }
    REQUIRE(list.bytes().size() > (std::size_t{80} << 20));
    for (std::int64_t i = 0; i < 220; i += 7) {
        ids.front() = static_cast<std::int32_t>(i);
        const DataRow row = list[static_cast<std::size_t>(i)];
        CHECK(row.ids == ids);
        CHECK(row.labels == ids);
        CHECK(row.sourceRow == i);
    }
}
