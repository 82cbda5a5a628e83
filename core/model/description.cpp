// SPDX-License-Identifier: Apache-2.0
#include "model/description.h"

#include <set>

namespace luthier {

namespace {

std::string layerPath(const DecoderDescription& d, std::int64_t layer) { return d.names.layers + std::to_string(layer); }

/// The projections of one block in the order in which data flows.
std::vector<LinearSite> blockLinears(const DecoderDescription& d, int layer) {
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
    add(d.names.gate, LinearRole::Gate, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.up, LinearRole::Up, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.down, LinearRole::Down, d.intermediate, d.hidden, d.hasFeedForwardBias);
    return sites;
}

}  // namespace

std::vector<ParameterShape> parameterShapes(const DecoderDescription& d) {
    std::vector<ParameterShape> shapes;
    const auto addNorm = [&](const std::string& path) {
        shapes.push_back({path + ".weight", {d.hidden}});
        if (d.hasNormBias) shapes.push_back({path + ".bias", {d.hidden}});
    };
    const auto addLinear = [&](const LinearSite& site) {
        shapes.push_back({site.path + ".weight", site.isConv1D ? std::vector{site.in, site.out} : std::vector{site.out, site.in}});
        if (site.hasBias) shapes.push_back({site.path + ".bias", {site.out}});
    };
    shapes.push_back({d.names.embedding + ".weight", {d.vocabulary, d.hidden}});
    if (d.position == PositionKind::Learned) shapes.push_back({d.names.positions + ".weight", {d.maxPositions, d.hidden}});
    for (int layer = 0; layer < d.layers; ++layer) {
        addNorm(layerPath(d, layer) + "." + d.names.attentionNorm);
        for (const LinearSite& site : blockLinears(d, layer)) addLinear(site);
        addNorm(layerPath(d, layer) + "." + d.names.feedForwardNorm);
    }
    addNorm(d.names.finalNorm);
    if (!d.isTied) shapes.push_back({d.names.head + ".weight", {d.vocabulary, d.hidden}});
    return shapes;
}

ModelSites sitesOf(const DecoderDescription& d) {
    ModelSites sites;
    sites.family = d.family;
    sites.architecture = d.architecture;
    sites.embeddingPath = d.names.embedding;
    sites.headPath = d.names.head;
    sites.isTied = d.isTied;
    sites.vocabulary = d.vocabulary;
    sites.hidden = d.hidden;
    sites.layers = d.layers;
    sites.heads = d.heads;
    sites.keyValueHeads = d.keyValueHeads;
    sites.headSize = d.headSize;
    for (int layer = 0; layer < d.layers; ++layer) {
        const std::string path = layerPath(d, layer);
        sites.norms.push_back({path + "." + d.names.attentionNorm, d.hidden, d.hasNormBias});
        for (LinearSite& site : blockLinears(d, layer)) sites.linears.push_back(std::move(site));
        sites.norms.push_back({path + "." + d.names.feedForwardNorm, d.hidden, d.hasNormBias});
        sites.blockOutputs.push_back({path, layer, Sublayer::Attention, d.hidden});
        sites.blockOutputs.push_back({path, layer, Sublayer::FeedForward, d.hidden});
        sites.keyValues.push_back({layer, d.keyValueHeads, d.headSize});
    }
    sites.norms.push_back({d.names.finalNorm, d.hidden, d.hasNormBias});
    sites.linears.push_back({d.names.head, -1, LinearRole::Head, d.hidden, d.vocabulary, false, false});
    return sites;
}

Problems checkDescription(const DecoderDescription& d, const std::string& file) {
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
    if (d.position == PositionKind::Learned) require(d.maxPositions, 1 << 24, "number of positions");
    if (problems.empty() && d.heads % d.keyValueHeads != 0)
        problems.push_back({"config_value", file + ": " + std::to_string(d.heads) + " attention heads cannot share " +
                                                std::to_string(d.keyValueHeads) + " key-value heads.",
                            "num_attention_heads must be a multiple of num_key_value_heads.", file});
    return problems;
}

}  // namespace luthier
