// SPDX-License-Identifier: Apache-2.0
#pragma once
// GGUF, the file format of llama.cpp: typed keys, then tensors. Version 3 is written, 2 (the same
// layout) and 3 are read. Shapes here are row-major as everywhere else in Luthier; the file holds
// them with the fastest dimension first. All numbers are little-endian.
//
//   "GGUF" | u32 3 | u64 tensors | u64 keys | keys: string name, u32 type, value | infos: string
//   name, u32 dims, u64 ne[dims], u32 type, u64 offset from the data's start | zeros to a multiple
//   of A | data, each tensor padded to A string: u64 bytes, then UTF-8; array: u32 element type,
//   u64 count, elements; A: general.alignment, else 32
//
// A model may lie in several files, NAME-00001-of-00003.gguf and so on: the first has the keys,
// each its own tensors. Any of them opens all.

#include "contract/problem.h"
#include "io/gguf_blocks.h"
#include "io/mapped_file.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace luthier {

/// The value types that llama.cpp's converter writes. Others are read as the nearest of these:
/// whole numbers of other widths as 32 bits (float where one does not fit).
using GgufValue =
    std::variant<std::uint32_t, std::int32_t, float, bool, std::string, std::vector<std::int32_t>,
                 std::vector<float>, std::vector<std::string>, std::vector<bool>>;
using GgufKeys = std::vector<std::pair<std::string, GgufValue>>;

/// A tensor to write. `bytes` is asked for once, when its turn has come, so that a whole model need
/// not be converted at once.
struct GgufSource {
    std::string name;
    GgufType type = GgufType::F32;
    std::vector<std::int64_t> shape;
    std::function<std::vector<std::byte>()> bytes;
};

/// A tensor as read; `data` lies in the mapping and may be unaligned.
struct GgufTensor {
    std::string name;
    GgufType type = GgufType::F32;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> data;

    std::uint64_t count() const;
    /// Of tensors stacked along the first dimension, the one at `index`: no byte is copied.
    GgufTensor at(std::size_t index) const;
    /// "blk.0.ffn_up.weight (Q4_K, 2048 x 640)"
    std::string text() const;
};

/// Writes a hidden sibling and renames it. @returns bytes written. Problem codes: those of
/// io/atomic.h.
Result<std::uint64_t> writeGguf(const std::filesystem::path& file, const GgufKeys& keys,
                                const std::vector<GgufSource>& tensors);

/// Whether a file begins as a GGUF file does, whatever its name ends in: a file being written has
/// another ending.
bool isGguf(const std::filesystem::path& path);

/// The files that a part's name stands for, in order: all of NAME-00001-of-0000N.gguf, else `path`
/// alone.
std::vector<std::filesystem::path> ggufParts(const std::filesystem::path& path);

/// A GGUF file, or all parts of one, mapped into memory. Immutable; any number of threads may read
/// it.
class GgufFile final {
public:
    /// Problem codes: file_missing, file_unreadable, gguf_damaged, gguf_unsupported,
    /// gguf_part_missing.
    static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
    GgufFile(const GgufFile&) = delete;
    GgufFile& operator=(const GgufFile&) = delete;

    const GgufKeys& keys() const { return m_keys; }
    const std::vector<GgufTensor>& tensors() const { return m_tensors; }
    const GgufTensor* find(std::string_view name) const;
    std::uint64_t bytes() const;  ///< of its files
    /// The value of a key when it is there with this type.
    template <class T>
    const T* value(std::string_view key) const {
        for (const auto& [name, value] : m_keys)
            if (name == key) return std::get_if<T>(&value);
        return nullptr;
    }

private:
    GgufFile() = default;

    std::vector<std::shared_ptr<const MappedFile>> m_files;
    GgufKeys m_keys;
    std::vector<GgufTensor> m_tensors;
    std::map<std::string, std::size_t, std::less<>> m_places;
};

}  // namespace luthier
