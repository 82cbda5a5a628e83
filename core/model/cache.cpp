// SPDX-License-Identifier: Apache-2.0
#include "model/cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace luthier {

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(std::size_t layer, const at::Tensor& keys,
                                                        const at::Tensor& values) {
    // Behind a prefix that has a key for every query head (Falcon), the text's keys are repeated
    // for each head of their group.
    if (m_keys[layer].defined() && m_keys[layer].size(0) > keys.size(0)) {
        const std::int64_t group = m_keys[layer].size(0) / keys.size(0);
        return append(layer, keys.repeat_interleave(group, 0), values.repeat_interleave(group, 0));
    }
    const std::int64_t needed = m_length + keys.size(1);
    const auto grow = [&](at::Tensor& store, const at::Tensor& like) {
        if (store.defined() && store.size(1) >= needed) return;
        at::Tensor larger = at::empty(
            {like.size(0), std::max<std::int64_t>(64, needed * 2), like.size(2)}, like.options());
        if (store.defined()) larger.narrow(1, 0, m_length).copy_(store.narrow(1, 0, m_length));
        store = larger;
    };
    grow(m_keys[layer], keys);
    grow(m_values[layer], values);
    m_keys[layer].narrow(1, m_length, keys.size(1)).copy_(keys);
    m_values[layer].narrow(1, m_length, values.size(1)).copy_(values);
    return {m_keys[layer].narrow(1, 0, needed), m_values[layer].narrow(1, 0, needed)};
}

}  // namespace luthier
