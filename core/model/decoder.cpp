// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace luthier {

namespace {

/// A layer's projection with its hooks above it; each link hands the next a shorter chain.
class HookedProjection final : public Projection {
public:
    HookedProjection(const LinearWeights& weights, const std::vector<LinearHook*>& hooks, std::size_t count)
        : m_weights(weights), m_hooks(hooks), m_count(count) {}

    at::Tensor operator()(const at::Tensor& x) const override {
        if (m_count == 0)
            return nn::linear(x, m_weights.weight, m_weights.bias,
                              m_weights.isConv1D ? nn::WeightLayout::InOut : nn::WeightLayout::OutIn);
        return m_hooks[m_count - 1]->forward(x, HookedProjection(m_weights, m_hooks, m_count - 1));
    }
    const LinearWeights* plain() const override { return m_count == 0 ? &m_weights : nullptr; }

private:
    const LinearWeights& m_weights;
    const std::vector<LinearHook*>& m_hooks;
    std::size_t m_count;
};

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

/// Keys and values of all prefix hooks one after another, each [Hkv, n, D]; undefined without any.
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

}  // namespace

/// What flows between blocks: rows of all segments, virtual rows included.
struct Decoder::Stream {
    at::Tensor x;                        // [N, C]
    at::Tensor delta;                    // [N, C], the last sub-layer's output, not yet added to x
    at::Tensor cos, sin;                 // [N, rotary/2] or undefined
    std::vector<std::int64_t> segments;  // lengths with virtual rows
    std::vector<std::int64_t> rowOf;     // stream row of each text row; empty when they are the same
};

DecoderInput DecoderInput::single(const std::vector<std::int64_t>& ids, const at::Device& device) {
    const auto count = static_cast<std::int64_t>(ids.size());
    return {at::tensor(ids, at::kLong).to(device), at::arange(count, at::TensorOptions(at::kLong).device(device)), {count}};
}

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(std::size_t layer, const at::Tensor& keys, const at::Tensor& values) {
    const std::int64_t needed = m_length + keys.size(1);
    const auto grow = [&](at::Tensor& store, const at::Tensor& like) {
        if (store.defined() && store.size(1) >= needed) return;
        at::Tensor larger = at::empty({like.size(0), std::max<std::int64_t>(64, needed * 2), like.size(2)}, like.options());
        if (store.defined()) larger.narrow(1, 0, m_length).copy_(store.narrow(1, 0, m_length));
        store = larger;
    };
    grow(m_keys[layer], keys);
    grow(m_values[layer], values);
    m_keys[layer].narrow(1, m_length, keys.size(1)).copy_(keys);
    m_values[layer].narrow(1, m_length, values.size(1)).copy_(values);
    return {m_keys[layer].narrow(1, 0, needed), m_values[layer].narrow(1, 0, needed)};
}

Decoder::Decoder(DecoderDescription description, Weights weights, at::ScalarType dtype, at::Device device)
    : m_description(std::move(description)), m_sites(sitesOf(m_description)), m_weights(std::move(weights)), m_dtype(dtype),
      m_device(device), m_blocks(static_cast<std::size_t>(m_description.layers)) {
    m_embedding = m_weights.find(m_description.names.embedding + ".weight");
    if (m_description.position == PositionKind::Learned) m_positions = m_weights.find(m_description.names.positions + ".weight");
    m_finalNorm = normAt(m_description.names.finalNorm);
    for (std::size_t site = 0; site < m_sites.linears.size(); ++site) {
        const LinearSite& linear = m_sites.linears[site];
        const bool isTiedHead = linear.role == LinearRole::Head && m_description.isTied;
        m_linearWeight.push_back(isTiedHead ? m_embedding : m_weights.find(linear.path + ".weight"));
        m_linearBias.push_back(linear.hasBias ? m_weights.find(linear.path + ".bias") : &m_none);
        if (linear.layer < 0) continue;
        Block& block = m_blocks[static_cast<std::size_t>(linear.layer)];
        int Block::* const slot = [&]() -> int Block::* {
            switch (linear.role) {
                case LinearRole::Query: return &Block::query;
                case LinearRole::Key: return &Block::key;
                case LinearRole::Value: return &Block::value;
                case LinearRole::FusedQkv: return &Block::fusedQkv;
                case LinearRole::AttentionOut: return &Block::attentionOut;
                case LinearRole::Gate: return &Block::gate;
                case LinearRole::Up: return &Block::up;
                default: return &Block::down;
            }
        }();
        block.*slot = static_cast<int>(site);
    }
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        const std::string path = m_description.names.layers + std::to_string(layer) + ".";
        m_blocks[layer].attentionNorm = normAt(path + m_description.names.attentionNorm);
        m_blocks[layer].feedForwardNorm = normAt(path + m_description.names.feedForwardNorm);
    }
}

Decoder::Norm Decoder::normAt(const std::string& path) const {
    return {m_weights.find(path + ".weight"), m_description.hasNormBias ? m_weights.find(path + ".bias") : &m_none};
}

std::pair<at::Tensor, at::Tensor> Decoder::applyNorm(const Norm& norm, const at::Tensor& x, const at::Tensor& delta) const {
    if (m_description.norm == NormKind::RmsNorm)
        return nn::addRmsNorm(x, delta, *norm.weight, m_description.normEps, m_description.normOffset);
    return nn::addLayerNorm(x, delta, *norm.weight, *norm.bias, m_description.normEps);
}

at::Tensor Decoder::project(int site, const at::Tensor& x, const SiteHooks& hooks) const {
    const auto index = static_cast<std::size_t>(site);
    const LinearWeights weights{*m_linearWeight[index], *m_linearBias[index], m_sites.linears[index].isConv1D};
    const std::vector<LinearHook*>& chain = hooks.linear(index);
    return HookedProjection(weights, chain, chain.size())(x);
}

at::Tensor Decoder::throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output, const at::Tensor& residual,
                                 const SiteHooks& hooks) const {
    at::Tensor result = output;
    for (BlockOutputHook* hook : hooks.blockOutput(2 * layer + (after == Sublayer::FeedForward ? 1 : 0)))
        result = hook->forward(result, residual);
    return result;
}

std::array<at::Tensor, 3> Decoder::queryKeyValue(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    if (block.fusedQkv < 0) return {project(block.query, x, hooks), project(block.key, x, hooks), project(block.value, x, hooks)};
    const std::int64_t queryWidth = m_description.heads * m_description.headSize;
    const std::int64_t keyWidth = m_description.keyValueHeads * m_description.headSize;
    const std::vector<at::Tensor> parts = project(block.fusedQkv, x, hooks).split_with_sizes({queryWidth, keyWidth, keyWidth}, 1);
    return {parts[0], parts[1], parts[2]};
}

at::Tensor Decoder::feedForward(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    const at::Tensor up = project(block.up, x, hooks);
    const at::Tensor inner = m_description.feedForward == FeedForwardKind::Gated
                                 ? nn::gatedActivation(project(block.gate, x, hooks), up, m_description.activation)
                                 : activated(up, m_description.activation);
    return project(block.down, inner, hooks);
}

bool Decoder::isTrained(std::size_t layer, const SiteHooks& hooks) const {
    const Block& block = m_blocks[layer];
    for (const Norm* norm : {&block.attentionNorm, &block.feedForwardNorm})
        if (requiresGrad({*norm->weight, *norm->bias})) return true;
    for (const int site : {block.query, block.key, block.value, block.fusedQkv, block.attentionOut, block.gate, block.up, block.down}) {
        if (site < 0) continue;
        const auto index = static_cast<std::size_t>(site);
        if (!hooks.linear(index).empty() || requiresGrad({*m_linearWeight[index], *m_linearBias[index]})) return true;
    }
    return !hooks.blockOutput(2 * layer).empty() || !hooks.blockOutput(2 * layer + 1).empty();
}

at::Tensor Decoder::embed(const at::Tensor& ids, const at::Tensor& positions) const {
    at::Tensor x = at::embedding(*m_embedding, ids).to(m_dtype);
    if (m_description.embeddingScale != 1.0) x = x * m_description.embeddingScale;
    if (m_positions != nullptr) x = x + at::embedding(*m_positions, positions).to(m_dtype);
    return x;
}

Decoder::Stream Decoder::start(const DecoderInput& input, const SiteHooks& hooks) const {
    const std::int64_t prompt = hooks.promptLength();
    const std::int64_t offset = prompt + hooks.prefixLength();
    Stream stream;
    at::Tensor positions = offset == 0 ? input.positions : input.positions + offset;
    stream.segments = input.segments;
    stream.x = embed(input.ids, positions);
    if (prompt > 0) {
        // Virtual rows go before each segment: a gather from [prompts; text rows].
        std::vector<at::Tensor> sources;
        const auto virtualPositions = at::arange(prompt, positions.options());
        for (InputHook* hook : hooks.input()) sources.push_back(hook->prompt().to(m_dtype));
        at::Tensor rows = sources.size() == 1 ? sources[0] : at::cat(sources, 0);
        if (m_positions != nullptr) rows = rows + at::embedding(*m_positions, virtualPositions).to(m_dtype);
        std::vector<std::int64_t> gather;
        std::int64_t text = 0;
        for (std::int64_t& length : stream.segments) {
            for (std::int64_t i = 0; i < prompt; ++i) gather.push_back(i);
            for (std::int64_t i = 0; i < length; ++i) {
                stream.rowOf.push_back(static_cast<std::int64_t>(gather.size()));
                gather.push_back(prompt + text++);
            }
            length += prompt;
        }
        const at::Tensor index = at::tensor(gather, at::kLong).to(m_device);
        stream.x = at::index_select(at::cat({rows, stream.x}, 0), 0, index);
        positions = at::index_select(at::cat({virtualPositions, positions}, 0), 0, index);
    }
    if (m_description.position == PositionKind::Rope) {
        const std::int64_t longest = positions.numel() == 0 ? 1 : positions.max().item<std::int64_t>() + 1;
        std::tie(stream.cos, stream.sin) = rotaryAngles(m_description.rope, positions, longest);
    }
    return stream;
}

at::Tensor Decoder::hidden(const DecoderInput& input, const at::Tensor& rows, const SiteHooks& hooks, Activations activations) const {
    Stream stream = start(input, hooks);
    at::Tensor wanted = rows;
    if (!stream.rowOf.empty()) {
        const at::Tensor map = at::tensor(stream.rowOf, at::kLong).to(m_device);
        wanted = rows.defined() ? at::index_select(map, 0, rows) : map;
    }
    nn::AttentionShape shape{m_description.heads, m_description.keyValueHeads, m_description.headSize,
                             1.0 / std::sqrt(static_cast<double>(m_description.headSize)), stream.segments};
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        // Behind the last attention no row looks at another: what nobody asks for ends there.
        const at::Tensor kept = layer + 1 == m_blocks.size() ? wanted : at::Tensor();
        const auto run = [this, layer, kept, shape, &hooks, cos = stream.cos, sin = stream.sin](
                             const at::Tensor& in, const at::Tensor& delta, const at::Tensor& prefixKey, const at::Tensor& prefixValue) {
            const Block& block = m_blocks[layer];
            auto [residual, x] = applyNorm(block.attentionNorm, in, delta);
            at::Tensor attended;
            {
                const auto [q, k, v] = queryKeyValue(block, x, hooks);
                attended = nn::causalAttention(q, k, v, cos, sin, prefixKey, prefixValue, shape);
            }
            if (kept.defined()) {
                attended = at::index_select(attended, 0, kept);
                residual = at::index_select(residual, 0, kept);
            }
            const at::Tensor out = throughHooks(layer, Sublayer::Attention, project(block.attentionOut, attended, hooks), residual, hooks);
            const auto [middle, y] = applyNorm(block.feedForwardNorm, residual, out);
            return std::pair(middle, throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), middle, hooks));
        };
        // A prefix may come from tensors that all layers share, so it is made outside of what runs twice.
        const auto [prefixKey, prefixValue] = prefixOf(hooks, static_cast<int>(layer));
        const bool isRecomputed = activations == Activations::Recompute && (requiresGrad({stream.x, stream.delta, prefixKey, prefixValue}) || isTrained(layer, hooks));
        std::tie(stream.x, stream.delta) = isRecomputed ? nn::recomputed(run, stream.x, stream.delta, prefixKey, prefixValue)
                                                        : run(stream.x, stream.delta, prefixKey, prefixValue);
    }
    return applyNorm(m_finalNorm, stream.x, stream.delta).second;
}

at::Tensor Decoder::logits(const at::Tensor& hidden, const SiteHooks& hooks) const {
    return project(static_cast<int>(m_sites.linears.size()) - 1, hidden, hooks).to(at::kFloat);
}

at::Tensor Decoder::loss(const DecoderInput& input, const at::Tensor& rows, const at::Tensor& labels, double scale,
                         const SiteHooks& hooks, Activations activations) const {
    const at::Tensor h = hidden(input, rows, hooks, activations);
    if (hasHeadHooks(hooks)) return nn::logitsLoss(logits(h, hooks), labels, scale);
    return nn::headLoss(h, *m_linearWeight.back(), *m_linearBias.back(), labels, scale, 0);
}

at::Tensor Decoder::attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream, std::size_t layer, KeyValueCache& cache,
                                 const SiteHooks& hooks) const {
    const std::int64_t H = m_description.heads;
    const std::int64_t Hkv = m_description.keyValueHeads;
    const std::int64_t D = m_description.headSize;
    const double scale = 1.0 / std::sqrt(static_cast<double>(D));
    const auto& [q, k, v] = qkv;
    const std::int64_t T = q.size(0);
    const auto rotated = [&](const at::Tensor& rows) {
        return stream.cos.defined() ? kernels::rope(rows.contiguous(), stream.cos, stream.sin, D, kernels::RopeDirection::Forward) : rows;
    };
    const auto keyed = [&](const at::Tensor& rows) { return rows.reshape({T, Hkv, D}).transpose(0, 1); };  // [Hkv, T, D]
    if (cache.isEmpty()) {
        auto [prefixKey, prefixValue] = prefixOf(hooks, static_cast<int>(layer));
        at::Tensor keys = keyed(rotated(k));
        at::Tensor values = keyed(v);
        if (prefixKey.defined()) {
            keys = at::cat({prefixKey.to(keys.scalar_type()), keys}, 1);
            values = at::cat({prefixValue.to(values.scalar_type()), values}, 1);
        }
        cache.append(layer, keys, values);
        return nn::causalAttention(q, k, v, stream.cos, stream.sin, prefixKey, prefixValue, {H, Hkv, D, scale, {T}});
    }
    const auto [keys, values] = cache.append(layer, keyed(rotated(k)), keyed(v));
    // Query heads of a group share keys: [Hkv, G, D] x [Hkv, D, P]. One new row sees everything stored.
    const at::Tensor Q = rotated(q).reshape({Hkv, H / Hkv, D}).to(at::kFloat);
    const at::Tensor weights = at::softmax(at::bmm(Q, keys.to(at::kFloat).transpose(1, 2)) * scale, -1);
    return at::bmm(weights, values.to(at::kFloat)).reshape({1, H * D}).to(m_dtype);
}

at::Tensor Decoder::next(const std::vector<std::int64_t>& ids, KeyValueCache& cache, const SiteHooks& hooks) const {
    const at::NoGradGuard guard;
    if (!cache.isEmpty() && ids.size() > 1) {
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) next({ids[i]}, cache, hooks);
        return next({ids.back()}, cache, hooks);
    }
    DecoderInput input = DecoderInput::single(ids, m_device);
    Stream stream;
    if (cache.isEmpty()) {
        stream = start(input, hooks);
    } else {
        // The cache counts virtual positions too, so it is the position of the next token.
        input.positions = input.positions + cache.length();
        stream.x = embed(input.ids, input.positions);
        if (m_description.position == PositionKind::Rope)
            std::tie(stream.cos, stream.sin) = rotaryAngles(m_description.rope, input.positions, cache.length() + 1);
    }
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        const Block& block = m_blocks[layer];
        auto [residual, x] = applyNorm(block.attentionNorm, stream.x, stream.delta);
        at::Tensor attended = attendCached(queryKeyValue(block, x, hooks), stream, layer, cache, hooks);
        if (layer + 1 == m_blocks.size() && attended.size(0) > 1) {
            attended = attended.narrow(0, attended.size(0) - 1, 1).contiguous();
            residual = residual.narrow(0, residual.size(0) - 1, 1).contiguous();
        }
        const at::Tensor out = throughHooks(layer, Sublayer::Attention, project(block.attentionOut, attended, hooks), residual, hooks);
        const auto [middle, y] = applyNorm(block.feedForwardNorm, residual, out);
        stream.delta = throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), middle, hooks);
        stream.x = middle;
    }
    const std::int64_t read = cache.isEmpty() ? hooks.prefixLength() + hooks.promptLength() + static_cast<std::int64_t>(ids.size())
                                              : static_cast<std::int64_t>(ids.size());
    cache.advance(read);
    return logits(applyNorm(m_finalNorm, stream.x, stream.delta).second, hooks).squeeze(0);
}

}  // namespace luthier
