// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of tokens packed into bytes: about two a token instead of the eight of ids and labels, and
// beyond 64 MiB in a file without a name that is mapped into memory, so that a data set may be
// larger than memory. Rows come out by value.
//
//   row: varint flags | ids | labels, as stretches that repeat the ids where no others occur |
//   types, cut, targets, choices where it has them list: varint count, then varints

#include "data/data_row.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <span>
#include <vector>

namespace luthier {

class RowBytes;

/// Adding and reading from one thread; reading from several once nothing is added any more.
class RowList final {
public:
    RowList();
    RowList(std::initializer_list<DataRow> rows);
    /// Rows that stand in `bytes`, each beginning at one of `begins`. @pre they were written by
    /// this class (checksummed by whoever stored them)
    RowList(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
            std::vector<std::uint64_t> begins);

    std::size_t size() const { return m_begins.size(); }
    bool empty() const { return m_begins.empty(); }
    DataRow operator[](std::size_t index) const;
    DataRow back() const { return (*this)[size() - 1]; }
    std::uint32_t tokensOf(std::size_t index) const;  ///< without unpacking the row

    void push_back(const DataRow& row);
    void truncate(std::size_t count);
    /// Replaces each row by what `change` makes of it; rows for which it is a no-op are packed
    /// again all the same.
    void transform(const std::function<void(DataRow&)>& change);
    /// Moves the rows that `isMoved` names to the end of `other`, both in their order. @pre other
    /// is empty or shares this list's bytes
    void moveTo(RowList& other, const std::vector<bool>& isMoved);

    class Iterator {
    public:
        using value_type = DataRow;
        using reference = DataRow;
        using pointer = void;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::input_iterator_tag;
        Iterator(const RowList* list, std::size_t index) : m_list(list), m_index(index) {}
        DataRow operator*() const { return (*m_list)[m_index]; }
        Iterator& operator++() {
            ++m_index;
            return *this;
        }
        bool operator==(const Iterator&) const = default;

    private:
        const RowList* m_list;
        std::size_t m_index;
    };
    Iterator begin() const { return {this, 0}; }
    Iterator end() const { return {this, size()}; }

    /// All bytes of the store behind this list, those of other lists on it and of rows that went
    /// included, and where this list's rows begin.
    std::span<const std::byte> bytes() const;
    const std::vector<std::uint64_t>& begins() const { return m_begins; }
    bool sharesBytesWith(const RowList& other) const { return m_bytes == other.m_bytes; }

private:
    std::shared_ptr<RowBytes> m_bytes;
    std::vector<std::uint64_t> m_begins;
};

}  // namespace luthier
