// SPDX-License-Identifier: Apache-2.0
#include "model/alibi.h"
#include "model/relative.h"
#include "model/rope.h"
#include "model/stack_stream.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <numeric>

namespace luthier {

namespace {

/// How many of `rows` [M] i64, in ascending order, lie in each segment.
std::vector<std::int64_t> countsOf(const at::Tensor& rows,
                                   const std::vector<std::int64_t>& segments) {
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

bool requiresGrad(std::initializer_list<at::Tensor> tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
        return tensor.defined() && tensor.requires_grad();
    });
}

/// The table of each segment; of mixed rows each has its own.
std::vector<const SiteHooks*> tablesOf(const SiteHooks& hooks,
                                       const std::vector<std::int64_t>& segments) {
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

/// The input with each segment's prompts before it, and the new row of each text row and of what
/// stands just before each text.
struct BehindPrompts {
    Stack::Input input;
    std::vector<std::int64_t> rowOf, before;
};

BehindPrompts behindPrompts(const Stack::Input& input,
                            const std::vector<const SiteHooks*>& tables) {
    // A gather from [prompts of each table; text rows].
    std::map<const SiteHooks*, std::int64_t> places;
    std::vector<at::Tensor> rows, positions;
    std::int64_t prompts = 0;
    for (const SiteHooks* table : tables) {
        if (!places.emplace(table, prompts).second || table->input().empty()) continue;
        for (InputHook* hook : table->input())
            rows.push_back(hook->prompt().to(input.embedded.scalar_type()));
        positions.push_back(at::arange(table->promptLength(), input.positions.options()));
        prompts += table->promptLength();
    }
    std::vector<std::int64_t> gather, rowOf, before;
    std::vector<std::int64_t> segments = input.segments;
    std::int64_t text = 0;
    for (std::size_t segment = 0; segment < segments.size(); ++segment) {
        const std::int64_t length = tables[segment]->promptLength();
        for (std::int64_t i = 0; i < length; ++i) gather.push_back(places.at(tables[segment]) + i);
        before.push_back(static_cast<std::int64_t>(gather.size()) - 1);
        for (std::int64_t i = 0; i < segments[segment]; ++i) {
            rowOf.push_back(static_cast<std::int64_t>(gather.size()));
            gather.push_back(prompts + text++);
        }
        segments[segment] += length;
    }
    const at::Tensor index = at::tensor(gather, at::kLong).to(input.positions.device());
    const auto gathered = [&](std::vector<at::Tensor> parts, const at::Tensor& own) {
        parts.push_back(own);
        return at::index_select(at::cat(parts, 0), 0, index);
    };
    const at::Tensor types =
        input.types.defined() ? gathered({at::zeros({prompts}, input.types.options())}, input.types)
                              : at::Tensor();
    return {{gathered(rows, input.embedded), gathered(positions, input.positions), types, segments},
            rowOf,
            before};
}

/// Segments that read the same rows of an encoder as one: attention over these rows knows no order
/// among its queries.
std::vector<std::int64_t> joined(const std::vector<std::int64_t>& segments,
                                 const std::vector<std::int64_t>& readers) {
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

int Stack::Block::* Stack::Block::slotOf(LinearRole role) {
    switch (role) {
        case LinearRole::Query:
            return &Block::query;
        case LinearRole::Key:
            return &Block::key;
        case LinearRole::Value:
            return &Block::value;
        case LinearRole::FusedQkv:
            return &Block::fusedQkv;
        case LinearRole::AttentionOut:
            return &Block::attentionOut;
        case LinearRole::CrossQuery:
            return &Block::crossQuery;
        case LinearRole::CrossKey:
            return &Block::crossKey;
        case LinearRole::CrossValue:
            return &Block::crossValue;
        case LinearRole::CrossOut:
            return &Block::crossOut;
        case LinearRole::RelativeKey:
            return &Block::relativeKey;
        case LinearRole::RelativeQuery:
            return &Block::relativeQuery;
        case LinearRole::Gate:
            return &Block::gate;
        case LinearRole::Up:
            return &Block::up;
        case LinearRole::GateUp:
            return &Block::gateUp;
        default:
            return &Block::down;
    }
}

std::vector<int> Stack::Block::sites() const {
    std::vector<int> present;
    for (const int site : {query, key, value, fusedQkv, attentionOut, gate, up, gateUp, down,
                           crossQuery, crossKey, crossValue, crossOut, relativeKey, relativeQuery})
        if (site >= 0) present.push_back(site);
    return present;
}

Stack::Stack(const ModelDescription& description, const Linears& linears, const Weights& weights,
             int firstBlock, at::ScalarType dtype, at::Device device)
    : m_description(description),
      m_linears(linears),
      m_weights(weights),
      m_firstBlock(firstBlock),
      m_isAlone(linears.sites().encoderLayers == 0),
      m_dtype(dtype),
      m_device(device) {
    const auto table = [&](const std::string& path) { return m_weights.find(path + ".weight"); };
    if (m_description.learnsPositions()) m_positions = table(m_description.names.positions);
    if (m_description.tokenTypes > 0) m_types = table(m_description.names.tokenTypes);
    if (!m_description.names.relative.empty()) m_relative = table(m_description.names.relative);
    if (!m_description.hasNormWeight)
        m_ones = at::ones({m_description.hidden}, at::TensorOptions(at::kFloat).device(device));
    m_finalNorm = normAt(m_description.names.finalNorm);
    m_embeddingNorm = normAt(m_description.names.embeddingNorm);
    m_relativeNorm = normAt(m_description.names.relativeNorm);
    for (std::int64_t layer = 0; layer < m_description.layers; ++layer)
        m_blocks.push_back(blockAt(static_cast<std::size_t>(layer)));
    const std::vector<LinearSite>& sites = linears.sites().linears;
    for (std::size_t site = 0; site < sites.size(); ++site) {
        if (sites[site].path == m_description.names.projectIn) m_projectIn = static_cast<int>(site);
        if (sites[site].path == m_description.names.projectOut)
            m_projectOut = static_cast<int>(site);
        const int layer = sites[site].block - m_firstBlock;
        if (sites[site].block >= 0 && layer >= 0 && layer < m_description.layers)
            m_blocks[static_cast<std::size_t>(layer)].*Block::slotOf(sites[site].role) =
                static_cast<int>(site);
    }
}

Stack::Block Stack::blockAt(std::size_t layer) const {
    const std::string path = m_description.names.layers + std::to_string(layer) + ".";
    const auto normOf = [&](const std::string& name) {
        return name.empty() ? Norm{} : normAt(path + name);
    };
    Block block;
    block.attentionNorm = normOf(m_description.names.attentionNorm);
    block.attentionPostNorm = normOf(m_description.names.attentionPostNorm);
    block.crossNorm = normOf(m_description.names.crossNorm);
    block.feedForwardNorm = normOf(m_description.names.feedForwardNorm);
    block.feedForwardPostNorm = normOf(m_description.names.feedForwardPostNorm);
    if (m_description.queryKeyNorm != QueryKeyNorm::None) {
        block.queryNorm = queryKeyNormAt(path + m_description.names.queryNorm, m_description.heads);
        block.keyNorm =
            queryKeyNormAt(path + m_description.names.keyNorm, m_description.keyValueHeads);
    }
    if (m_description.layer(static_cast<std::int64_t>(layer)).isMixture)
        block.mixture = mixtureAt(path);
    return block;
}

Stack::Norm Stack::normAt(const std::string& path) const {
    if (path.empty()) return {};
    if (!m_description.hasNormWeight) return {&m_ones, &m_none};
    return {m_weights.find(path + ".weight"),
            m_description.hasNormBias ? m_weights.find(path + ".bias") : &m_none};
}

std::vector<Stack::Norm> Stack::queryKeyNormAt(const std::string& path, std::int64_t heads) const {
    const auto normOf = [&](const std::string& name) {
        return Norm{m_weights.find(name + ".weight"),
                    m_description.hasQueryKeyNormBias ? m_weights.find(name + ".bias") : &m_none};
    };
    if (m_description.queryKeyNorm != QueryKeyNorm::OwnPerHead) return {normOf(path)};
    std::vector<Norm> norms;
    for (std::int64_t head = 0; head < heads; ++head)
        norms.push_back(normOf(path + ".norms." + std::to_string(head)));
    return norms;
}

Stack::Mixture Stack::mixtureAt(const std::string& path) const {
    const MixtureSpec& spec = m_description.mixture;
    const auto expertAt = [&](const std::string& at) {
        return Expert{m_weights.find(at + spec.gate + ".weight"),
                      m_weights.find(at + spec.up + ".weight"),
                      m_weights.find(at + spec.down + ".weight")};
    };
    Mixture mixture;
    mixture.router = m_weights.find(path + spec.router + ".weight");
    for (std::int64_t i = 0; i < spec.experts; ++i)
        mixture.experts.push_back(expertAt(path + spec.expert + std::to_string(i) + "."));
    if (spec.sharedIntermediate > 0) {
        mixture.shared = expertAt(path + spec.shared);
        mixture.sharedGate = m_weights.find(path + spec.sharedGate + ".weight");
    }
    return mixture;
}

bool Stack::isTrained(std::size_t layer, const SiteHooks& hooks) const {
    const Block& block = m_blocks[layer];
    const auto learns = [&](const at::Tensor* tensor) {
        return tensor != nullptr && (requiresGrad({*tensor}) || hooks.replaces(tensor));
    };
    const auto learnsNorm = [&](const Norm& norm) {
        return learns(norm.weight) || learns(norm.bias);
    };
    for (const Norm* norm : {&block.attentionNorm, &block.attentionPostNorm, &block.crossNorm,
                             &block.feedForwardNorm, &block.feedForwardPostNorm})
        if (learnsNorm(*norm)) return true;
    if (std::any_of(block.queryNorm.begin(), block.queryNorm.end(), learnsNorm) ||
        std::any_of(block.keyNorm.begin(), block.keyNorm.end(), learnsNorm))
        return true;
    if (block.mixture) {
        const auto learnsExpert = [&](const Expert& expert) {
            return learns(expert.gate) || learns(expert.up) || learns(expert.down);
        };
        const Mixture& mixture = *block.mixture;
        if (learns(mixture.router) || learns(mixture.sharedGate) || learnsExpert(mixture.shared) ||
            std::any_of(mixture.experts.begin(), mixture.experts.end(), learnsExpert))
            return true;
    }
    const std::vector<int> sites = block.sites();
    if (std::any_of(sites.begin(), sites.end(), [&](int site) {
            return m_linears.isTrained(static_cast<std::size_t>(site), hooks);
        }))
        return true;
    const std::size_t outputs = 2 * (static_cast<std::size_t>(m_firstBlock) + layer);
    return !hooks.blockOutput(outputs).empty() || !hooks.blockOutput(outputs + 1).empty();
}

at::Tensor Stack::enter(const at::Tensor& embedded, const at::Tensor& positions,
                        const at::Tensor& types, const SiteHooks& hooks) const {
    at::Tensor x = embedded;
    if (m_description.inputScale != 1.0) x = x * m_description.inputScale;
    if (m_projectIn >= 0) x = m_linears.project(m_projectIn, x, hooks);
    if (m_types != nullptr)
        x = x + (types.defined() ? at::embedding(hooks.current(*m_types), types)
                                 : hooks.current(*m_types).narrow(0, 0, 1))
                    .to(m_dtype);
    if (m_positions != nullptr) {
        const std::int64_t rows = m_positions->size(0) - m_description.positionOffset;
        // One synchronisation on a GPU, for models with a table alone: an index beyond it would end
        // the process there.
        if (const std::int64_t needed =
                positions.numel() == 0 ? 0 : positions.max().item<std::int64_t>() + 1;
            needed > rows)
            throw Failure(
                {"too_many_tokens",
                 "A row needs " + std::to_string(needed) + " positions; this model has learned " +
                     std::to_string(rows) + ".",
                 "Shorten it, virtual tokens of a prompt included, or lower data.max_length.",
                 "data.max_length"});
        x = x + at::embedding(hooks.current(*m_positions), positions + m_description.positionOffset)
                    .to(m_dtype);
    }
    if (m_embeddingNorm.weight != nullptr) x = applyNorm(m_embeddingNorm, x, {}, hooks).second;
    return x;
}

void Stack::place(Stream& stream, const at::Tensor& positions, std::int64_t length,
                  std::int64_t first, std::int64_t keys, const SiteHooks& hooks) const {
    switch (m_description.position) {
        case PositionKind::Alibi:
            stream.keyBias = alibiBias(m_description, keys).to(m_device);
            return;
        case PositionKind::Rope:
            std::tie(stream.cos, stream.sin) = rotaryAngles(m_description.rope, positions, length);
            if (m_description.localRope)
                std::tie(stream.localCos, stream.localSin) =
                    rotaryAngles(*m_description.localRope, positions, length);
            return;
        case PositionKind::Buckets: {
            const at::Tensor buckets = t5Buckets(m_description.relative, !m_description.isCausal,
                                                 first, keys - first, keys)
                                           .to(m_device);
            stream.bias = at::embedding(hooks.current(*m_relative), buckets)
                              .permute({2, 0, 1})
                              .to(at::kFloat)
                              .contiguous();  // [H, L, K]
            return;
        }
        case PositionKind::Disentangled:
            static const SiteHooks
                none;  // mixed rows share the positions, so none of their tables changes this norm
            stream.bias = applyNorm(m_relativeNorm, hooks.current(*m_relative).to(m_dtype), {},
                                    hooks.mixed() == nullptr ? hooks : none)
                              .second;
            return;
        case PositionKind::Learned:
        case PositionKind::None:
            return;
    }
}

Stack::Stream Stack::start(const Input& input, Prompts prompts, const SiteHooks& hooks) const {
    const std::int64_t prompt = prompts == Prompts::Taken ? hooks.promptLength() : 0;
    const std::int64_t prefix = takesPrefix() ? hooks.prefixLength() : 0;
    const std::vector<const SiteHooks*> tables = tablesOf(hooks, input.segments);
    Input behind = input;
    if (prompt + prefix > 0) {  // text positions start behind what stands before the text
        std::vector<std::int64_t> shifts;
        for (std::size_t segment = 0; segment < tables.size(); ++segment)
            shifts.insert(shifts.end(), static_cast<std::size_t>(input.segments[segment]),
                          (prompt > 0 ? tables[segment]->promptLength() : 0) +
                              (prefix > 0 ? tables[segment]->prefixLength() : 0));
        behind.positions = input.positions + at::tensor(shifts, at::kLong).to(m_device);
    }
    Stream stream;
    if (prompt > 0) {
        BehindPrompts moved = behindPrompts(behind, tables);
        behind = std::move(moved.input);
        stream.rowOf = std::move(moved.rowOf);
        stream.before = std::move(moved.before);
    }
    stream.segments = behind.segments;
    hooks.rowsAre(stream.segments);
    stream.x = enter(behind.embedded, behind.positions, behind.types, hooks);
    const std::int64_t longest =
        stream.segments.empty() ? 0
                                : *std::max_element(stream.segments.begin(), stream.segments.end());
    place(stream, behind.positions,
          behind.positions.numel() == 0 ? 1 : behind.positions.max().item<std::int64_t>() + 1,
          prefix, longest + prefix, hooks);
    return stream;
}

StackRows Stack::pass(const Input& input, const at::Tensor& rows, RowsOf rowsOf,
                      const StackRows* memory, Prompts prompts, const SiteHooks& hooks,
                      Activations activations) const {
    Stream stream = start(input, prompts, hooks);
    at::Tensor wanted = rows;
    if (rowsOf == RowsOf::Segments) {
        std::vector<std::int64_t> firsts{0};
        for (const std::int64_t length : stream.segments) firsts.push_back(firsts.back() + length);
        wanted = at::index_select(at::tensor(firsts, at::kLong).to(m_device), 0, rows);
    } else if (!stream.rowOf.empty() && rows.defined()) {
        // What stands before the texts lies before their rows, from the last segment to the first:
        // row -1 is the first one's.
        std::vector<std::int64_t> places(stream.before.rbegin(), stream.before.rend());
        places.insert(places.end(), stream.rowOf.begin(), stream.rowOf.end());
        wanted = at::index_select(at::tensor(places, at::kLong).to(m_device), 0,
                                  rows + static_cast<std::int64_t>(stream.before.size()));
    }
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer) {
        // What a second run of the block needs stands in it by value; a prefix may come from
        // tensors that all layers share, so it is made outside.
        const at::Tensor kept =
            layer + 1 == m_blocks.size() && hooks.mixed() == nullptr ? wanted : at::Tensor();
        // All layers share the encoder's rows and T5's bias. A view of them for each layer adds up
        // a layer's gradients before those of all layers are, as a block that runs again does: the
        // sums are the same bit for bit.
        const auto ownView = [](const at::Tensor& shared) {
            return shared.defined() && shared.requires_grad() ? shared.view(shared.sizes())
                                                              : shared;
        };
        nn::BlockInputs inputs{stream.x,
                               stream.delta,
                               {},
                               {},
                               ownView(memory != nullptr ? memory->x : at::Tensor()),
                               ownView(stream.bias)};
        if (takesPrefix() && hooks.mixed() == nullptr)
            std::tie(inputs.prefixKey, inputs.prefixValue) =
                prefixOf(hooks, static_cast<int>(layer));
        const bool isRecomputed = activations == Activations::Recompute &&
                                  (requiresGrad({inputs.x, inputs.delta, inputs.prefixKey,
                                                 inputs.prefixValue, inputs.memory, inputs.bias}) ||
                                   isTrained(layer, hooks));
        Stream standing = stream;
        standing.x = standing.delta = standing.bias = at::Tensor();
        const std::vector<std::int64_t> memorySegments =
            memory != nullptr ? memory->segments : std::vector<std::int64_t>{};
        const std::vector<std::int64_t> reading = memory != nullptr
                                                      ? joined(standing.segments, memory->readers)
                                                      : std::vector<std::int64_t>{};
        const auto run = [this, layer, kept, isRecomputed, &hooks, standing, memorySegments,
                          reading](const nn::BlockInputs& in) {
            Stream passing = standing;
            passing.x = in.x;
            passing.delta = in.delta;
            const Attend attend{
                [&](std::size_t, const std::array<at::Tensor, 3>& qkv) {
                    return attendSelf(qkv, layer, standing, in, hooks);
                },
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

at::Tensor Stack::nextOfEach(const Input& input, const std::vector<KeyValueCache*>& caches,
                             const SiteHooks& hooks) const {
    Stream stream;
    stream.segments = input.segments;
    stream.x = enter(input.embedded, input.positions, input.types, hooks);
    std::vector<Stream> places(caches.size());
    std::vector<std::int64_t> memorySegments;
    for (std::size_t row = 0; row < caches.size(); ++row) {
        const std::int64_t length = caches[row]->length();
        place(places[row], input.positions.narrow(0, static_cast<std::int64_t>(row), 1), length + 1,
              length, length + 1, hooks);
        if (caches[row]->memory.defined()) memorySegments.push_back(caches[row]->memory.size(0));
    }
    // Every row looks only at its own text; all else is done for the rows together.
    const auto attendEach = [&](std::size_t layer, const std::array<at::Tensor, 3>& qkv) {
        std::vector<at::Tensor> rows;
        for (std::size_t row = 0; row < caches.size(); ++row) {
            const auto own = [&](const at::Tensor& all) {
                return all.narrow(0, static_cast<std::int64_t>(row), 1);
            };
            rows.push_back(attendCached({own(qkv[0]), own(qkv[1]), own(qkv[2])}, places[row], layer,
                                        *caches[row], hooks));
        }
        return at::cat(rows, 0);
    };
    const Attend attend{attendEach, [&](std::size_t layer, const at::Tensor& x) {
                            std::vector<at::Tensor> keys, values;
                            for (const KeyValueCache* cache : caches) {
                                keys.push_back(cache->crossed[layer].first);
                                values.push_back(cache->crossed[layer].second);
                            }
                            return attendMemory(x, layer, at::cat(keys, 0), at::cat(values, 0),
                                                stream.segments, memorySegments, hooks);
                        }};
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer)
        runBlock(layer, stream, {}, hooks, attend);
    for (KeyValueCache* cache : caches) cache->advance(1);
    return finish(stream, hooks);
}

at::Tensor Stack::next(const Input& input, KeyValueCache& cache, Prompts prompts,
                       const SiteHooks& hooks) const {
    Stream stream;
    const bool isFirst = cache.isEmpty();
    if (isFirst) {
        stream = start(input, prompts, hooks);
    } else {
        stream.segments = input.segments;
        stream.x = enter(input.embedded, input.positions, input.types, hooks);
        place(stream, input.positions, cache.length() + 1, cache.length(), cache.length() + 1,
              hooks);
    }
    const std::int64_t rows = stream.x.size(0);
    const at::Tensor last =
        rows > 1 ? at::full({1}, rows - 1, at::TensorOptions(at::kLong).device(m_device))
                 : at::Tensor();
    if (cache.memory.defined() && cache.crossed.empty())
        for (const Block& block : m_blocks)
            cache.crossed.emplace_back(m_linears.project(block.crossKey, cache.memory, hooks),
                                       m_linears.project(block.crossValue, cache.memory, hooks));
    const Attend attend{[&](std::size_t layer, const std::array<at::Tensor, 3>& qkv) {
                            return attendCached(qkv, stream, layer, cache, hooks);
                        },
                        [&](std::size_t layer, const at::Tensor& x) {
                            const auto& [key, value] = cache.crossed[layer];
                            return attendMemory(x, layer, key, value, {x.size(0)}, {key.size(0)},
                                                hooks);
                        }};
    for (std::size_t layer = 0; layer < m_blocks.size(); ++layer)
        runBlock(layer, stream, layer + 1 == m_blocks.size() ? last : at::Tensor(), hooks, attend);
    cache.advance(rows + (isFirst && takesPrefix() ? hooks.prefixLength() : 0));
    return finish(stream, hooks);
}

}  // namespace luthier
