// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>

namespace luthier {

TokenRows TokenRows::single(const std::vector<std::int64_t>& ids, const at::Device& device) {
    return of({ids}, device);
}

TokenRows TokenRows::of(const std::vector<std::vector<std::int64_t>>& rows,
                        const at::Device& device) {
    TokenRows result;
    std::vector<std::int64_t> ids, positions;
    for (const std::vector<std::int64_t>& row : rows) {
        ids.insert(ids.end(), row.begin(), row.end());
        for (std::size_t i = 0; i < row.size(); ++i)
            positions.push_back(static_cast<std::int64_t>(i));
        result.segments.push_back(static_cast<std::int64_t>(row.size()));
    }
    result.ids = at::tensor(ids, at::kLong).to(device);
    result.positions = at::tensor(positions, at::kLong).to(device);
    return result;
}

Model::Model(ModelDescription description, Weights weights, at::ScalarType dtype, at::Device device)
    : m_description(std::move(description)),
      m_sites(sitesOf(m_description)),
      m_weights(std::move(weights)),
      m_dtype(dtype),
      m_device(device),
      m_linears(m_description, m_sites, m_weights),
      m_decoder(m_description, m_linears, m_weights, static_cast<int>(m_sites.encoderLayers), dtype,
                device) {
    if (m_description.encoder)
        m_encoder.emplace(*m_description.encoder, m_linears, m_weights, 0, dtype, device);
    m_embedding = m_weights.find(m_description.names.embedding + ".weight");
    for (std::size_t site = 0; site < m_sites.linears.size(); ++site)
        if (m_sites.linears[site].role == LinearRole::Pooler) m_pooler = static_cast<int>(site);
}

void Model::bindHead(bool isTied) {
    m_description.isTied = m_sites.isTied = isTied;
    m_linears.bind(m_description, m_weights);
}

void Model::untieHead() {
    if (!m_description.isTied) return;
    m_weights.put(m_description.names.head + ".weight", *m_embedding);
    bindHead(false);
}

void Model::restore(const Snapshot& snapshot) {
    m_weights.restore(snapshot.weights);
    bindHead(snapshot.isTied);
}

at::Tensor Model::embed(const at::Tensor& ids, double scale, std::size_t site,
                        const SiteHooks& hooks) const {
    const at::Tensor plain =
        at::embedding(*m_embedding, ids, m_sites.embeddings[site].padding).to(m_dtype);
    const auto changed = [&](const SiteHooks& table, const at::Tensor& ownIds, at::Tensor own) {
        bool isPlain = true;
        for (EmbeddingHook* hook : table.embedding(site)) {
            own = hook->forward(ownIds, own, isPlain);
            isPlain = false;
        }
        return own;
    };
    const at::Tensor x =
        hooks.mixed() == nullptr
            ? changed(hooks, ids, plain)
            : hooks.mixed()->each([&](const SiteHooks& table, std::int64_t first,
                                      std::int64_t count) {
                  return changed(table, ids.narrow(0, first, count), plain.narrow(0, first, count));
              });
    if (scale == 1.0) return x;
    // The scale is rounded to the compute type first, as Hugging Face's buffer is.
    return x * at::scalar_tensor(scale, x.options());
}

Stack::Input Model::entering(const TokenRows& input, const ModelDescription& stack,
                             const SiteHooks& hooks) const {
    hooks.rowsAre(input.segments);
    const std::size_t site = &stack == &m_description ? m_sites.embeddings.size() - 1 : 0;
    at::Tensor embedded = embed(input.ids, stack.embeddingScale, site, hooks);
    if (input.noise.defined()) embedded = embedded + input.noise.to(embedded.scalar_type());
    return {embedded, input.positions, input.types, input.segments};
}

at::Tensor Model::hidden(const TokenRows& input, const at::Tensor& rows, RowsOf rowsOf,
                         const SiteHooks& hooks, Activations activations) const {
    std::optional<StackRows> memory;
    if (m_encoder) {
        memory = m_encoder->pass(entering(*input.source, *m_description.encoder, hooks), {},
                                 RowsOf::Text, nullptr, Prompts::Taken, hooks, activations);
        memory->readers = input.readers;
    }
    return m_decoder
        .pass(entering(input, m_description, hooks), rows, rowsOf, memory ? &*memory : nullptr,
              promptsOfDecoder(), hooks, activations)
        .x;
}

at::Tensor Model::hidden(const TokenRows& input, const at::Tensor& rows, const SiteHooks& hooks,
                         Activations activations) const {
    at::Tensor wanted = rows;
    if (!wanted.defined() && promptsOfDecoder() == Prompts::Taken && hooks.promptLength() > 0)
        wanted = at::arange(input.ids.size(0), input.ids.options());  // the text's rows alone
    return hidden(input, wanted, RowsOf::Text, hooks, activations);
}

at::Tensor Model::firstHidden(const TokenRows& input, const SiteHooks& hooks,
                              Activations activations) const {
    const at::Tensor segments =
        at::arange(static_cast<std::int64_t>(input.segments.size()), input.ids.options());
    return hidden(input, segments, RowsOf::Segments, hooks, activations);
}

at::Tensor Model::logits(const at::Tensor& hidden, const SiteHooks& hooks) const {
    at::Tensor h = hidden;
    if (m_pooler >= 0) {
        h = m_linears.project(m_pooler, h, hooks);
        switch (m_description.classifier.activation) {
            case PoolActivation::Tanh:
                h = at::tanh(h);
                break;
            case PoolActivation::Relu:
                h = at::relu(h);
                break;
            case PoolActivation::Gelu:
                h = at::gelu(h);
                break;
        }
    }
    const at::Tensor plain =
        m_linears.project(static_cast<int>(m_sites.linears.size()) - 1, h, hooks).to(at::kFloat);
    const double cap = m_description.logitSoftCap;
    return cap > 0 ? at::tanh(plain / cap) * cap : plain;
}

at::Tensor Model::loss(const TokenRows& input, const at::Tensor& rows, const at::Tensor& labels,
                       double scale, const SiteHooks& hooks, Activations activations,
                       double smoothing) const {
    const at::Tensor h = hidden(input, rows, hooks, activations);
    if (hooks.mixed() != nullptr || hasHeadHooks(hooks))
        return nn::logitsLoss(logits(h, hooks), labels, scale, smoothing);
    const std::size_t head = m_sites.linears.size() - 1;
    return nn::headLoss(h, hooks.current(m_linears.weight(head)),
                        hooks.current(m_linears.bias(head)), labels, scale,
                        m_description.logitSoftCap, smoothing);
}

nn::TokenLosses Model::tokenLosses(const TokenRows& input, const at::Tensor& rows,
                                   const at::Tensor& labels, const SiteHooks& hooks,
                                   Activations activations) const {
    const at::Tensor h = hidden(input, rows, hooks, activations);
    if (hooks.mixed() != nullptr || hasHeadHooks(hooks))
        return nn::logitsTokenLosses(logits(h, hooks), labels);
    const std::size_t head = m_sites.linears.size() - 1;
    return nn::headTokenLosses(h, hooks.current(m_linears.weight(head)),
                               hooks.current(m_linears.bias(head)), labels,
                               m_description.logitSoftCap);
}

void Model::readSource(const std::vector<std::int64_t>& source, KeyValueCache& cache,
                       const SiteHooks& hooks) const {
    const at::NoGradGuard guard;
    cache.memory =
        m_encoder
            ->pass(entering(TokenRows::single(source, m_device), *m_description.encoder, hooks), {},
                   RowsOf::Text, nullptr, Prompts::Taken, hooks, Activations::Keep)
            .x;
}

at::Tensor Model::next(const std::vector<std::int64_t>& ids, KeyValueCache& cache,
                       const SiteHooks& hooks) const {
    const at::NoGradGuard guard;
    if (!cache.isEmpty() && ids.size() > 1) {
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) next({ids[i]}, cache, hooks);
        return next({ids.back()}, cache, hooks);
    }
    // LongRoPE turns keys otherwise once the text is longer than the first training's: what is
    // stored is then read again.
    const std::int64_t original = m_description.rope.originalPositions;
    if (m_description.position == PositionKind::Rope &&
        m_description.rope.scaling == RopeScaling::LongRope && !cache.isEmpty() &&
        cache.length() <= original && cache.length() + 1 > original) {
        std::vector<std::int64_t> all = cache.ids;
        all.insert(all.end(), ids.begin(), ids.end());
        cache.clear();
        return next(all, cache, hooks);
    }
    cache.ids.insert(cache.ids.end(), ids.begin(), ids.end());
    TokenRows input = TokenRows::single(ids, m_device);
    // The cache counts virtual positions too, so it is the position of the next token.
    if (!cache.isEmpty()) input.positions = input.positions + cache.length();
    return logits(m_decoder.next(entering(input, m_description, hooks), cache, promptsOfDecoder(),
                                 hooks),
                  hooks)
        .squeeze(0);
}

bool Model::canGoOnTogether() const {
    return m_description.position != PositionKind::Rope ||
           m_description.rope.scaling != RopeScaling::LongRope;
}

at::Tensor Model::nextOfEach(const std::vector<std::int64_t>& ids,
                             const std::vector<KeyValueCache*>& caches,
                             const SiteHooks& hooks) const {
    const at::NoGradGuard guard;
    std::vector<std::int64_t> positions;
    for (std::size_t row = 0; row < ids.size(); ++row) {
        caches[row]->ids.push_back(ids[row]);
        positions.push_back(caches[row]->length());
    }
    TokenRows input{at::tensor(ids, at::kLong).to(m_device),
                    at::tensor(positions, at::kLong).to(m_device),
                    std::vector<std::int64_t>(ids.size(), 1)};
    return logits(m_decoder.nextOfEach(entering(input, m_description, hooks), caches, hooks),
                  hooks);
}

}  // namespace luthier
