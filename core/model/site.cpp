// SPDX-License-Identifier: Apache-2.0
#include "model/site.h"

#include <ATen/ops/cat.h>

namespace luthier {

const char* name(LinearRole role) {
    switch (role) {
        case LinearRole::Query:
            return "query";
        case LinearRole::Key:
            return "key";
        case LinearRole::Value:
            return "value";
        case LinearRole::FusedQkv:
            return "fused_qkv";
        case LinearRole::AttentionOut:
            return "attention_out";
        case LinearRole::CrossQuery:
            return "cross_query";
        case LinearRole::CrossKey:
            return "cross_key";
        case LinearRole::CrossValue:
            return "cross_value";
        case LinearRole::CrossOut:
            return "cross_out";
        case LinearRole::Gate:
            return "gate";
        case LinearRole::Up:
            return "up";
        case LinearRole::GateUp:
            return "gate_up";
        case LinearRole::Down:
            return "down";
        case LinearRole::ProjectIn:
            return "project_in";
        case LinearRole::ProjectOut:
            return "project_out";
        case LinearRole::RelativeKey:
            return "relative_key";
        case LinearRole::RelativeQuery:
            return "relative_query";
        case LinearRole::Pooler:
            return "pooler";
        case LinearRole::Head:
            return "head";
    }
    return "linear";
}

at::Tensor MixedRows::each(
    const std::function<at::Tensor(const SiteHooks&, std::int64_t, std::int64_t)>& change) const {
    std::vector<at::Tensor> parts;
    std::int64_t first = 0;
    for (std::size_t row = 0; row < m_tables.size();) {
        const SiteHooks* table = m_tables[row];
        std::int64_t count = 0;
        for (; row < m_tables.size() && m_tables[row] == table; ++row) count += m_lengths[row];
        if (count > 0) parts.push_back(change(*table, first, count));
        first += count;
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor SiteHooks::current(const at::Tensor& parameter) const {
    if (m_parameter.empty()) return parameter;
    const auto found = m_parameter.find(&parameter);
    if (found == m_parameter.end()) return parameter;
    at::Tensor value = parameter;
    for (ParameterHook* hook : found->second) value = hook->forward(value);
    return value;
}

std::int64_t SiteHooks::promptLength() const {
    std::int64_t rows = 0;
    for (const InputHook* hook : m_input) rows += hook->length();
    return rows;
}

std::int64_t SiteHooks::prefixLength() const {
    std::int64_t keys = 0;
    for (const KeyValueHook* hook : m_keyValue) keys += hook->length();
    return keys;
}

}  // namespace luthier
