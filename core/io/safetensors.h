// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reading and writing safetensors, the only weight format Luthier opens. Every check is made once,
// in open(): a SafetensorsFile that exists is one whose views all lie inside the mapping. Stricter
// than the reference reader in one respect: a name that occurs twice is refused. Data need not be
// aligned (the format allows it), so copy, do not cast.
//
// A mapping cannot protect against another process that shortens the file while we read it
// (SIGBUS); Luthier itself never writes into a published file, it replaces whole folders
// (io/atomic.h).

#include "contract/problem.h"
#include "io/dtype.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace luthier {

/// Limits on foreign files. Each has a boundary test.
struct SafetensorsLimits {
    static constexpr std::uint64_t kHeaderBytes = 100'000'000;  ///< set by the format itself
    static constexpr std::size_t kTensors = 200'000;
    static constexpr std::size_t kNameBytes = 1'024;
    static constexpr std::size_t kRank = 8;
};

/// One tensor, row-major and little-endian. Borrowed: valid as long as the file (or buffer) it came
/// from.
struct TensorView {
    std::string name;
    DType dtype = DType::F32;
    std::vector<std::int64_t> shape;  ///< [] is a scalar
    const std::byte* data = nullptr;  ///< maybe unaligned
    std::size_t bytes = 0;
};

/// Memory-mapped (MAP_PRIVATE, PROT_READ) and immutable: any number of threads may read it.
class SafetensorsFile final {
public:
    /// Problem codes: file_missing, file_unreadable, safetensors_truncated, safetensors_header,
    /// safetensors_duplicate, safetensors_dtype, safetensors_shape, safetensors_size,
    /// safetensors_layout, safetensors_limit. Touches only the header's pages, so it also serves
    /// inspection and estimates.
    static Result<std::shared_ptr<const SafetensorsFile>> open(const std::filesystem::path& path);

    ~SafetensorsFile();
    SafetensorsFile(const SafetensorsFile&) = delete;
    SafetensorsFile& operator=(const SafetensorsFile&) = delete;

    const std::vector<TensorView>& tensors() const {
        return m_tensors;
    }  ///< in the order of their data
    const TensorView* find(std::string_view name) const;  ///< nullptr when absent
    const std::map<std::string, std::string>& metadata() const { return m_metadata; }
    std::uint64_t fileBytes() const { return m_fileBytes; }
    const std::filesystem::path& path() const { return m_path; }

private:
    SafetensorsFile() = default;

    std::filesystem::path m_path;
    const std::byte* m_mapping = nullptr;
    std::uint64_t m_fileBytes = 0;
    std::vector<TensorView> m_tensors;
    std::map<std::string_view, std::size_t>
        m_index;  // name -> place in m_tensors, whose strings the keys borrow
    std::map<std::string, std::string> m_metadata;
};

/// Streams `tensors` into a hidden sibling, fsyncs it and renames it to `file`, so tensors may be
/// views of the very file that is replaced, and a failure leaves nothing behind. Order: dtype size
/// descending, then name; the header is padded with spaces so that data start at a multiple of 8.
/// Returns bytes written. Problem codes: disk_full (names the path and the free bytes),
/// folder_not_writable, folder_missing, write_failed, and safetensors_* for tensors that open()
/// would refuse.
Result<std::uint64_t> writeSafetensors(const std::filesystem::path& file,
                                       const std::vector<TensorView>& tensors,
                                       const std::map<std::string, std::string>& metadata);

}  // namespace luthier
