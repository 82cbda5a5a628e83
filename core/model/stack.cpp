// SPDX-License-Identifier: Apache-2.0
#include "model/stack.h"

#include "model/alibi.h"
#include "model/relative.h"
#include "model/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace luthier {

namespace {

/// How many of `rows` [M] i64, in ascending order, lie in each segment.
std::vector<std::int64_t> countsOf(const at::Tensor& rows, const std::vector<std::int64_t>& segments) {
    const at::Tensor places = rows.to(at::kCPU).contiguous();
    const std::int64_t* const begin = places.const_data_ptr<std::int64_t>();
    const std::int64_t* from = begin;
    std::vector<std::int64_t> counts;
    std::int64_t end = 0;
    for (const std::int64_t length : segments) {
        const std::int64_t* to = std::lower_bound(from, begin + places.numel(), end += length);
        counts.push_back(to - from);
        from = to;
    }
    return counts;
}

at::Tensor activated(const at::Tensor& x, kernels::GateActivation activation) {
    switch (activation) {
        case kernels::GateActivation::Silu: return at::silu(x);
        case kernels::GateActivation::GeluTanh: return at::gelu(x, "tanh");
        case kernels::GateActivation::Gelu: return at::gelu(x);
        case kernels::GateActivation::Relu: return at::relu(x);
    }
    return x;
}

bool requiresGrad(std::initializer_list<at::Tensor> tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); });
}

/// Keys and values of all prefix hooks one after another, each [Hkv or H, n, D]; undefined without any.
std::pair<at::Tensor, at::Tensor> prefixOf(const SiteHooks& hooks, int layer) {
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    for (KeyValueHook* hook : hooks.keyValue()) {
        auto [key, value] = hook->prefix(layer);
        keys.push_back(std::move(key));
        values.push_back(std::move(value));
    }
    if (keys.empty()) return {};
    return {keys.size() == 1 ? keys[0] : at::cat(keys, 1), values.size() == 1 ? values[0] : at::cat(values, 1)};
}

/// The table of each segment; of mixed rows each has its own.
std::vector<const SiteHooks*> tablesOf(const SiteHooks& hooks, const std::vector<std::int64_t>& segments) {
    if (hooks.mixed() == nullptr) return std::vector<const SiteHooks*>(segments.size(), &hooks);
    std::vector<const SiteHooks*> tables;
    hooks.rowsAre(segments);
    hooks.mixed()->each([&](const SiteHooks& table, std::int64_t, std::int64_t count) {
        while (count > 0) {
            count -= segments[tables.size()];
            tables.push_back(&table);
        }
        return at::Tensor(at::zeros({0}));
    });
    return tables;
}

/// The input with each segment's prompts before it, and the new row of each text row.
std::pair<Stack::Input, std::vector<std::int64_t>> behindPrompts(const Stack::Input& input, const std::vector<const SiteHooks*>& tables) {
    // A gather from [prompts of each table; text rows].
    std::map<const SiteHooks*, std::int64_t> places;
    std::vector<at::Tensor> rows, positions;
    std::int64_t prompts = 0;
    for (const SiteHooks* table : tables) {
        if (!places.emplace(table, prompts).second || table->input().empty()) continue;
        for (InputHook* hook : table->input()) rows.push_back(hook->prompt().to(input.embedded.scalar_type()));
        positions.push_back(at::arange(table->promptLength(), input.positions.options()));
        prompts += table->promptLength();
    }
    std::vector<std::int64_t> gather, rowOf;
    std::vector<std::int64_t> segments = input.segments;
    std::int64_t text = 0;
    for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const std::int64_t length = tables[segment]->promptLength();
        for (std::int64_t i = 0; i < length; ++i) gather.push_back(places.at(tables[segment]) + i);
        for (std::int64_t i = 0; i < segments[segment]; ++i) {
            rowOf.push_back(static_cast<std::int64_t>(gather.size()));
            gather.push_back(prompts + text++);
        }
        segments[segment] += length;
    }
    const at::Tensor index = at::tensor(gather, at::kLong).to(input.positions.device());
    const auto gathered = [&](std::vector<at::Tensor> before, const at::Tensor& own) {
        before.push_back(own);
        return at::index_select(at::cat(before, 0), 0, index);
    };
    const at::Tensor types = input.types.defined() ? gathered({at::zeros({prompts}, input.types.options())}, input.types) : at::Tensor();
    return {{gathered(rows, input.embedded), gathered(positions, input.positions), types, segments}, rowOf};
}

/// Segments that read the same rows of an encoder as one: attention over these rows knows no order among its queries.
std::vector<std::int64_t> joined(const std::vector<std::int64_t>& segments, const std::vector<std::int64_t>& readers) {
    if (readers.empty()) return segments;
    std::vector<std::int64_t> sums;
    auto next = segments.begin();
    for (const std::int64_t count : readers) {
        sums.push_back(std::accumulate(next, next + count, std::int64_t{0}));
        next += count;
    }
    return sums;
}

}  // namespace

/// What flows between blocks: rows of all segments, virtual rows included.
struct Stack::Stream {
    at::Tensor x;                        // [N, C]
    at::Tensor delta;                    // [N, C], the last sub-layer's output, not yet added to x
    at::Tensor cos, sin;                 // [N, rotary/2] or undefined
    at::Tensor localCos, localSin;       // of layers with a rope of their own
    at::Tensor keyBias;                  // ALiBi of every key of the pass, or undefined
    at::Tensor bias;                     // T5's relative scores [H, L, K], DeBERTa's rows of positions [2 span, C], or undefined
    std::vector<std::int64_t> segments;  // lengths with virtual rows
    std::vector<std::int64_t> rowOf;     // stream row of each text row; empty when they are the same

    /// cos and sin of a layer's rotation; undefined where it does not rotate.
    std::pair<at::Tensor, at::Tensor> anglesOf(const LayerSwitches& layer) const {
        if (!layer.isRotated) return {};
        return layer.usesLocalRope ? std::pair{localCos, localSin} : std::pair{cos, sin};
    }
};

int Stack::Block::* Stack::Block::slotOf(LinearRole role) {
    switch (role) {
        case LinearRole::Query: return &Block::query;
        case LinearRole::Key: return &Block::key;
        case LinearRole::Value: return &Block::value;
        case LinearRole::FusedQkv: return &Block::fusedQkv;
        case LinearRole::AttentionOut: return &Block::attentionOut;
        case LinearRole::CrossQuery: return &Block::crossQuery;
        case LinearRole::CrossKey: return &Block::crossKey;
        case LinearRole::CrossValue: return &Block::crossValue;
        case LinearRole::CrossOut: return &Block::crossOut;
        case LinearRole::RelativeKey: return &Block::relativeKey;
        case LinearRole::RelativeQuery: return &Block::relativeQuery;
        case LinearRole::Gate: return &Block::gate;
        case LinearRole::Up: return &Block::up;
        case LinearRole::GateUp: return &Block::gateUp;
        default: return &Block::down;
    }
}

std::vector<int> Stack::Block::sites() const {
    std::vector<int> present;
    for (const int site : {query, key, value, fusedQkv, attentionOut, gate, up, gateUp, down, crossQuery, crossKey, crossValue, crossOut, relativeKey, relativeQuery})
        if (site >= 0) present.push_back(site);
    return present;
}

Stack::Stack(const ModelDescription& description, const Linears& linears, const Weights& weights, int firstBlock, at::ScalarType dtype, at::Device device)
    : m_description(description), m_linears(linears), m_weights(weights), m_firstBlock(firstBlock), m_isAlone(linears.sites().encoderLayers == 0),
      m_dtype(dtype), m_device(device) {
    const auto table = [&](const std::string& path) { return m_weights.find(path + ".weight"); };
    if (m_description.learnsPositions()) m_positions = table(m_description.names.positions);
    if (m_description.tokenTypes > 0) m_types = table(m_description.names.tokenTypes);
    if (!m_description.names.relative.empty()) m_relative = table(m_description.names.relative);
    if (!m_description.hasNormWeight) m_ones = at::ones({m_description.hidden}, at::TensorOptions(at::kFloat).device(device));
    m_finalNorm = normAt(m_description.names.finalNorm);
    m_embeddingNorm = normAt(m_description.names.embeddingNorm);
    m_relativeNorm = normAt(m_description.names.relativeNorm);
    for (std::int64_t layer = 0; layer < m_description.layers; ++layer) m_blocks.push_back(blockAt(static_cast<std::size_t>(layer)));
    const std::vector<LinearSite>& sites = linears.sites().linears;
    for (std::size_t site = 0; site < sites.size(); ++site) {
        if (sites[site].path == m_description.names.projectIn) m_projectIn = static_cast<int>(site);
        if (sites[site].path == m_description.names.projectOut) m_projectOut = static_cast<int>(site);
        const int layer = sites[site].block - m_firstBlock;
        if (sites[site].block >= 0 && layer >= 0 && layer < m_description.layers)
            m_blocks[static_cast<std::size_t>(layer)].*Block::slotOf(sites[site].role) = static_cast<int>(site);
    }
}

Stack::Block Stack::blockAt(std::size_t layer) const {
    const std::string path = m_description.names.layers + std::to_string(layer) + ".";
    const auto normOf = [&](const std::string& name) { return name.empty() ? Norm{} : normAt(path + name); };
    Block block;
    block.attentionNorm = normOf(m_description.names.attentionNorm);
    block.attentionPostNorm = normOf(m_description.names.attentionPostNorm);
    block.crossNorm = normOf(m_description.names.crossNorm);
    block.feedForwardNorm = normOf(m_description.names.feedForwardNorm);
    block.feedForwardPostNorm = normOf(m_description.names.feedForwardPostNorm);
    if (m_description.queryKeyNorm != QueryKeyNorm::None) {
        block.queryNorm = queryKeyNormAt(path + m_description.names.queryNorm, m_description.heads);
        block.keyNorm = queryKeyNormAt(path + m_description.names.keyNorm, m_description.keyValueHeads);
    }
    if (m_description.layer(static_cast<std::int64_t>(layer)).isMixture) block.mixture = mixtureAt(path);
    return block;
}

Stack::Norm Stack::normAt(const std::string& path) const {
    if (path.empty()) return {};
    if (!m_description.hasNormWeight) return {&m_ones, &m_none};
    return {m_weights.find(path + ".weight"), m_description.hasNormBias ? m_weights.find(path + ".bias") : &m_none};
}

std::vector<Stack::Norm> Stack::queryKeyNormAt(const std::string& path, std::int64_t heads) const {
    const auto normOf = [&](const std::string& name) {
        return Norm{m_weights.find(name + ".weight"), m_description.hasQueryKeyNormBias ? m_weights.find(name + ".bias") : &m_none};
    };
    if (m_description.queryKeyNorm != QueryKeyNorm::OwnPerHead) return {normOf(path)};
    std::vector<Norm> norms;
    for (std::int64_t head = 0; head < heads; ++head) norms.push_back(normOf(path + ".norms." + std::to_string(head)));
    return norms;
}

Stack::Mixture Stack::mixtureAt(const std::string& path) const {
    const MixtureSpec& spec = m_description.mixture;
    const auto expertAt = [&](const std::string& at) {
        return Expert{m_weights.find(at + spec.gate + ".weight"), m_weights.find(at + spec.up + ".weight"), m_weights.find(at + spec.down + ".weight")};
    };
    Mixture mixture;
    mixture.router = m_weights.find(path + spec.router + ".weight");
    for (std::int64_t i = 0; i < spec.experts; ++i) mixture.experts.push_back(expertAt(path + spec.expert + std::to_string(i) + "."));
    if (spec.sharedIntermediate > 0) {
        mixture.shared = expertAt(path + spec.shared);
        mixture.sharedGate = m_weights.find(path + spec.sharedGate + ".weight");
    }
    return mixture;
}

std::pair<at::Tensor, at::Tensor> Stack::applyNorm(const Norm& norm, const at::Tensor& x, const at::Tensor& delta, const SiteHooks& hooks) const {
    if (norm.weight == nullptr) {
        const at::Tensor sum = delta.defined() ? x + delta : x;
        return {sum, sum};
    }
    if (const MixedRows* rows = hooks.mixed()) {  // each may have a norm of its own
        const at::Tensor sum = delta.defined() ? x + delta : x;
        return {sum, rows->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) { return applyNorm(norm, sum.narrow(0, first, count), {}, table).second; })};
    }
    if (m_description.norm == NormKind::RmsNorm)
        return nn::addRmsNorm(x, delta, hooks.current(*norm.weight), m_description.normEps, m_description.normOffset);
    return nn::addLayerNorm(x, delta, hooks.current(*norm.weight), hooks.current(*norm.bias), m_description.normEps);
}

at::Tensor Stack::throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output, const at::Tensor& residual,
                               const SiteHooks& hooks) const {
    const std::size_t site = 2 * (static_cast<std::size_t>(m_firstBlock) + layer) + (after == Sublayer::FeedForward ? 1 : 0);
    const auto changed = [&](const SiteHooks& table, at::Tensor rows, const at::Tensor& residuals) {
        for (BlockOutputHook* hook : table.blockOutput(site)) rows = hook->forward(rows, residuals);
        return rows;
    };
    if (hooks.mixed() == nullptr) return changed(hooks, output, residual);
    return hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
        return changed(table, output.narrow(0, first, count), residual.narrow(0, first, count));
    });
}

at::Tensor Stack::afterNorm(const Norm& norm, const at::Tensor& output, const SiteHooks& hooks) const {
    const at::Tensor normed = norm.weight == nullptr ? output : applyNorm(norm, output, {}, hooks).second;
    return m_description.residualScale == 1.0 ? normed : normed * m_description.residualScale;
}

at::Tensor Stack::normedHeads(const std::vector<Norm>& norms, const at::Tensor& rows, const SiteHooks& hooks) const {
    if (norms.empty()) return rows;
    if (hooks.mixed() != nullptr)
        return hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) { return normedHeads(norms, rows.narrow(0, first, count), table); });
    if (m_description.queryKeyNorm == QueryKeyNorm::AllHeads) return applyNorm(norms[0], rows, {}, hooks).second;
    const at::Tensor heads = rows.reshape({-1, m_description.headSize});
    if (norms.size() == 1 && m_description.queryKeyNorm == QueryKeyNorm::PerHead) return applyNorm(norms[0], heads, {}, hooks).second.view(rows.sizes());
    const at::Tensor unit = at::ones({m_description.headSize}, heads.options().dtype(at::kFloat));
    std::vector<at::Tensor> weights;
    for (const Norm& norm : norms) weights.push_back(hooks.current(*norm.weight));
    return applyNorm({&unit, &m_none}, heads, {}, hooks).second.view(rows.sizes()) * at::cat(weights, 0).to(rows.scalar_type());
}

std::array<at::Tensor, 3> Stack::queryKeyValue(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    const std::int64_t D = m_description.headSize;
    const std::int64_t queryWidth = m_description.heads * D;
    const std::int64_t keyWidth = m_description.keyValueHeads * D;
    std::array<at::Tensor, 3> parts;
    if (block.fusedQkv < 0) {
        parts = {m_linears.project(block.query, x, hooks), m_linears.project(block.key, x, hooks), m_linears.project(block.value, x, hooks)};
    } else {
        const at::Tensor fused = m_linears.project(block.fusedQkv, x, hooks);
        if (m_description.qkvLayout == QkvLayout::Blocks) {
            const std::vector<at::Tensor> split = fused.split_with_sizes({queryWidth, keyWidth, keyWidth}, 1);
            parts = {split[0], split[1], split[2]};
        } else {
            const std::int64_t group = m_description.heads / m_description.keyValueHeads;
            const std::vector<at::Tensor> split = fused.view({fused.size(0), m_description.keyValueHeads, group + 2, D}).split_with_sizes({group, 1, 1}, 2);
            parts = {split[0].reshape({-1, queryWidth}), split[1].reshape({-1, keyWidth}), split[2].reshape({-1, keyWidth})};
        }
    }
    if (m_description.clipQkv > 0)
        for (at::Tensor& part : parts) part = part.clamp(-m_description.clipQkv, m_description.clipQkv);
    parts[0] = normedHeads(block.queryNorm, parts[0], hooks);
    parts[1] = normedHeads(block.keyNorm, parts[1], hooks);
    return parts;
}

at::Tensor Stack::feedForward(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    if (block.mixture) return mixed(*block.mixture, x);
    if (block.gateUp >= 0) {
        const std::vector<at::Tensor> halves = m_linears.project(block.gateUp, x, hooks).chunk(2, 1);
        return m_linears.project(block.down, nn::gatedActivation(halves[0].contiguous(), halves[1].contiguous(), m_description.activation), hooks);
    }
    const at::Tensor up = m_linears.project(block.up, x, hooks);
    const at::Tensor inner = m_description.feedForward == FeedForwardKind::Gated
                                 ? nn::gatedActivation(m_linears.project(block.gate, x, hooks), up, m_description.activation)
                                 : activated(up, m_description.activation);
    return m_linears.project(block.down, inner, hooks);
}

at::Tensor Stack::mixed(const Mixture& mixture, const at::Tensor& x) const {
    const MixtureSpec& spec = m_description.mixture;
    const auto linear = [](const at::Tensor& rows, const at::Tensor& weight) { return nn::linear(rows, weight, {}, nn::WeightLayout::OutIn); };
    const auto expert = [&](const Expert& e, const at::Tensor& rows) {
        return linear(nn::gatedActivation(linear(rows, *e.gate), linear(rows, *e.up), m_description.activation), *e.down);
    };
    const at::Tensor probabilities = at::softmax(linear(x, *mixture.router).to(at::kFloat), -1);            // [N, E]
    auto [chosen, index] = at::topk(probabilities, spec.perToken, -1);                                      // [N, k]
    if (spec.isNormalised) chosen = chosen / chosen.sum(-1, true);
    chosen = chosen.to(x.scalar_type());
    at::Tensor y = at::zeros_like(x);
    for (std::size_t e = 0; e < mixture.experts.size(); ++e) {
        const at::Tensor places = at::nonzero(index == static_cast<std::int64_t>(e));                       // [n, 2]: row, rank
        if (places.size(0) == 0) continue;
        const at::Tensor rows = places.select(1, 0).contiguous();
        const at::Tensor weight = at::index_select(chosen.flatten(), 0, rows * spec.perToken + places.select(1, 1));
        y = at::index_add(y, 0, rows, expert(mixture.experts[e], at::index_select(x, 0, rows)) * weight.unsqueeze(1));
    }
    if (mixture.sharedGate != nullptr) y = y + expert(mixture.shared, x) * at::sigmoid(linear(x, *mixture.sharedGate));
    return y;
}

bool Stack::isTrained(std::size_t layer, const SiteHooks& hooks) const {
    const Block& block = m_blocks[layer];
    const auto learns = [&](const at::Tensor* tensor) { return tensor != nullptr && (requiresGrad({*tensor}) || hooks.replaces(tensor)); };
    const auto learnsNorm = [&](const Norm& norm) { return learns(norm.weight) || learns(norm.bias); };
    for (const Norm* norm : {&block.attentionNorm, &block.attentionPostNorm, &block.crossNorm, &block.feedForwardNorm, &block.feedForwardPostNorm})
        if (learnsNorm(*norm)) return true;
    if (std::any_of(block.queryNorm.begin(), block.queryNorm.end(), learnsNorm) || std::any_of(block.keyNorm.begin(), block.keyNorm.end(), learnsNorm))
        return true;
    if (block.mixture) {
        const auto learnsExpert = [&](const Expert& expert) { return learns(expert.gate) || learns(expert.up) || learns(expert.down); };
        const Mixture& mixture = *block.mixture;
        if (learns(mixture.router) || learns(mixture.sharedGate) || learnsExpert(mixture.shared) ||
            std::any_of(mixture.experts.begin(), mixture.experts.end(), learnsExpert))
            return true;
    }
    const std::vector<int> sites = block.sites();
    if (std::any_of(sites.begin(), sites.end(), [&](int site) { return m_linears.isTrained(static_cast<std::size_t>(site), hooks); })) return true;
    const std::size_t outputs = 2 * (static_cast<std::size_t>(m_firstBlock) + layer);
    return !hooks.blockOutput(outputs).empty() || !hooks.blockOutput(outputs + 1).empty();
}

at::Tensor Stack::enter(const at::Tensor& embedded, const at::Tensor& positions, const at::Tensor& types, const SiteHooks& hooks) const {
    at::Tensor x = embedded;
    if (m_description.inputScale != 1.0) x = x * m_description.inputScale;
    if (m_projectIn >= 0) x = m_linears.project(m_projectIn, x, hooks);
    if (m_types != nullptr) x = x + (types.defined() ? at::embedding(hooks.current(*m_types), types) : hooks.current(*m_types).narrow(0, 0, 1)).to(m_dtype);
    if (m_positions != nullptr) x = x + at::embedding(hooks.current(*m_positions), positions + m_description.positionOffset).to(m_dtype);
    if (m_embeddingNorm.weight != nullptr) x = applyNorm(m_embeddingNorm, x, {}, hooks).second;
    return x;
}

void Stack::place(Stream& stream, const at::Tensor& positions, std::int64_t length, std::int64_t first, std::int64_t keys, const SiteHooks& hooks) const {
    switch (m_description.position) {
        case PositionKind::Alibi: stream.keyBias = alibiBias(m_description, keys).to(m_device); return;
        case PositionKind::Rope:
            std::tie(stream.cos, stream.sin) = rotaryAngles(m_description.rope, positions, length);
            if (m_description.localRope) std::tie(stream.localCos, stream.localSin) = rotaryAngles(*m_description.localRope, positions, length);
            return;
        case PositionKind::Buckets: {
            const at::Tensor buckets = t5Buckets(m_description.relative, !m_description.isCausal, first, keys - first, keys).to(m_device);
            stream.bias = at::embedding(hooks.current(*m_relative), buckets).permute({2, 0, 1}).to(at::kFloat).contiguous();  // [H, L, K]
            return;
        }
        case PositionKind::Disentangled:
            static const SiteHooks none;  // mixed rows share the positions, so none of their tables changes this norm
            stream.bias = applyNorm(m_relativeNorm, hooks.current(*m_relative).to(m_dtype), {}, hooks.mixed() == nullptr ? hooks : none).second;
            return;
        case PositionKind::Learned:
        case PositionKind::None: return;
    }
}

nn::AttentionShape Stack::attentionShape(std::size_t layer, std::vector<std::int64_t> segments, const at::Tensor& keyBias) const {
    nn::AttentionShape shape{m_description.heads, m_description.keyValueHeads, m_description.headSize, m_description.scoreScale(),
                             std::move(segments)};
    shape.window = m_description.layer(static_cast<std::int64_t>(layer)).window;
    shape.softCap = m_description.attentionSoftCap;
    shape.ropePairs = m_description.ropePairs;
    shape.keyBias = keyBias;
    shape.isCausal = m_description.isCausal;
    return shape;
}

std::pair<at::Tensor, at::Tensor> Stack::throughCross(std::size_t layer, const at::Tensor& x, const at::Tensor& delta, const SiteHooks& hooks,
                                                      const Attend& attend) const {
    const Block& block = m_blocks[layer];
    if (m_description.flow == BlockFlow::PostNorm) {  // x is normed already, and takes norm(x + cross(x))
        const at::Tensor out = m_linears.project(block.crossOut, attend.cross(layer, x), hooks);
        return {applyNorm(block.crossNorm, x, out, hooks).second, at::Tensor()};
    }
    const auto [sum, y] = applyNorm(block.crossNorm, x, delta, hooks);
    return {sum, m_linears.project(block.crossOut, attend.cross(layer, y), hooks)};
}

void Stack::runBlock(std::size_t layer, Stream& stream, const at::Tensor& wanted, const SiteHooks& hooks, const Attend& attend) const {
    const Block& block = m_blocks[layer];
    const BlockFlow flow = m_description.flow;
    auto [residual, x] = flow == BlockFlow::PostNorm ? applyNorm({}, stream.x, stream.delta, hooks) : applyNorm(block.attentionNorm, stream.x, stream.delta, hooks);
    at::Tensor attended = attend.self(layer, queryKeyValue(block, x, hooks));
    const bool hasCross = block.crossQuery >= 0;
    if (wanted.defined() && !hasCross) {
        // Behind the last attention no row looks at another: what nobody asks for ends here.
        const bool needsInput = flow == BlockFlow::Parallel || m_description.isResidualNormed;
        attended = at::index_select(attended, 0, wanted);
        residual = at::index_select(residual, 0, wanted);
        if (needsInput) x = at::index_select(x, 0, wanted);
    }
    at::Tensor out = afterNorm(block.attentionPostNorm,
                                     throughHooks(layer, Sublayer::Attention, m_linears.project(block.attentionOut, attended, hooks), residual, hooks), hooks);
    const auto keepWanted = [&](at::Tensor& rows) {
        if (wanted.defined() && rows.defined()) rows = at::index_select(rows, 0, wanted);
    };
    switch (flow) {
        case BlockFlow::Sequential: {
            if (hasCross) {
                std::tie(residual, out) = throughCross(layer, residual, out, hooks, attend);
                keepWanted(residual);
                keepWanted(out);
            }
            const auto [middle, y] = applyNorm(block.feedForwardNorm, m_description.isResidualNormed ? x : residual, out, hooks);
            stream.x = m_description.isResidualNormed ? y : middle;
            stream.delta = afterNorm(block.feedForwardPostNorm,
                                     throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), middle, hooks), hooks);
            return;
        }
        case BlockFlow::Parallel: {
            const at::Tensor y = block.feedForwardNorm.weight == nullptr ? x : applyNorm(block.feedForwardNorm, residual, {}, hooks).second;
            stream.x = residual;
            stream.delta = out + throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), residual, hooks);
            return;
        }
        case BlockFlow::PostNorm: {
            at::Tensor y = applyNorm(block.attentionNorm, residual, out, hooks).second;
            if (hasCross) {
                y = throughCross(layer, y, {}, hooks, attend).first;
                keepWanted(y);
            }
            const at::Tensor forward = throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), y, hooks);
            stream.x = applyNorm(block.feedForwardNorm, y, forward, hooks).second;
            stream.delta = at::Tensor();
            return;
        }
    }
}

at::Tensor Stack::finish(const Stream& stream, const SiteHooks& hooks) const {
    at::Tensor h = applyNorm(m_finalNorm, stream.x, stream.delta, hooks).second;
    if (m_projectOut >= 0) h = m_linears.project(m_projectOut, h, hooks);
    return m_description.logitScale == 1.0 ? h : h * m_description.logitScale;
}

Stack::Stream Stack::start(const Input& input, Prompts prompts, const SiteHooks& hooks) const {
    const std::int64_t prompt = prompts == Prompts::Taken ? hooks.promptLength() : 0;
    const std::int64_t prefix = takesPrefix() ? hooks.prefixLength() : 0;
    const std::vector<const SiteHooks*> tables = tablesOf(hooks, input.segments);
    Input behind = input;
    if (prompt + prefix > 0) {  // text positions start behind what stands before the text
        std::vector<std::int64_t> shifts;
        for (std::size_t segment = 0; segment < tables.size(); ++segment)
            shifts.insert(shifts.end(), static_cast<std::size_t>(input.segments[segment]), (prompt > 0 ? tables[segment]->promptLength() : 0) + (prefix > 0 ? tables[segment]->prefixLength() : 0));
        behind.positions = input.positions + at::tensor(shifts, at::kLong).to(m_device);
    }
    Stream stream;
    if (prompt > 0) std::tie(behind, stream.rowOf) = behindPrompts(behind, tables);
    stream.segments = behind.segments;
    hooks.rowsAre(stream.segments);
    stream.x = enter(behind.embedded, behind.positions, behind.types, hooks);
    const std::int64_t longest = stream.segments.empty() ? 0 : *std::max_element(stream.segments.begin(), stream.segments.end());
    place(stream, behind.positions, behind.positions.numel() == 0 ? 1 : behind.positions.max().item<std::int64_t>() + 1, prefix, longest + prefix, hooks);
    return stream;
}

at::Tensor Stack::attendSelf(const std::array<at::Tensor, 3>& qkv, std::size_t layer, const Stream& stream, const nn::BlockInputs& inputs,
                             const SiteHooks& hooks) const {
    if (hooks.mixed() != nullptr && takesPrefix() && hooks.prefixLength() > 0) {
        // Rows behind one prefix at a time.
        std::size_t segment = 0;
        return hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
            Stream own;
            for (std::int64_t rows = 0; rows < count; rows += stream.segments[segment++]) own.segments.push_back(stream.segments[segment]);
            const auto part = [&](const at::Tensor& all) { return all.defined() ? all.narrow(0, first, count) : all; };
            std::tie(own.cos, own.sin) = std::pair(part(stream.cos), part(stream.sin));
            std::tie(own.localCos, own.localSin) = std::pair(part(stream.localCos), part(stream.localSin));
            own.keyBias = stream.keyBias;  // it grows evenly with the key, so where it begins is nothing to a softmax
            nn::BlockInputs in;
            std::tie(in.prefixKey, in.prefixValue) = prefixOf(table, static_cast<int>(layer));
            // Scores of distances: their columns begin with the longest prefix, these rows' with their own.
            const std::int64_t unused = hooks.prefixLength() - table.prefixLength();
            if (inputs.bias.defined()) in.bias = inputs.bias.narrow(2, unused, inputs.bias.size(2) - unused);
            return attendSelf({part(qkv[0]), part(qkv[1]), part(qkv[2])}, layer, own, in, table);
        });
    }
    if (m_description.position == PositionKind::Disentangled) return attendDisentangled(qkv, m_blocks[layer], inputs.bias, stream.segments, hooks);
    const nn::AttentionShape shape = attentionShape(layer, stream.segments, stream.keyBias);
    if (!m_description.isCausal || inputs.bias.defined()) return nn::attention(qkv[0], qkv[1], qkv[2], inputs.prefixKey, inputs.prefixValue, inputs.bias, shape);
    const auto [cos, sin] = stream.anglesOf(m_description.layer(static_cast<std::int64_t>(layer)));
    return nn::causalAttention(qkv[0], qkv[1], qkv[2], cos, sin, inputs.prefixKey, inputs.prefixValue, shape);
}

at::Tensor Stack::attendMemory(const at::Tensor& x, std::size_t layer, const at::Tensor& key, const at::Tensor& value, const std::vector<std::int64_t>& segments,
                               const std::vector<std::int64_t>& memorySegments, const SiteHooks& hooks) const {
    nn::AttentionShape shape = attentionShape(layer, segments, {});
    shape.isCausal = false;
    shape.keySegments = memorySegments;
    return nn::attention(m_linears.project(m_blocks[layer].crossQuery, x, hooks), key, value, {}, {}, {}, shape);
}

at::Tensor Stack::attendDisentangled(const std::array<at::Tensor, 3>& qkv, const Block& block, const at::Tensor& relative, const std::vector<std::int64_t>& segments,
                                     const SiteHooks& hooks) const {
    // Scores of query i and key j with p = position(i, j) (He et al. 2021): (q_i k_j + q_i K_p + k_j Q_p) / sqrt(D * terms).
    const RelativeSpec& spec = m_description.relative;
    const std::int64_t H = m_description.heads;
    const std::int64_t D = m_description.headSize;
    const std::int64_t span = spec.span();
    const auto heads = [&](const at::Tensor& rows) { return rows.view({rows.size(0), H, D}).transpose(0, 1); };  // [H, rows, D]
    at::Tensor positionKey;
    at::Tensor positionQuery;
    const auto projectPositions = [&] {
        if (spec.hasContentToPosition) positionKey = heads(m_linears.project(block.relativeKey >= 0 ? block.relativeKey : block.key, relative, hooks));
        if (spec.hasPositionToContent) positionQuery = heads(m_linears.project(block.relativeQuery >= 0 ? block.relativeQuery : block.query, relative, hooks));
    };
    if (hooks.mixed() == nullptr) projectPositions();
    const double scale = 1.0 / std::sqrt(static_cast<double>(D * (1 + (spec.hasContentToPosition ? 1 : 0) + (spec.hasPositionToContent ? 1 : 0))));
    std::vector<at::Tensor> parts;
    std::int64_t first = 0;
    for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const std::int64_t L = segments[segment];
        if (hooks.mixed() != nullptr) {  // all rows share the positions, but each projects them its own way
            std::vector<std::int64_t> lengths(segments.size(), 0);
            lengths[segment] = relative.size(0);
            hooks.rowsAre(lengths);
            projectPositions();
        }
        const auto part = [&](const at::Tensor& rows) { return heads(rows.narrow(0, first, L)); };
        const at::Tensor q = part(qkv[0]);
        const at::Tensor k = part(qkv[1]);
        const at::Tensor distance = debertaPositions(spec, L).to(m_device);  // [L, L]
        at::Tensor scores = at::bmm(q, k.transpose(1, 2));
        if (positionKey.defined())
            scores = scores + at::gather(at::bmm(q, positionKey.transpose(1, 2)), 2, (distance + span).clamp(0, 2 * span - 1).expand({H, L, L}));
        if (positionQuery.defined())
            scores = scores + at::gather(at::bmm(k, positionQuery.transpose(1, 2)), 2, (span - distance).clamp(0, 2 * span - 1).expand({H, L, L})).transpose(1, 2);
        parts.push_back(at::bmm(at::softmax(scores * scale, -1), part(qkv[2])).transpose(0, 1).reshape({L, H * D}));
        first += L;
    }
    hooks.rowsAre(segments);
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

StackRows Stack::pass(const Input& input, const at::Tensor& rows, RowsOf rowsOf, const StackRows* memory, Prompts prompts, const SiteHooks& hooks,
                      Activations activations) const {
    Stream stream = start(input, prompts, hooks);
    at::Tensor wanted = rows;
    if (rowsOf == RowsOf::Segments) {
        std::vector<std::int64_t> firsts{0};
        for (const std::int64_t length : stream.segments) firsts.push_back(firsts.back() + length);
        wanted = at::index_select(at::tensor(firsts, at::kLong).to(m_device), 0, rows);
    } else if (!stream.rowOf.empty() && rows.defined()) wanted = at::index_select(at::tensor(stream.rowOf, at::kLong).to(m_device), 0, rows);
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        // What a second run of the block needs stands in it by value; a prefix may come from tensors that all layers share, so it
        // is made outside.
        const at::Tensor kept = layer + 1 == m_blocks.size() && hooks.mixed() == nullptr ? wanted : at::Tensor();
        // All layers share the encoder's rows and T5's bias. A view of them for each layer adds up a layer's gradients before those of
        // all layers are, as a block that runs again does: the sums are the same bit for bit.
        const auto ownView = [](const at::Tensor& shared) { return shared.defined() && shared.requires_grad() ? shared.view(shared.sizes()) : shared; };
        nn::BlockInputs inputs{stream.x, stream.delta, {}, {}, ownView(memory != nullptr ? memory->x : at::Tensor()), ownView(stream.bias)};
        if (takesPrefix() && hooks.mixed() == nullptr) std::tie(inputs.prefixKey, inputs.prefixValue) = prefixOf(hooks, static_cast<int>(layer));
        const bool isRecomputed = activations == Activations::Recompute &&
                                  (requiresGrad({inputs.x, inputs.delta, inputs.prefixKey, inputs.prefixValue, inputs.memory, inputs.bias}) || isTrained(layer, hooks));
        Stream standing = stream;
        standing.x = standing.delta = standing.bias = at::Tensor();
        const std::vector<std::int64_t> memorySegments = memory != nullptr ? memory->segments : std::vector<std::int64_t>{};
        const std::vector<std::int64_t> reading = memory != nullptr ? joined(standing.segments, memory->readers) : std::vector<std::int64_t>{};
        const auto run = [this, layer, kept, isRecomputed, &hooks, standing, memorySegments, reading](const nn::BlockInputs& in) {
            Stream passing = standing;
            passing.x = in.x;
            passing.delta = in.delta;
            const Attend attend{[&](std::size_t, const std::array<at::Tensor, 3>& qkv) { return attendSelf(qkv, layer, standing, in, hooks); },
                                [&](std::size_t, const at::Tensor& x) {
                                    const Block& block = m_blocks[layer];
                                    hooks.rowsAre(memorySegments);
                                    const at::Tensor key = m_linears.project(block.crossKey, in.memory, hooks);
                                    const at::Tensor value = m_linears.project(block.crossValue, in.memory, hooks);
                                    hooks.rowsAre(standing.segments);
                                    return attendMemory(x, layer, key, value, reading, memorySegments, hooks);
                                }};
            runBlock(layer, passing, kept, hooks, attend);
            // A node's outputs must all be there; PostNorm leaves no delta.
            if (isRecomputed && !passing.delta.defined()) passing.delta = at::zeros_like(passing.x);
            return std::pair(passing.x, passing.delta);
        };
        std::tie(stream.x, stream.delta) = isRecomputed ? nn::recomputed(run, inputs) : run(inputs);
    }
    at::Tensor last = finish(stream, hooks);
    if (hooks.mixed() != nullptr && wanted.defined()) {
        last = at::index_select(last, 0, wanted);
        hooks.rowsAre(countsOf(wanted, stream.segments));
    }
    return {last, stream.segments};
}

at::Tensor Stack::attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream, std::size_t layer, KeyValueCache& cache,
                                 const SiteHooks& hooks) const {
    const std::int64_t H = m_description.heads;
    const std::int64_t Hkv = m_description.keyValueHeads;
    const std::int64_t D = m_description.headSize;
    const auto& [q, k, v] = qkv;
    const std::int64_t T = q.size(0);
    const auto [cos, sin] = stream.anglesOf(m_description.layer(static_cast<std::int64_t>(layer)));
    const auto rotated = [&, &cos = cos, &sin = sin](const at::Tensor& rows) {
        return cos.defined() ? kernels::rope(rows.contiguous(), cos, sin, D, kernels::RopeDirection::Forward, m_description.ropePairs) : rows;
    };
    const auto keyed = [&](const at::Tensor& rows) { return rows.reshape({T, Hkv, D}).transpose(0, 1); };  // [Hkv, T, D]
    if (cache.isEmpty()) {
        auto [prefixKey, prefixValue] = prefixOf(hooks, static_cast<int>(layer));
        const auto behind = [&](const at::Tensor& prefix, const at::Tensor& rows) {
            if (!prefix.defined()) return rows;
            const at::Tensor repeated = prefix.size(0) == Hkv ? rows : rows.repeat_interleave(prefix.size(0) / Hkv, 0);
            return at::cat({prefix.to(rows.scalar_type()), repeated}, 1);
        };
        cache.append(layer, behind(prefixKey, keyed(rotated(k))), behind(prefixValue, keyed(v)));
        return attendSelf(qkv, layer, stream, {{}, {}, prefixKey, prefixValue, {}, stream.bias}, hooks);
    }
    auto [keys, values] = cache.append(layer, keyed(rotated(k)), keyed(v));
    const std::int64_t kept = keys.size(0);  // Hkv, or H behind a prefix with a key for every query head
    const std::int64_t stored = keys.size(1);
    const nn::AttentionShape shape = attentionShape(layer, {1}, stream.keyBias);
    // Query heads of a group share keys: [kept, G, D] x [kept, D, P]. One new row sees everything stored, or its window.
    const std::int64_t seen = shape.window > 0 ? std::min(shape.window, stored) : stored;
    keys = keys.narrow(1, stored - seen, seen);
    values = values.narrow(1, stored - seen, seen);
    const at::Tensor Q = rotated(q).reshape({kept, H / kept, D}).to(at::kFloat);
    at::Tensor scores = at::bmm(Q, keys.to(at::kFloat).transpose(1, 2)) * shape.scale;
    if (shape.softCap > 0) scores = at::tanh(scores / shape.softCap) * shape.softCap;
    if (stream.bias.defined()) scores = scores + stream.bias.view({kept, H / kept, stored}).narrow(2, stored - seen, seen);
    if (shape.keyBias.defined()) scores = scores + shape.keyBias.narrow(1, stored - seen, seen).view({kept, H / kept, seen});
    return at::bmm(at::softmax(scores, -1), values.to(at::kFloat)).reshape({1, H * D}).to(m_dtype);
}

at::Tensor Stack::nextOfEach(const Input& input, const std::vector<KeyValueCache*>& caches, const SiteHooks& hooks) const {
    Stream stream;
    stream.segments = input.segments;
    stream.x = enter(input.embedded, input.positions, input.types, hooks);
    std::vector<Stream> places(caches.size());
    std::vector<std::int64_t> memorySegments;
    for (std::size_t row = 0; row < caches.size(); ++row) {
        const std::int64_t length = caches[row]->length();
        place(places[row], input.positions.narrow(0, static_cast<std::int64_t>(row), 1), length + 1, length, length + 1, hooks);
        if (caches[row]->memory.defined()) memorySegments.push_back(caches[row]->memory.size(0));
    }
    // Every row looks only at its own text; all else is done for the rows together.
    const auto attendEach = [&](std::size_t layer, const std::array<at::Tensor, 3>& qkv) {
        std::vector<at::Tensor> rows;
        for (std::size_t row = 0; row < caches.size(); ++row) {
            const auto own = [&](const at::Tensor& all) { return all.narrow(0, static_cast<std::int64_t>(row), 1); };
            rows.push_back(attendCached({own(qkv[0]), own(qkv[1]), own(qkv[2])}, places[row], layer, *caches[row], hooks));
        }
        return at::cat(rows, 0);
    };
    const Attend attend{attendEach, [&](std::size_t layer, const at::Tensor& x) {
                            std::vector<at::Tensor> keys, values;
                            for (const KeyValueCache* cache : caches) {
                                keys.push_back(cache->crossed[layer].first);
                                values.push_back(cache->crossed[layer].second);
                            }
                            return attendMemory(x, layer, at::cat(keys, 0), at::cat(values, 0), stream.segments, memorySegments, hooks);
                        }};
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) runBlock(layer, stream, {}, hooks, attend);
    for (KeyValueCache* cache : caches) cache->advance(1);
    return finish(stream, hooks);
}

at::Tensor Stack::next(const Input& input, KeyValueCache& cache, Prompts prompts, const SiteHooks& hooks) const {
    Stream stream;
    const bool isFirst = cache.isEmpty();
    if (isFirst) {
        stream = start(input, prompts, hooks);
    } else {
        stream.segments = input.segments;
        stream.x = enter(input.embedded, input.positions, input.types, hooks);
        place(stream, input.positions, cache.length() + 1, cache.length(), cache.length() + 1, hooks);
    }
    const std::int64_t rows = stream.x.size(0);
    const at::Tensor last = rows > 1 ? at::full({1}, rows - 1, at::TensorOptions(at::kLong).device(m_device)) : at::Tensor();
    if (cache.memory.defined() && cache.crossed.empty())
        for (const Block& block : m_blocks)
            cache.crossed.emplace_back(m_linears.project(block.crossKey, cache.memory, hooks), m_linears.project(block.crossValue, cache.memory, hooks));
    const Attend attend{[&](std::size_t layer, const std::array<at::Tensor, 3>& qkv) { return attendCached(qkv, stream, layer, cache, hooks); },
                        [&](std::size_t layer, const at::Tensor& x) {
                            const auto& [key, value] = cache.crossed[layer];
                            return attendMemory(x, layer, key, value, {x.size(0)}, {key.size(0)}, hooks);
                        }};
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer)
        runBlock(layer, stream, layer + 1 == m_blocks.size() ? last : at::Tensor(), hooks, attend);
    cache.advance(rows + (isFirst && takesPrefix() ? hooks.prefixLength() : 0));
    return finish(stream, hooks);
}

}  // namespace luthier
