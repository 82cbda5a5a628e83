// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_layout.h"

#include "model/arch/families.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

using kernels::GateActivation;

const char* partOf(LinearRole role) {
    switch (role) {
        case LinearRole::Query:
            return "attn_q";
        case LinearRole::Key:
            return "attn_k";
        case LinearRole::Value:
            return "attn_v";
        case LinearRole::FusedQkv:
            return "attn_qkv";
        case LinearRole::AttentionOut:
            return "attn_output";
        case LinearRole::Gate:
            return "ffn_gate";
        case LinearRole::Up:
        case LinearRole::GateUp:
            return "ffn_up";
        case LinearRole::Down:
            return "ffn_down";
        default:
            return "output";
    }
}

/// Collects the entries of one model.
class Builder {
public:
    Builder(const ModelDescription& description, const GgufSpelling& spelling)
        : m_d(description), m_spelling(spelling) {
        m_layout.architecture = spelling.architecture;
    }

    GgufLayout build() {
        add({"token_embd.weight", {m_d.names.embedding + ".weight"}});
        if (m_d.position == PositionKind::Learned)
            add({.name = "position_embd.weight",
                 .sources = {m_d.names.positions + ".weight"},
                 .isAlwaysFloat = true});
        for (const NormShape& norm : normsOf(m_d, -1))
            addNorm(norm, norm.path == m_d.names.embeddingNorm ? "token_embd_norm" : "output_norm");
        const ModelSites sites = sitesOf(m_d);
        for (const LinearSite& site : sites.linears) addLinear(site);
        for (std::int64_t layer = 0; layer < m_d.layers; ++layer) {
            addNorms(layer);
            if (m_d.layer(layer).isMixture) addMixture(layer);
        }
        addKeys();
        addRope();
        return std::move(m_layout);
    }

private:
    std::string block(std::int64_t layer) const { return "blk." + std::to_string(layer) + "."; }
    std::string path(std::int64_t layer) const {
        return m_d.names.layers + std::to_string(layer) + ".";
    }
    void add(GgufEntry entry) { m_layout.entries.push_back(std::move(entry)); }
    void key(const std::string& name, GgufValue value) {
        m_layout.keys.emplace_back(m_layout.architecture + "." + name, std::move(value));
    }
    void count(const std::string& name, std::int64_t value) {
        key(name, static_cast<std::uint32_t>(value));
    }
    void number(const std::string& name, double value) { key(name, static_cast<float>(value)); }

    void addNorm(const NormShape& norm, const std::string& name) {
        add({.name = name + ".weight",
             .sources = {norm.path + ".weight"},
             .offset = m_d.normOffset,
             .isAlwaysFloat = true});
        if (norm.hasBias)
            add({.name = name + ".bias", .sources = {norm.path + ".bias"}, .isAlwaysFloat = true});
    }

    void addNorms(std::int64_t layer) {
        const ModuleNames& names = m_d.names;
        const bool isSwapped = m_spelling.hasNormsSwapped && !names.feedForwardNorm.empty();
        GgufEntry queries{.name = block(layer) + "attn_q_norm.weight", .isAlwaysFloat = true};
        GgufEntry keys{.name = block(layer) + "attn_k_norm.weight", .isAlwaysFloat = true};
        for (const NormShape& norm : normsOf(m_d, layer)) {
            const std::string local = norm.path.substr(path(layer).size());
            if (m_d.queryKeyNorm == QueryKeyNorm::OwnPerHead &&
                local.rfind(names.queryNorm + ".", 0) == 0)
                queries.sources.push_back(norm.path + ".weight");
            else if (m_d.queryKeyNorm == QueryKeyNorm::OwnPerHead &&
                     local.rfind(names.keyNorm + ".", 0) == 0)
                keys.sources.push_back(norm.path + ".weight");
            else if (local == names.queryNorm)
                addNorm(norm, block(layer) + "attn_q_norm");
            else if (local == names.keyNorm)
                addNorm(norm, block(layer) + "attn_k_norm");
            else if (local == names.attentionNorm)
                addNorm(norm, block(layer) + (isSwapped ? "attn_norm_2" : "attn_norm"));
            else if (local == names.attentionPostNorm)
                addNorm(norm, block(layer) + "post_attention_norm");
            else if (local == names.feedForwardPostNorm)
                addNorm(norm, block(layer) + "post_ffw_norm");
            else
                addNorm(norm, block(layer) + (isSwapped ? "attn_norm" : "ffn_norm"));
        }
        for (GgufEntry* stacked : {&queries, &keys})
            if (!stacked->sources.empty()) add(*stacked);
    }

    void addLinear(const LinearSite& site) {
        if (site.role == LinearRole::Head && m_d.isTied && !m_spelling.needsHead) return;
        const std::string name = (site.layer < 0 ? "" : block(site.layer)) + partOf(site.role);
        GgufEntry entry{
            .name = name + ".weight",
            .sources = {(site.role == LinearRole::Head && m_d.isTied ? m_d.names.embedding
                                                                     : site.path) +
                        ".weight"},
            .isTransposed = site.isConv1D};
        if (m_spelling.isPermuted &&
            (site.role == LinearRole::Query || site.role == LinearRole::Key)) {
            entry.order = RowOrder::Neighbours;
            entry.heads = site.role == LinearRole::Query ? m_d.heads : m_d.keyValueHeads;
        } else if (site.role == LinearRole::FusedQkv && m_d.qkvLayout == QkvLayout::Grouped) {
            entry.order = RowOrder::Ungrouped;
            entry.heads = m_d.keyValueHeads;
            entry.queriesPerGroup = m_d.heads / m_d.keyValueHeads;
        }
        add(entry);
        if (!site.hasBias) return;
        entry.name = name + ".bias";
        entry.sources = {site.path + ".bias"};
        entry.isTransposed = false;
        entry.isAlwaysFloat = true;
        add(std::move(entry));
    }

    void addMixture(std::int64_t layer) {
        const MixtureSpec& mixture = m_d.mixture;
        add({.name = block(layer) + "ffn_gate_inp.weight",
             .sources = {path(layer) + mixture.router + ".weight"},
             .isAlwaysFloat = true});
        for (const auto& [local, part] : {std::pair{mixture.gate, "ffn_gate"},
                                          {mixture.up, "ffn_up"},
                                          {mixture.down, "ffn_down"}}) {
            GgufEntry experts{.name = block(layer) + part + "_exps.weight"};
            for (std::int64_t expert = 0; expert < mixture.experts; ++expert)
                experts.sources.push_back(path(layer) + mixture.expert + std::to_string(expert) +
                                          "." + local + ".weight");
            add(std::move(experts));
            if (mixture.sharedIntermediate > 0)
                add({block(layer) + part + "_shexp.weight",
                     {path(layer) + mixture.shared + local + ".weight"}});
        }
        // llama.cpp has one row here and wants a vector.
        if (mixture.sharedIntermediate > 0)
            add({.name = block(layer) + "ffn_gate_inp_shexp.weight",
                 .sources = {path(layer) + mixture.sharedGate + ".weight"},
                 .isAlwaysFloat = true});
    }

    /// Tokens within which llama.cpp sees what the model sees: windows that its graph does not have
    /// end the context.
    std::int64_t context() const {
        std::int64_t length = m_d.maxPositions;
        if (hasWindows()) return length;
        for (const LayerSwitches& layer : m_d.layerSwitches)
            if (layer.window > 0) length = std::min(length, layer.window);
        return length;
    }

    /// Whether the model has just the windows that llama.cpp gives its family.
    bool hasWindows() const {
        const std::int64_t period = m_spelling.windowPeriod;
        if (period == 0 || m_d.layerSwitches.empty()) return false;
        for (std::int64_t layer = 0; layer < m_d.layers; ++layer)
            if ((m_d.layer(layer).window > 0) != ((layer + 1) % period != 0)) return false;
        return true;
    }

    void addKeys() {
        count("block_count", m_d.layers);
        count("context_length", context());
        count("embedding_length", m_d.hidden);
        count("feed_forward_length", m_d.intermediate);
        count("attention.head_count", m_d.heads);
        count("attention.head_count_kv", m_d.keyValueHeads);
        count("attention.key_length", m_d.headSize);
        count("attention.value_length", m_d.headSize);
        count("vocab_size", m_d.vocabulary);
        number(m_d.norm == NormKind::RmsNorm ? "attention.layer_norm_rms_epsilon"
                                             : "attention.layer_norm_epsilon",
               m_d.normEps);
        if (m_spelling.ownKeys != nullptr)
            for (auto& [name, value] : m_spelling.ownKeys(m_d)) key(name, std::move(value));
        if (m_d.clipQkv > 0) number("attention.clamp_kqv", m_d.clipQkv);
        if (m_d.attentionSoftCap > 0) number("attn_logit_softcapping", m_d.attentionSoftCap);
        if (m_d.logitSoftCap > 0) number("final_logit_softcapping", m_d.logitSoftCap);
        if (hasWindows())
            for (const LayerSwitches& layer : m_d.layerSwitches)
                if (layer.window > 0) {
                    count("attention.sliding_window", layer.window);
                    break;
                }
        if (m_d.mixture.experts > 0) {
            count("expert_count", m_d.mixture.experts);
            count("expert_used_count", m_d.mixture.perToken);
            count("expert_feed_forward_length", m_d.mixture.intermediate);
            if (m_d.mixture.sharedIntermediate > 0)
                count("expert_shared_feed_forward_length", m_d.mixture.sharedIntermediate);
        }
    }

    void addRope() {
        if (m_d.position != PositionKind::Rope) return;
        const RopeSpec& rope = m_d.rope;
        count("rope.dimension_count", rope.rotary);
        number("rope.freq_base", rope.theta);
        if (m_d.localRope) number("rope.freq_base_swa", m_d.localRope->theta);
        if (rope.scaling == RopeScaling::Linear || rope.scaling == RopeScaling::Yarn) {
            key("rope.scaling.type",
                std::string(rope.scaling == RopeScaling::Linear ? "linear" : "yarn"));
            number("rope.scaling.factor", rope.factor);
        }
        if (rope.scaling == RopeScaling::Yarn) {
            count("rope.scaling.original_context_length", rope.originalPositions);
            number("rope.scaling.yarn_beta_fast", rope.betaFast);
            number("rope.scaling.yarn_beta_slow", rope.betaSlow);
        }
        if (rope.scaling == RopeScaling::Llama3) {
            const at::Tensor exponents =
                at::arange(0, rope.rotary, 2, at::kFloat) / static_cast<double>(rope.rotary);
            m_layout.extra.emplace_back(
                "rope_freqs.weight", at::pow(rope.theta, -exponents) / inverseFrequencies(rope, 1));
        }
        if (rope.scaling == RopeScaling::LongRope) {
            count("rope.scaling.original_context_length", rope.originalPositions);
            number("rope.scaling.attn_factor", rope.attentionFactor);
            m_layout.extra.emplace_back("rope_factors_long.weight",
                                        at::tensor(rope.longFactor, at::kFloat));
            m_layout.extra.emplace_back("rope_factors_short.weight",
                                        at::tensor(rope.shortFactor, at::kFloat));
        }
    }

    const ModelDescription& m_d;
    const GgufSpelling& m_spelling;
    GgufLayout m_layout;
};

/// The first switch of the model that llama.cpp's graph of the family lacks; empty when there is
/// none.
std::string missingFeature(const ModelDescription& d, const GgufSpelling& spelling) {
    if (d.isClassifier()) return "a classifier's head";
    const bool isGelu =
        d.activation == GateActivation::Gelu || d.activation == GateActivation::GeluTanh;
    if (spelling.isGelu ? !isGelu : d.activation != GateActivation::Silu)
        return "another activation";
    const bool hasBias = d.hasQkvBias || d.hasAttentionOutBias || d.hasFeedForwardBias;
    if (hasBias && !spelling.takesBiases) return "biases in its projections";
    if (spelling.lacks != nullptr)
        if (std::string own = spelling.lacks(d); !own.empty()) return own;
    if (d.isResidualNormed) return "apply_residual_connection_post_layernorm";
    if (d.dividesScoresByLayer) return "scale_attn_by_inverse_layer_idx";
    // llama.cpp knows the scale of the scores of the published sizes only: 1/sqrt(head size), and
    // two large models that use the width.
    const bool usesWidth = d.layers == spelling.widthScaledLayers;
    const double scale =
        1 / std::sqrt(static_cast<double>(usesWidth ? d.hidden / d.heads : d.headSize));
    if (!spelling.saysScoreScale && std::abs(d.scoreScale() - scale) > 1e-6 * scale)
        return "another scale of its attention scores than llama.cpp's";
    if (d.position == PositionKind::Rope) {
        const RopeScaling scaling = d.rope.scaling;
        if (scaling == RopeScaling::Dynamic) return "dynamic rope scaling";
        if (scaling == RopeScaling::LongRope && !spelling.takesLongRope) return "longrope scaling";
        if (scaling == RopeScaling::Llama3 && !spelling.takesLlama3Rope)
            return "llama3 rope scaling";
        if (scaling == RopeScaling::Yarn &&
            std::abs(d.rope.attentionFactor - (1 + 0.1 * std::log(d.rope.factor))) > 1e-4)
            return "yarn with an attention factor of its own";
    }
    if (d.mixture.experts > 0) {
        if (d.mixture.isNormalised != spelling.normalisesExperts.value_or(true))
            return "another norm_topk_prob";
        for (std::int64_t layer = 0; layer < d.layers; ++layer)
            if (!d.layer(layer).isMixture) return "blocks without a mixture";
    }
    return "";
}

/// Row i of the file is this row of the model.
at::Tensor rowSources(const GgufEntry& entry, std::int64_t rows) {
    const at::Tensor all = at::arange(rows, at::kLong);
    if (entry.order == RowOrder::Neighbours)
        return all.reshape({entry.heads, 2, rows / entry.heads / 2}).transpose(1, 2).reshape({-1});
    const std::int64_t width = rows / entry.heads / (entry.queriesPerGroup + 2);
    const at::Tensor grouped = all.reshape({entry.heads, entry.queriesPerGroup + 2, width});
    const auto part = [&](std::int64_t from, std::int64_t size) {
        return grouped.narrow(1, from, size).reshape({-1});
    };
    return at::cat({part(0, entry.queriesPerGroup), part(entry.queriesPerGroup, 1),
                    part(entry.queriesPerGroup + 1, 1)});
}

}  // namespace

const GgufEntry* GgufLayout::find(const std::string& source) const {
    for (const GgufEntry& entry : entries)
        if (entry.sources.size() == 1 && entry.sources.front() == source) return &entry;
    return nullptr;
}

Result<GgufLayout> ggufLayout(const ModelDescription& description) {
    std::string known;
    for (const Family& family : families()) {
        const GgufSpelling& spelling = family.gguf;
        if (spelling.architecture.empty()) continue;
        known += (known.empty() ? "" : ", ") + family.modelType;
        if (description.family != family.modelType) continue;
        if (const std::string missing = missingFeature(description, spelling); !missing.empty())
            return Problem{"gguf_feature",
                           "This " + description.family + " model has " + missing +
                               ", which llama.cpp does not compute for its " +
                               spelling.architecture + " models.",
                           "Export it as a Hugging Face folder (merged) or adapter (peft).", "",
                           ExitCode::BadUsage};
        return Builder(description, spelling).build();
    }
    return Problem{"gguf_family", "llama.cpp does not know the family " + description.family + ".",
                   "It knows: " + known + ".", "", ExitCode::BadUsage};
}

at::Tensor inFileOrder(const GgufEntry& entry, const at::Tensor& rows) {
    return entry.order == RowOrder::AsStored
               ? rows
               : rows.index_select(0, rowSources(entry, rows.size(0)));
}

at::Tensor inModelOrder(const GgufEntry& entry, const at::Tensor& rows) {
    return entry.order == RowOrder::AsStored
               ? rows
               : rows.index_select(0, rowSources(entry, rows.size(0)).argsort());
}

}  // namespace luthier
