// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include "model/alibi.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

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
struct Model::Stream {
    at::Tensor x;                        // [N, C]
    at::Tensor delta;                    // [N, C], the last sub-layer's output, not yet added to x
    at::Tensor cos, sin;                 // [N, rotary/2] or undefined
    at::Tensor localCos, localSin;       // of layers with a rope of their own
    at::Tensor keyBias;                  // ALiBi of every key of the pass, or undefined
    std::vector<std::int64_t> segments;  // lengths with virtual rows
    std::vector<std::int64_t> rowOf;     // stream row of each text row; empty when they are the same

    /// cos and sin of a layer's rotation; undefined where it does not rotate.
    std::pair<at::Tensor, at::Tensor> anglesOf(const LayerSwitches& layer) const {
        if (!layer.isRotated) return {};
        return layer.usesLocalRope ? std::pair{localCos, localSin} : std::pair{cos, sin};
    }
};

TokenRows TokenRows::single(const std::vector<std::int64_t>& ids, const at::Device& device) {
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

Model::Model(ModelDescription description, Weights weights, at::ScalarType dtype, at::Device device)
    : m_description(std::move(description)), m_sites(sitesOf(m_description)), m_weights(std::move(weights)), m_dtype(dtype),
      m_device(device), m_blocks(static_cast<std::size_t>(m_description.layers)) {
    m_embedding = m_weights.find(m_description.names.embedding + ".weight");
    if (m_description.position == PositionKind::Learned) m_positions = m_weights.find(m_description.names.positions + ".weight");
    if (!m_description.hasNormWeight) m_ones = at::ones({m_description.hidden}, at::TensorOptions(at::kFloat).device(device));
    m_finalNorm = normAt(m_description.names.finalNorm);
    m_embeddingNorm = normAt(m_description.names.embeddingNorm);
    for (std::size_t site = 0; site < m_sites.linears.size(); ++site) {
        const LinearSite& linear = m_sites.linears[site];
        const bool isTiedHead = linear.role == LinearRole::Head && m_description.isTied;
        m_linearWeight.push_back(isTiedHead ? m_embedding : m_weights.find(linear.path + ".weight"));
        m_linearBias.push_back(linear.hasBias ? m_weights.find(linear.path + ".bias") : &m_none);
        if (linear.role == LinearRole::ProjectIn) m_projectIn = static_cast<int>(site);
        if (linear.role == LinearRole::ProjectOut) m_projectOut = static_cast<int>(site);
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
                case LinearRole::GateUp: return &Block::gateUp;
                default: return &Block::down;
            }
        }();
        block.*slot = static_cast<int>(site);
    }
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        const std::string path = m_description.names.layers + std::to_string(layer) + ".";
        const auto normOf = [&](const std::string& name) { return name.empty() ? Norm{} : normAt(path + name); };
        Block& block = m_blocks[layer];
        block.attentionNorm = normOf(m_description.names.attentionNorm);
        block.attentionPostNorm = normOf(m_description.names.attentionPostNorm);
        block.feedForwardNorm = normOf(m_description.names.feedForwardNorm);
        block.feedForwardPostNorm = normOf(m_description.names.feedForwardPostNorm);
        if (m_description.queryKeyNorm != QueryKeyNorm::None) {
            block.queryNorm = queryKeyNormAt(path + m_description.names.queryNorm, m_description.heads);
            block.keyNorm = queryKeyNormAt(path + m_description.names.keyNorm, m_description.keyValueHeads);
        }
        if (m_description.layer(static_cast<std::int64_t>(layer)).isMixture) block.mixture = mixtureAt(path);
    }
}

Model::Norm Model::normAt(const std::string& path) const {
    if (path.empty()) return {};
    if (!m_description.hasNormWeight) return {&m_ones, &m_none};
    return {m_weights.find(path + ".weight"), m_description.hasNormBias ? m_weights.find(path + ".bias") : &m_none};
}

std::vector<Model::Norm> Model::queryKeyNormAt(const std::string& path, std::int64_t heads) const {
    const auto normOf = [&](const std::string& name) {
        return Norm{m_weights.find(name + ".weight"), m_description.hasQueryKeyNormBias ? m_weights.find(name + ".bias") : &m_none};
    };
    if (m_description.queryKeyNorm != QueryKeyNorm::OwnPerHead) return {normOf(path)};
    std::vector<Norm> norms;
    for (std::int64_t head = 0; head < heads; ++head) norms.push_back(normOf(path + ".norms." + std::to_string(head)));
    return norms;
}

Model::Mixture Model::mixtureAt(const std::string& path) const {
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

std::pair<at::Tensor, at::Tensor> Model::applyNorm(const Norm& norm, const at::Tensor& x, const at::Tensor& delta, const SiteHooks& hooks) const {
    if (norm.weight == nullptr) {
        const at::Tensor sum = delta.defined() ? x + delta : x;
        return {sum, sum};
    }
    if (m_description.norm == NormKind::RmsNorm)
        return nn::addRmsNorm(x, delta, hooks.current(*norm.weight), m_description.normEps, m_description.normOffset);
    return nn::addLayerNorm(x, delta, hooks.current(*norm.weight), hooks.current(*norm.bias), m_description.normEps);
}

at::Tensor Model::project(int site, const at::Tensor& x, const SiteHooks& hooks) const {
    const auto index = static_cast<std::size_t>(site);
    const at::Tensor bias = hooks.current(*m_linearBias[index]);
    const LinearWeights weights{*m_linearWeight[index], bias, m_sites.linears[index].isConv1D};
    const std::vector<LinearHook*>& chain = hooks.linear(index);
    return HookedProjection(weights, chain, chain.size())(x);
}

at::Tensor Model::throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output, const at::Tensor& residual,
                                 const SiteHooks& hooks) const {
    at::Tensor result = output;
    for (BlockOutputHook* hook : hooks.blockOutput(2 * layer + (after == Sublayer::FeedForward ? 1 : 0)))
        result = hook->forward(result, residual);
    return result;
}

at::Tensor Model::afterNorm(const Norm& norm, const at::Tensor& output, const SiteHooks& hooks) const {
    const at::Tensor normed = norm.weight == nullptr ? output : applyNorm(norm, output, {}, hooks).second;
    return m_description.residualScale == 1.0 ? normed : normed * m_description.residualScale;
}

at::Tensor Model::normedHeads(const std::vector<Norm>& norms, const at::Tensor& rows, const SiteHooks& hooks) const {
    if (norms.empty()) return rows;
    if (m_description.queryKeyNorm == QueryKeyNorm::AllHeads) return applyNorm(norms[0], rows, {}, hooks).second;
    const at::Tensor heads = rows.reshape({-1, m_description.headSize});
    if (norms.size() == 1 && m_description.queryKeyNorm == QueryKeyNorm::PerHead) return applyNorm(norms[0], heads, {}, hooks).second.view(rows.sizes());
    const at::Tensor unit = at::ones({m_description.headSize}, heads.options().dtype(at::kFloat));
    std::vector<at::Tensor> weights;
    for (const Norm& norm : norms) weights.push_back(hooks.current(*norm.weight));
    return applyNorm({&unit, &m_none}, heads, {}, hooks).second.view(rows.sizes()) * at::cat(weights, 0).to(rows.scalar_type());
}

std::array<at::Tensor, 3> Model::queryKeyValue(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    const std::int64_t D = m_description.headSize;
    const std::int64_t queryWidth = m_description.heads * D;
    const std::int64_t keyWidth = m_description.keyValueHeads * D;
    std::array<at::Tensor, 3> parts;
    if (block.fusedQkv < 0) {
        parts = {project(block.query, x, hooks), project(block.key, x, hooks), project(block.value, x, hooks)};
    } else {
        const at::Tensor fused = project(block.fusedQkv, x, hooks);
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

at::Tensor Model::feedForward(const Block& block, const at::Tensor& x, const SiteHooks& hooks) const {
    if (block.mixture) return mixed(*block.mixture, x);
    if (block.gateUp >= 0) {
        const std::vector<at::Tensor> halves = project(block.gateUp, x, hooks).chunk(2, 1);
        return project(block.down, nn::gatedActivation(halves[0].contiguous(), halves[1].contiguous(), m_description.activation), hooks);
    }
    const at::Tensor up = project(block.up, x, hooks);
    const at::Tensor inner = m_description.feedForward == FeedForwardKind::Gated
                                 ? nn::gatedActivation(project(block.gate, x, hooks), up, m_description.activation)
                                 : activated(up, m_description.activation);
    return project(block.down, inner, hooks);
}

at::Tensor Model::mixed(const Mixture& mixture, const at::Tensor& x) const {
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

bool Model::isTrained(std::size_t layer, const SiteHooks& hooks) const {
    const Block& block = m_blocks[layer];
    const auto learns = [&](const at::Tensor* tensor) { return tensor != nullptr && (requiresGrad({*tensor}) || hooks.replaces(tensor)); };
    const auto learnsNorm = [&](const Norm& norm) { return learns(norm.weight) || learns(norm.bias); };
    for (const Norm* norm : {&block.attentionNorm, &block.attentionPostNorm, &block.feedForwardNorm, &block.feedForwardPostNorm})
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
    for (const int site : {block.query, block.key, block.value, block.fusedQkv, block.attentionOut, block.gate, block.up, block.gateUp, block.down}) {
        if (site < 0) continue;
        const auto index = static_cast<std::size_t>(site);
        if (!hooks.linear(index).empty() || learns(m_linearWeight[index]) || learns(m_linearBias[index])) return true;
    }
    return !hooks.blockOutput(2 * layer).empty() || !hooks.blockOutput(2 * layer + 1).empty();
}

at::Tensor Model::embed(const at::Tensor& ids) const {
    const at::Tensor x = at::embedding(*m_embedding, ids).to(m_dtype);
    if (m_description.embeddingScale == 1.0) return x;
    // The scale is rounded to the compute type first, as Hugging Face's buffer is.
    return x * at::scalar_tensor(m_description.embeddingScale, x.options());
}

at::Tensor Model::enter(const at::Tensor& embedded, const at::Tensor& positions, const SiteHooks& hooks) const {
    at::Tensor x = embedded;
    if (m_description.inputScale != 1.0) x = x * m_description.inputScale;
    if (m_projectIn >= 0) x = project(m_projectIn, x, hooks);
    if (m_positions != nullptr) x = x + at::embedding(*m_positions, positions + m_description.positionOffset).to(m_dtype);
    if (m_embeddingNorm.weight != nullptr) x = applyNorm(m_embeddingNorm, x, {}, hooks).second;
    return x;
}

void Model::place(Stream& stream, const at::Tensor& positions, std::int64_t length, std::int64_t keys) const {
    if (m_description.position == PositionKind::Alibi) stream.keyBias = alibiBias(m_description, keys).to(m_device);
    if (m_description.position != PositionKind::Rope) return;
    std::tie(stream.cos, stream.sin) = rotaryAngles(m_description.rope, positions, length);
    if (m_description.localRope) std::tie(stream.localCos, stream.localSin) = rotaryAngles(*m_description.localRope, positions, length);
}

nn::AttentionShape Model::attentionShape(std::size_t layer, std::vector<std::int64_t> segments, const at::Tensor& keyBias) const {
    nn::AttentionShape shape{m_description.heads, m_description.keyValueHeads, m_description.headSize, m_description.scoreScale(),
                             std::move(segments)};
    shape.window = m_description.layer(static_cast<std::int64_t>(layer)).window;
    shape.softCap = m_description.attentionSoftCap;
    shape.ropePairs = m_description.ropePairs;
    shape.keyBias = keyBias;
    return shape;
}

void Model::runBlock(std::size_t layer, Stream& stream, const at::Tensor& wanted, const SiteHooks& hooks, const Attend& attend) const {
    const Block& block = m_blocks[layer];
    const BlockFlow flow = m_description.flow;
    auto [residual, x] = flow == BlockFlow::PostNorm ? applyNorm({}, stream.x, stream.delta, hooks) : applyNorm(block.attentionNorm, stream.x, stream.delta, hooks);
    at::Tensor attended = attend(layer, queryKeyValue(block, x, hooks));
    if (wanted.defined()) {
        // Behind the last attention no row looks at another: what nobody asks for ends here.
        const bool needsInput = flow == BlockFlow::Parallel || m_description.isResidualNormed;
        attended = at::index_select(attended, 0, wanted);
        residual = at::index_select(residual, 0, wanted);
        if (needsInput) x = at::index_select(x, 0, wanted);
    }
    const at::Tensor out = afterNorm(block.attentionPostNorm,
                                     throughHooks(layer, Sublayer::Attention, project(block.attentionOut, attended, hooks), residual, hooks), hooks);
    switch (flow) {
        case BlockFlow::Sequential: {
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
            const at::Tensor y = applyNorm(block.attentionNorm, residual, out, hooks).second;
            const at::Tensor forward = throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), y, hooks);
            stream.x = applyNorm(block.feedForwardNorm, y, forward, hooks).second;
            stream.delta = at::Tensor();
            return;
        }
    }
}

at::Tensor Model::finish(const Stream& stream, const SiteHooks& hooks) const {
    at::Tensor h = applyNorm(m_finalNorm, stream.x, stream.delta, hooks).second;
    if (m_projectOut >= 0) h = project(m_projectOut, h, hooks);
    return m_description.logitScale == 1.0 ? h : h * m_description.logitScale;
}

Model::Stream Model::start(const TokenRows& input, const SiteHooks& hooks) const {
    const std::int64_t prompt = hooks.promptLength();
    const std::int64_t offset = prompt + hooks.prefixLength();
    Stream stream;
    at::Tensor positions = offset == 0 ? input.positions : input.positions + offset;
    stream.segments = input.segments;
    stream.x = embed(input.ids);
    if (prompt > 0) {
        // Virtual rows go before each segment: a gather from [prompts; text rows].
        std::vector<at::Tensor> sources;
        const auto virtualPositions = at::arange(prompt, positions.options());
        for (InputHook* hook : hooks.input()) sources.push_back(hook->prompt().to(m_dtype));
        const at::Tensor rows = sources.size() == 1 ? sources[0] : at::cat(sources, 0);
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
    stream.x = enter(stream.x, positions, hooks);
    const std::int64_t longest = stream.segments.empty() ? 0 : *std::max_element(stream.segments.begin(), stream.segments.end());
    place(stream, positions, positions.numel() == 0 ? 1 : positions.max().item<std::int64_t>() + 1, longest + hooks.prefixLength());
    return stream;
}

at::Tensor Model::hidden(const TokenRows& input, const at::Tensor& rows, const SiteHooks& hooks, Activations activations) const {
    Stream stream = start(input, hooks);
    at::Tensor wanted = rows;
    if (!stream.rowOf.empty()) {
        const at::Tensor map = at::tensor(stream.rowOf, at::kLong).to(m_device);
        wanted = rows.defined() ? at::index_select(map, 0, rows) : map;
    }
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        // What a second run of the block needs stands in it by value; a prefix may come from tensors that all layers share, so it
        // is made outside.
        const at::Tensor kept = layer + 1 == m_blocks.size() ? wanted : at::Tensor();
        const nn::AttentionShape shape = attentionShape(layer, stream.segments, stream.keyBias);
        const auto [cos, sin] = stream.anglesOf(m_description.layer(static_cast<std::int64_t>(layer)));
        const auto [prefixKey, prefixValue] = prefixOf(hooks, static_cast<int>(layer));
        const bool isRecomputed = activations == Activations::Recompute && (requiresGrad({stream.x, stream.delta, prefixKey, prefixValue}) || isTrained(layer, hooks));
        const auto run = [this, layer, kept, shape, isRecomputed, &hooks, cos = cos, sin = sin](
                             const at::Tensor& in, const at::Tensor& delta, const at::Tensor& keysBefore, const at::Tensor& valuesBefore) {
            Stream passing;
            passing.x = in;
            passing.delta = delta;
            runBlock(layer, passing, kept, hooks, [&](std::size_t, const std::array<at::Tensor, 3>& qkv) {
                return nn::causalAttention(qkv[0], qkv[1], qkv[2], cos, sin, keysBefore, valuesBefore, shape);
            });
            // A node's outputs must all be there; PostNorm leaves no delta.
            if (isRecomputed && !passing.delta.defined()) passing.delta = at::zeros_like(passing.x);
            return std::pair(passing.x, passing.delta);
        };
        std::tie(stream.x, stream.delta) = isRecomputed ? nn::recomputed(run, stream.x, stream.delta, prefixKey, prefixValue)
                                                        : run(stream.x, stream.delta, prefixKey, prefixValue);
    }
    return finish(stream, hooks);
}

at::Tensor Model::logits(const at::Tensor& hidden, const SiteHooks& hooks) const {
    const at::Tensor plain = project(static_cast<int>(m_sites.linears.size()) - 1, hidden, hooks).to(at::kFloat);
    const double cap = m_description.logitSoftCap;
    return cap > 0 ? at::tanh(plain / cap) * cap : plain;
}

at::Tensor Model::loss(const TokenRows& input, const at::Tensor& rows, const at::Tensor& labels, double scale,
                         const SiteHooks& hooks, Activations activations) const {
    const at::Tensor h = hidden(input, rows, hooks, activations);
    if (hasHeadHooks(hooks)) return nn::logitsLoss(logits(h, hooks), labels, scale);
    return nn::headLoss(h, *m_linearWeight.back(), hooks.current(*m_linearBias.back()), labels, scale, m_description.logitSoftCap);
}

at::Tensor Model::attendCached(const std::array<at::Tensor, 3>& qkv, const Stream& stream, std::size_t layer, KeyValueCache& cache,
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
        at::Tensor keys = keyed(rotated(k));
        at::Tensor values = keyed(v);
        if (prefixKey.defined()) {
            keys = at::cat({prefixKey.to(keys.scalar_type()), keys}, 1);
            values = at::cat({prefixValue.to(values.scalar_type()), values}, 1);
        }
        const nn::AttentionShape shape = attentionShape(layer, {T}, stream.keyBias);
        cache.append(layer, keys, values);
        return nn::causalAttention(q, k, v, cos, sin, prefixKey, prefixValue, shape);
    }
    auto [keys, values] = cache.append(layer, keyed(rotated(k)), keyed(v));
    const std::int64_t stored = keys.size(1);
    const nn::AttentionShape shape = attentionShape(layer, {1}, stream.keyBias);
    // Query heads of a group share keys: [Hkv, G, D] x [Hkv, D, P]. One new row sees everything stored, or its window.
    const std::int64_t seen = shape.window > 0 ? std::min(shape.window, stored) : stored;
    keys = keys.narrow(1, stored - seen, seen);
    values = values.narrow(1, stored - seen, seen);
    const at::Tensor Q = rotated(q).reshape({Hkv, H / Hkv, D}).to(at::kFloat);
    at::Tensor scores = at::bmm(Q, keys.to(at::kFloat).transpose(1, 2)) * shape.scale;
    if (shape.softCap > 0) scores = at::tanh(scores / shape.softCap) * shape.softCap;
    if (shape.keyBias.defined()) scores = scores + shape.keyBias.narrow(1, stored - seen, seen).view({Hkv, H / Hkv, seen});
    return at::bmm(at::softmax(scores, -1), values.to(at::kFloat)).reshape({1, H * D}).to(m_dtype);
}

at::Tensor Model::next(const std::vector<std::int64_t>& ids, KeyValueCache& cache, const SiteHooks& hooks) const {
    const at::NoGradGuard guard;
    if (!cache.isEmpty() && ids.size() > 1) {
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) next({ids[i]}, cache, hooks);
        return next({ids.back()}, cache, hooks);
    }
    // LongRoPE turns keys otherwise once the text is longer than the first training's: what is stored is then read again.
    const std::int64_t original = m_description.rope.originalPositions;
    if (m_description.position == PositionKind::Rope && m_description.rope.scaling == RopeScaling::LongRope && !cache.isEmpty() &&
        cache.length() <= original && cache.length() + 1 > original) {
        std::vector<std::int64_t> all = cache.ids;
        all.insert(all.end(), ids.begin(), ids.end());
        cache.clear();
        return next(all, cache, hooks);
    }
    cache.ids.insert(cache.ids.end(), ids.begin(), ids.end());
    TokenRows input = TokenRows::single(ids, m_device);
    Stream stream;
    if (cache.isEmpty()) {
        stream = start(input, hooks);
    } else {
        // The cache counts virtual positions too, so it is the position of the next token.
        input.positions = input.positions + cache.length();
        stream.x = enter(embed(input.ids), input.positions, hooks);
        place(stream, input.positions, cache.length() + 1, cache.length() + 1);
    }
    const std::int64_t rows = stream.x.size(0);
    const at::Tensor last = rows > 1 ? at::full({1}, rows - 1, at::TensorOptions(at::kLong).device(m_device)) : at::Tensor();
    const Attend attend = [&](std::size_t layer, const std::array<at::Tensor, 3>& qkv) { return attendCached(qkv, stream, layer, cache, hooks); };
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer)
        runBlock(layer, stream, layer + 1 == m_blocks.size() ? last : at::Tensor(), hooks, attend);
    const std::int64_t read = cache.isEmpty() ? hooks.prefixLength() + hooks.promptLength() + static_cast<std::int64_t>(ids.size())
                                              : static_cast<std::int64_t>(ids.size());
    cache.advance(read);
    return logits(finish(stream, hooks), hooks).squeeze(0);
}

}  // namespace luthier
