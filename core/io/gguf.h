// SPDX-License-Identifier: Apache-2.0
#pragma once
// GGUF version 3, the file format of llama.cpp: typed keys, then tensors. Shapes here are row-major as everywhere else in Luthier;
// the file holds them with the fastest dimension first. All numbers are little-endian.
//
//   "GGUF" | u32 3 | u64 tensors | u64 keys | keys: string name, u32 type, value | infos: string name, u32 dims, u64 ne[dims],
//   u32 type, u64 offset from the data's start | zeros to a multiple of 32 | data, each tensor padded to 32
//   string: u64 bytes, then UTF-8; array: u32 element type, u64 count, elements

#include "contract/problem.h"
#include "io/mapped_file.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace luthier {

/// The value types that llama.cpp's converter writes. Others are read as the nearest of these: whole numbers of other widths as 32 bits (float where they do not fit).
using GgufValue = std::variant<std::uint32_t, std::int32_t, float, bool, std::string, std::vector<std::int32_t>, std::vector<float>, std::vector<std::string>, std::vector<bool>>;
using GgufKeys = std::vector<std::pair<std::string, GgufValue>>;

/// Numbers are the format's own. Q8_0: blocks of 32 values along the last dimension, a half-precision scale and 32 signed bytes.
enum class GgufType : std::uint32_t { F32 = 0, F16 = 1, Q8_0 = 8, BF16 = 30 };

/// "f32", "f16", "q8_0", "bf16"
const char* name(GgufType type);
/// Bytes of `count` values; count must be a multiple of 32 for Q8_0.
std::uint64_t bytesOf(GgufType type, std::uint64_t count);

/// A tensor to write. `bytes` is asked for once, when its turn has come, so that a whole model need not be converted at once.
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
};

/// Writes a hidden sibling and renames it. @returns bytes written. Problem codes: those of io/atomic.h.
Result<std::uint64_t> writeGguf(const std::filesystem::path& file, const GgufKeys& keys, const std::vector<GgufSource>& tensors);

/// Whether a file begins as a GGUF file does, whatever its name ends in: a file being written has another ending.
bool isGguf(const std::filesystem::path& path);

/// A GGUF file mapped into memory. Immutable; any number of threads may read it.
class GgufFile final {
public:
    /// Problem codes: file_missing, file_unreadable, gguf_damaged, gguf_unsupported.
    static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
    GgufFile(const GgufFile&) = delete;
    GgufFile& operator=(const GgufFile&) = delete;

    const GgufKeys& keys() const { return m_keys; }
    const std::vector<GgufTensor>& tensors() const { return m_tensors; }
    const GgufTensor* find(std::string_view name) const;
    /// The value of a key when it is there with this type.
    template <class T>
    const T* value(std::string_view key) const {
        for (const auto& [name, value] : m_keys)
            if (name == key) return std::get_if<T>(&value);
        return nullptr;
    }

private:
    GgufFile() = default;

    std::shared_ptr<const MappedFile> m_file;
    GgufKeys m_keys;
    std::vector<GgufTensor> m_tensors;
};

}  // namespace luthier
