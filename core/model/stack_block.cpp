// SPDX-License-Identifier: Apache-2.0
// One block of a stack: norms, projections, feed-forward parts and mixtures, and how they join the
// residual stream.
#include "model/stack_stream.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

namespace luthier {

namespace {

at::Tensor activated(const at::Tensor& x, kernels::GateActivation activation) {
    switch (activation) {
        case kernels::GateActivation::Silu:
            return at::silu(x);
        case kernels::GateActivation::GeluTanh:
            return at::gelu(x, "tanh");
        case kernels::GateActivation::Gelu:
            return at::gelu(x);
        case kernels::GateActivation::Relu:
            return at::relu(x);
    }
    return x;
}

}  // namespace

std::pair<at::Tensor, at::Tensor> Stack::applyNorm(const Norm& norm, const at::Tensor& x,
                                                   const at::Tensor& delta,
                                                   const SiteHooks& hooks) const {
    if (norm.weight == nullptr) {
        const at::Tensor sum = delta.defined() ? x + delta : x;
        return {sum, sum};
    }
    if (const MixedRows* rows = hooks.mixed()) {  // each may have a norm of its own
        const at::Tensor sum = delta.defined() ? x + delta : x;
        return {sum,
                rows->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
                    return applyNorm(norm, sum.narrow(0, first, count), {}, table).second;
                })};
    }
    if (m_description.norm == NormKind::RmsNorm)
        return nn::addRmsNorm(x, delta, hooks.current(*norm.weight), m_description.normEps,
                              m_description.normOffset);
    return nn::addLayerNorm(x, delta, hooks.current(*norm.weight), hooks.current(*norm.bias),
                            m_description.normEps);
}

at::Tensor Stack::throughHooks(std::size_t layer, Sublayer after, const at::Tensor& output,
                               const at::Tensor& residual, const SiteHooks& hooks) const {
    const std::size_t site = 2 * (static_cast<std::size_t>(m_firstBlock) + layer) +
                             (after == Sublayer::FeedForward ? 1 : 0);
    const auto changed = [&](const SiteHooks& table, at::Tensor rows, const at::Tensor& residuals) {
        for (BlockOutputHook* hook : table.blockOutput(site)) rows = hook->forward(rows, residuals);
        return rows;
    };
    if (hooks.mixed() == nullptr) return changed(hooks, output, residual);
    return hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
        return changed(table, output.narrow(0, first, count), residual.narrow(0, first, count));
    });
}

at::Tensor Stack::afterNorm(const Norm& norm, const at::Tensor& output,
                            const SiteHooks& hooks) const {
    const at::Tensor normed =
        norm.weight == nullptr ? output : applyNorm(norm, output, {}, hooks).second;
    return m_description.residualScale == 1.0 ? normed : normed * m_description.residualScale;
}

at::Tensor Stack::normedHeads(const std::vector<Norm>& norms, const at::Tensor& rows,
                              const SiteHooks& hooks) const {
    if (norms.empty()) return rows;
    if (hooks.mixed() != nullptr)
        return hooks.mixed()->each(
            [&](const SiteHooks& table, std::int64_t first, std::int64_t count) {
                return normedHeads(norms, rows.narrow(0, first, count), table);
            });
    if (m_description.queryKeyNorm == QueryKeyNorm::AllHeads)
        return applyNorm(norms[0], rows, {}, hooks).second;
    const at::Tensor heads = rows.reshape({-1, m_description.headSize});
    if (norms.size() == 1 && m_description.queryKeyNorm == QueryKeyNorm::PerHead)
        return applyNorm(norms[0], heads, {}, hooks).second.view(rows.sizes());
    const at::Tensor unit = at::ones({m_description.headSize}, heads.options().dtype(at::kFloat));
    std::vector<at::Tensor> weights;
    for (const Norm& norm : norms) weights.push_back(hooks.current(*norm.weight));
    return applyNorm({&unit, &m_none}, heads, {}, hooks).second.view(rows.sizes()) *
           at::cat(weights, 0).to(rows.scalar_type());
}

std::array<at::Tensor, 3> Stack::queryKeyValue(const Block& block, const at::Tensor& x,
                                               const SiteHooks& hooks) const {
    const std::int64_t D = m_description.headSize;
    const std::int64_t queryWidth = m_description.heads * D;
    const std::int64_t keyWidth = m_description.keyValueHeads * D;
    std::array<at::Tensor, 3> parts;
    if (block.fusedQkv < 0) {
        parts = {m_linears.project(block.query, x, hooks), m_linears.project(block.key, x, hooks),
                 m_linears.project(block.value, x, hooks)};
    } else {
        const at::Tensor fused = m_linears.project(block.fusedQkv, x, hooks);
        if (m_description.qkvLayout == QkvLayout::Blocks) {
            const std::vector<at::Tensor> split =
                fused.split_with_sizes({queryWidth, keyWidth, keyWidth}, 1);
            parts = {split[0], split[1], split[2]};
        } else {
            const std::int64_t group = m_description.heads / m_description.keyValueHeads;
            const std::vector<at::Tensor> split =
                fused.view({fused.size(0), m_description.keyValueHeads, group + 2, D})
                    .split_with_sizes({group, 1, 1}, 2);
            parts = {split[0].reshape({-1, queryWidth}), split[1].reshape({-1, keyWidth}),
                     split[2].reshape({-1, keyWidth})};
        }
    }
    if (m_description.clipQkv > 0)
        for (at::Tensor& part : parts)
            part = part.clamp(-m_description.clipQkv, m_description.clipQkv);
    parts[0] = normedHeads(block.queryNorm, parts[0], hooks);
    parts[1] = normedHeads(block.keyNorm, parts[1], hooks);
    return parts;
}

at::Tensor Stack::feedForward(const Block& block, const at::Tensor& x,
                              const SiteHooks& hooks) const {
    if (block.mixture) return mixed(*block.mixture, x);
    if (block.gateUp >= 0) {
        const std::vector<at::Tensor> halves =
            m_linears.project(block.gateUp, x, hooks).chunk(2, 1);
        return m_linears.project(block.down,
                                 nn::gatedActivation(halves[0].contiguous(), halves[1].contiguous(),
                                                     m_description.activation),
                                 hooks);
    }
    const at::Tensor up = m_linears.project(block.up, x, hooks);
    const at::Tensor inner = m_description.feedForward == FeedForwardKind::Gated
                                 ? nn::gatedActivation(m_linears.project(block.gate, x, hooks), up,
                                                       m_description.activation)
                                 : activated(up, m_description.activation);
    return m_linears.project(block.down, inner, hooks);
}

at::Tensor Stack::mixed(const Mixture& mixture, const at::Tensor& x) const {
    const MixtureSpec& spec = m_description.mixture;
    const auto linear = [](const at::Tensor& rows, const at::Tensor& weight) {
        return nn::linear(rows, weight, {}, nn::WeightLayout::OutIn);
    };
    const auto expert = [&](const Expert& e, const at::Tensor& rows) {
        return linear(nn::gatedActivation(linear(rows, *e.gate), linear(rows, *e.up),
                                          m_description.activation),
                      *e.down);
    };
    const at::Tensor probabilities =
        at::softmax(linear(x, *mixture.router).to(at::kFloat), -1);     // [N, E]
    auto [chosen, index] = at::topk(probabilities, spec.perToken, -1);  // [N, k]
    if (spec.isNormalised) chosen = chosen / chosen.sum(-1, true);
    chosen = chosen.to(x.scalar_type());
    at::Tensor y = at::zeros_like(x);
    for (std::size_t e = 0; e < mixture.experts.size(); ++e) {
        const at::Tensor places =
            at::nonzero(index == static_cast<std::int64_t>(e));  // [n, 2]: row, rank
        if (places.size(0) == 0) continue;
        const at::Tensor rows = places.select(1, 0).contiguous();
        const at::Tensor weight =
            at::index_select(chosen.flatten(), 0, rows * spec.perToken + places.select(1, 1));
        y = at::index_add(
            y, 0, rows,
            expert(mixture.experts[e], at::index_select(x, 0, rows)) * weight.unsqueeze(1));
    }
    if (mixture.sharedGate != nullptr)
        y = y + expert(mixture.shared, x) * at::sigmoid(linear(x, *mixture.sharedGate));
    return y;
}

std::pair<at::Tensor, at::Tensor> Stack::throughCross(std::size_t layer, const at::Tensor& x,
                                                      const at::Tensor& delta,
                                                      const SiteHooks& hooks,
                                                      const Attend& attend) const {
    const Block& block = m_blocks[layer];
    if (m_description.flow ==
        BlockFlow::PostNorm) {  // x is normed already, and takes norm(x + cross(x))
        const at::Tensor out = m_linears.project(block.crossOut, attend.cross(layer, x), hooks);
        return {applyNorm(block.crossNorm, x, out, hooks).second, at::Tensor()};
    }
    const auto [sum, y] = applyNorm(block.crossNorm, x, delta, hooks);
    return {sum, m_linears.project(block.crossOut, attend.cross(layer, y), hooks)};
}

void Stack::runBlock(std::size_t layer, Stream& stream, const at::Tensor& wanted,
                     const SiteHooks& hooks, const Attend& attend) const {
    const Block& block = m_blocks[layer];
    const BlockFlow flow = m_description.flow;
    auto [residual, x] = flow == BlockFlow::PostNorm
                             ? applyNorm({}, stream.x, stream.delta, hooks)
                             : applyNorm(block.attentionNorm, stream.x, stream.delta, hooks);
    at::Tensor attended = attend.self(layer, queryKeyValue(block, x, hooks));
    const bool hasCross = block.crossQuery >= 0;
    if (wanted.defined() && !hasCross) {
        // Behind the last attention no row looks at another: what nobody asks for ends here.
        const bool needsInput = flow == BlockFlow::Parallel || m_description.isResidualNormed;
        attended = at::index_select(attended, 0, wanted);
        residual = at::index_select(residual, 0, wanted);
        if (needsInput) x = at::index_select(x, 0, wanted);
    }
    at::Tensor out = afterNorm(
        block.attentionPostNorm,
        throughHooks(layer, Sublayer::Attention,
                     m_linears.project(block.attentionOut, attended, hooks), residual, hooks),
        hooks);
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
            const auto [middle, y] = applyNorm(
                block.feedForwardNorm, m_description.isResidualNormed ? x : residual, out, hooks);
            stream.x = m_description.isResidualNormed ? y : middle;
            stream.delta = afterNorm(block.feedForwardPostNorm,
                                     throughHooks(layer, Sublayer::FeedForward,
                                                  feedForward(block, y, hooks), middle, hooks),
                                     hooks);
            return;
        }
        case BlockFlow::Parallel: {
            const at::Tensor y = block.feedForwardNorm.weight == nullptr
                                     ? x
                                     : applyNorm(block.feedForwardNorm, residual, {}, hooks).second;
            stream.x = residual;
            stream.delta = out + throughHooks(layer, Sublayer::FeedForward,
                                              feedForward(block, y, hooks), residual, hooks);
            return;
        }
        case BlockFlow::PostNorm: {
            at::Tensor y = applyNorm(block.attentionNorm, residual, out, hooks).second;
            if (hasCross) {
                y = throughCross(layer, y, {}, hooks, attend).first;
                keepWanted(y);
            }
            const at::Tensor forward =
                throughHooks(layer, Sublayer::FeedForward, feedForward(block, y, hooks), y, hooks);
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

}  // namespace luthier
