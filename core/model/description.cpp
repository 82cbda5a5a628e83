// SPDX-License-Identifier: Apache-2.0
#include "model/description.h"

#include <set>

namespace luthier {

namespace {

std::string layerPath(const ModelDescription& d, std::int64_t layer) { return d.names.layers + std::to_string(layer); }

/// The projections of one block in the order in which data flows.
std::vector<LinearSite> blockLinears(const ModelDescription& d, int layer) {
    const std::string path = layerPath(d, layer) + ".";
    const std::int64_t queryWidth = d.heads * d.headSize;
    const std::int64_t keyWidth = d.keyValueHeads * d.headSize;
    std::vector<LinearSite> sites;
    const auto add = [&](const std::string& name, LinearRole role, std::int64_t in, std::int64_t out, bool hasBias) {
        if (!name.empty()) sites.push_back({path + name, layer, role, in, out, d.isConv1D, hasBias});
    };
    add(d.names.fusedQkv, LinearRole::FusedQkv, d.hidden, queryWidth + 2 * keyWidth, d.hasQkvBias);
    add(d.names.query, LinearRole::Query, d.hidden, queryWidth, d.hasQkvBias);
    add(d.names.key, LinearRole::Key, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.value, LinearRole::Value, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.attentionOut, LinearRole::AttentionOut, queryWidth, d.hidden, d.hasAttentionOutBias);
    if (d.layer(layer).isMixture) return sites;
    add(d.names.gateUp, LinearRole::GateUp, d.hidden, 2 * d.intermediate, d.hasFeedForwardBias);
    add(d.names.gate, LinearRole::Gate, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.up, LinearRole::Up, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.down, LinearRole::Down, d.intermediate, d.hidden, d.hasFeedForwardBias);
    return sites;
}

/// Projections between the embedding's width and the blocks'.
std::vector<LinearSite> outerLinears(const ModelDescription& d) {
    std::vector<LinearSite> sites;
    if (!d.names.projectIn.empty())
        sites.push_back({d.names.projectIn, -1, LinearRole::ProjectIn, d.widthOfEmbedding(), d.hidden, false, false});
    if (!d.names.projectOut.empty())
        sites.push_back({d.names.projectOut, -1, LinearRole::ProjectOut, d.hidden, d.widthOfEmbedding(), false, false});
    return sites;
}

/// Weights of a mixture: no sites, since Hugging Face's experts are no Linear modules.
std::vector<ParameterShape> mixtureShapes(const ModelDescription& d, std::int64_t layer) {
    const MixtureSpec& m = d.mixture;
    const std::string path = layerPath(d, layer) + ".";
    std::vector<ParameterShape> shapes{{path + m.router + ".weight", {m.experts, d.hidden}}};
    const auto addExpert = [&](const std::string& at, std::int64_t width) {
        shapes.push_back({at + m.gate + ".weight", {width, d.hidden}});
        shapes.push_back({at + m.up + ".weight", {width, d.hidden}});
        shapes.push_back({at + m.down + ".weight", {d.hidden, width}});
    };
    for (std::int64_t expert = 0; expert < m.experts; ++expert)
        addExpert(path + m.expert + std::to_string(expert) + ".", m.intermediate);
    if (m.sharedIntermediate > 0) {
        addExpert(path + m.shared, m.sharedIntermediate);
        shapes.push_back({path + m.sharedGate + ".weight", {1, d.hidden}});
    }
    return shapes;
}

}  // namespace

std::vector<NormShape> normsOf(const ModelDescription& d, std::int64_t layer) {
    std::vector<NormShape> norms;
    if (layer < 0) {
        for (const std::string& name : {d.names.embeddingNorm, d.names.finalNorm})
            if (!name.empty() && d.hasNormWeight) norms.push_back({name, d.hidden, d.hasNormBias});
        return norms;
    }
    const std::string path = layerPath(d, layer) + ".";
    const auto add = [&](const std::string& name) {
        if (!name.empty() && d.hasNormWeight) norms.push_back({path + name, d.hidden, d.hasNormBias});
    };
    add(d.names.attentionNorm);
    for (const auto& [name, heads] : {std::pair{d.names.queryNorm, d.heads}, std::pair{d.names.keyNorm, d.keyValueHeads}}) {
        switch (d.queryKeyNorm) {
            case QueryKeyNorm::None: break;
            case QueryKeyNorm::PerHead: norms.push_back({path + name, d.headSize, d.hasQueryKeyNormBias}); break;
            case QueryKeyNorm::AllHeads: norms.push_back({path + name, heads * d.headSize, d.hasQueryKeyNormBias}); break;
            case QueryKeyNorm::OwnPerHead:
                for (std::int64_t head = 0; head < heads; ++head)
                    norms.push_back({path + name + ".norms." + std::to_string(head), d.headSize, d.hasQueryKeyNormBias});
                break;
        }
    }
    add(d.names.attentionPostNorm);
    add(d.names.feedForwardNorm);
    add(d.names.feedForwardPostNorm);
    return norms;
}

std::vector<ParameterShape> parameterShapes(const ModelDescription& d) {
    std::vector<ParameterShape> shapes;
    const auto addNorm = [&](const NormShape& norm) {
        shapes.push_back({norm.path + ".weight", {norm.width}});
        if (norm.hasBias) shapes.push_back({norm.path + ".bias", {norm.width}});
    };
    const auto addLinear = [&](const LinearSite& site) {
        shapes.push_back({site.path + ".weight", site.isConv1D ? std::vector{site.in, site.out} : std::vector{site.out, site.in}});
        if (site.hasBias) shapes.push_back({site.path + ".bias", {site.out}});
    };
    shapes.push_back({d.names.embedding + ".weight", {d.vocabulary, d.widthOfEmbedding()}});
    if (d.position == PositionKind::Learned)
        shapes.push_back({d.names.positions + ".weight", {d.maxPositions + d.positionOffset, d.hidden}});
    for (const LinearSite& site : outerLinears(d)) addLinear(site);
    for (int layer = 0; layer < d.layers; ++layer) {
        for (const NormShape& norm : normsOf(d, layer)) addNorm(norm);
        for (const LinearSite& site : blockLinears(d, layer)) addLinear(site);
        if (d.layer(layer).isMixture)
            for (ParameterShape& shape : mixtureShapes(d, layer)) shapes.push_back(std::move(shape));
    }
    for (const NormShape& norm : normsOf(d, -1)) addNorm(norm);
    if (!d.isTied) shapes.push_back({d.names.head + ".weight", {d.vocabulary, d.widthOfEmbedding()}});
    if (d.hasHeadBias) shapes.push_back({d.names.head + ".bias", {d.vocabulary}});
    return shapes;
}

ModelSites sitesOf(const ModelDescription& d) {
    ModelSites sites;
    sites.family = d.family;
    sites.architecture = d.architecture;
    sites.embeddingPath = d.names.embedding;
    sites.headPath = d.names.head;
    sites.isTied = d.isTied;
    sites.vocabulary = d.vocabulary;
    sites.hidden = d.hidden;
    sites.embeddingWidth = d.widthOfEmbedding();
    sites.layers = d.layers;
    sites.heads = d.heads;
    sites.keyValueHeads = d.keyValueHeads;
    sites.headSize = d.headSize;
    const auto addNorms = [&](std::int64_t layer) {
        for (const NormShape& norm : normsOf(d, layer)) sites.norms.push_back({norm.path, norm.width, norm.hasBias});
    };
    for (LinearSite& site : outerLinears(d)) sites.linears.push_back(std::move(site));
    for (int layer = 0; layer < d.layers; ++layer) {
        const std::string path = layerPath(d, layer);
        addNorms(layer);
        for (LinearSite& site : blockLinears(d, layer)) sites.linears.push_back(std::move(site));
        sites.blockOutputs.push_back({path, layer, Sublayer::Attention, d.hidden});
        sites.blockOutputs.push_back({path, layer, Sublayer::FeedForward, d.hidden});
        sites.keyValues.push_back({layer, d.keyValueHeads, d.headSize});
    }
    addNorms(-1);
    sites.linears.push_back({d.names.head, -1, LinearRole::Head, d.widthOfEmbedding(), d.vocabulary, false, d.hasHeadBias});
    return sites;
}

Problems checkDescription(const ModelDescription& d, const std::string& file) {
    Problems problems;
    const auto require = [&](std::int64_t value, std::int64_t most, const char* what) {
        if (value >= 1 && value <= most) return;
        problems.push_back({"config_value", file + ": the " + std::string(what) + " is " + std::to_string(value) +
                                                "; it must be from 1 to " + std::to_string(most) + ".",
                            "Use the config.json that came with the model.", file});
    };
    require(d.vocabulary, std::int64_t{1} << 21, "vocabulary size");
    require(d.hidden, 65536, "hidden size");
    require(d.layers, 1024, "number of layers");
    require(d.heads, 4096, "number of attention heads");
    require(d.keyValueHeads, 4096, "number of key-value heads");
    require(d.headSize, 65536, "head size");
    require(d.intermediate, 1 << 20, "feed-forward size");
    require(d.widthOfEmbedding(), 65536, "embedding width");
    if (d.mixture.experts > 0) {
        require(d.mixture.experts, 4096, "number of experts");
        require(d.mixture.perToken, d.mixture.experts, "number of experts a token");
        require(d.mixture.intermediate, 1 << 20, "feed-forward size of an expert");
    }
    if (d.position == PositionKind::Learned) require(d.maxPositions, 1 << 24, "number of positions");
    if (problems.empty() && d.heads % d.keyValueHeads != 0)
        problems.push_back({"config_value", file + ": " + std::to_string(d.heads) + " attention heads cannot share " +
                                                std::to_string(d.keyValueHeads) + " key-value heads.",
                            "num_attention_heads must be a multiple of num_key_value_heads.", file});
    return problems;
}

}  // namespace luthier
