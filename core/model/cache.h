// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a model keeps of a text that it continues token by token.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace luthier {

/// Keys and values of what has been read so far, one sequence.
class KeyValueCache {
public:
    explicit KeyValueCache(std::int64_t layers)
        : m_keys(static_cast<std::size_t>(layers)), m_values(static_cast<std::size_t>(layers)) {}

    /// Positions already read (virtual ones included).
    std::int64_t length() const { return m_length; }
    bool isEmpty() const { return m_length == 0; }

    /// Appends [heads, T, D] and returns views of everything stored so far.
    std::pair<at::Tensor, at::Tensor> append(std::size_t layer, const at::Tensor& keys,
                                             const at::Tensor& values);
    void advance(std::int64_t tokens) { m_length += tokens; }
    void clear() { *this = KeyValueCache(static_cast<std::int64_t>(m_keys.size())); }

    std::vector<std::int64_t> ids;  ///< text read so far
    at::Tensor memory;  ///< an encoder's rows [M, C], read once; undefined without an encoder
    std::vector<std::pair<at::Tensor, at::Tensor>>
        crossed;  ///< per layer: keys and values of `memory`, [M, Hkv*D]

private:
    std::vector<at::Tensor> m_keys;  // [heads, capacity, D]
    std::vector<at::Tensor> m_values;
    std::int64_t m_length = 0;
};

}  // namespace luthier
