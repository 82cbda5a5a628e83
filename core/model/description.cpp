// SPDX-License-Identifier: Apache-2.0
#include "model/description.h"

#include <set>

namespace luthier {

namespace {

std::string layerPath(const ModelDescription& d, std::int64_t layer) {
    return d.names.layers + std::to_string(layer);
}

/// The projections of one block in the order in which data flows.
std::vector<LinearSite> blockLinears(const ModelDescription& d, int layer, int block) {
    const std::string path = layerPath(d, layer) + ".";
    const std::int64_t queryWidth = d.heads * d.headSize;
    const std::int64_t keyWidth = d.keyValueHeads * d.headSize;
    std::vector<LinearSite> sites;
    const auto add = [&](const std::string& name, LinearRole role, std::int64_t in,
                         std::int64_t out, bool hasBias) {
        if (!name.empty())
            sites.push_back({path + name, layer, role, in, out, d.isConv1D, hasBias, block});
    };
    add(d.names.fusedQkv, LinearRole::FusedQkv, d.hidden, queryWidth + 2 * keyWidth, d.hasQkvBias);
    add(d.names.query, LinearRole::Query, d.hidden, queryWidth, d.hasQkvBias);
    add(d.names.key, LinearRole::Key, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.value, LinearRole::Value, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.relativeKey, LinearRole::RelativeKey, d.hidden, queryWidth, d.hasQkvBias);
    add(d.names.relativeQuery, LinearRole::RelativeQuery, d.hidden, queryWidth, d.hasQkvBias);
    add(d.names.attentionOut, LinearRole::AttentionOut, queryWidth, d.hidden,
        d.hasAttentionOutBias);
    add(d.names.crossQuery, LinearRole::CrossQuery, d.hidden, queryWidth, d.hasQkvBias);
    add(d.names.crossKey, LinearRole::CrossKey, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.crossValue, LinearRole::CrossValue, d.hidden, keyWidth, d.hasQkvBias);
    add(d.names.crossOut, LinearRole::CrossOut, queryWidth, d.hidden, d.hasAttentionOutBias);
    if (d.layer(layer).isMixture) return sites;
    add(d.names.gateUp, LinearRole::GateUp, d.hidden, 2 * d.intermediate, d.hasFeedForwardBias);
    add(d.names.gate, LinearRole::Gate, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.up, LinearRole::Up, d.hidden, d.intermediate, d.hasFeedForwardBias);
    add(d.names.down, LinearRole::Down, d.intermediate, d.hidden, d.hasFeedForwardBias);
    return sites;
}

void addLinear(const LinearSite& site, std::vector<ParameterShape>& shapes) {
    shapes.push_back({site.path + ".weight", site.isConv1D ? std::vector{site.in, site.out}
                                                           : std::vector{site.out, site.in}});
    if (site.hasBias) shapes.push_back({site.path + ".bias", {site.out}});
}

/// Projections between the embedding's width and the blocks'.
std::vector<LinearSite> outerLinears(const ModelDescription& d) {
    std::vector<LinearSite> sites;
    if (!d.names.projectIn.empty())
        sites.push_back({d.names.projectIn, -1, LinearRole::ProjectIn, d.widthOfEmbedding(),
                         d.hidden, false, false});
    if (!d.names.projectOut.empty())
        sites.push_back({d.names.projectOut, -1, LinearRole::ProjectOut, d.hidden,
                         d.widthOfEmbedding(), false, false});
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
        for (const std::string& name :
             {d.names.embeddingNorm, d.names.relativeNorm, d.names.finalNorm})
            if (!name.empty() && d.hasNormWeight) norms.push_back({name, d.hidden, d.hasNormBias});
        return norms;
    }
    const std::string path = layerPath(d, layer) + ".";
    const auto add = [&](const std::string& name) {
        if (!name.empty() && d.hasNormWeight)
            norms.push_back({path + name, d.hidden, d.hasNormBias});
    };
    add(d.names.attentionNorm);
    for (const auto& [name, heads] :
         {std::pair{d.names.queryNorm, d.heads}, std::pair{d.names.keyNorm, d.keyValueHeads}}) {
        switch (d.queryKeyNorm) {
            case QueryKeyNorm::None:
                break;
            case QueryKeyNorm::PerHead:
                norms.push_back({path + name, d.headSize, d.hasQueryKeyNormBias});
                break;
            case QueryKeyNorm::AllHeads:
                norms.push_back({path + name, heads * d.headSize, d.hasQueryKeyNormBias});
                break;
            case QueryKeyNorm::OwnPerHead:
                for (std::int64_t head = 0; head < heads; ++head)
                    norms.push_back({path + name + ".norms." + std::to_string(head), d.headSize,
                                     d.hasQueryKeyNormBias});
                break;
        }
    }
    add(d.names.attentionPostNorm);
    add(d.names.crossNorm);
    add(d.names.feedForwardNorm);
    add(d.names.feedForwardPostNorm);
    return norms;
}

namespace {

/// Parameters of one stack, the token embedding and the head left out.
void addStack(const ModelDescription& d, std::vector<ParameterShape>& shapes) {
    const auto addNorm = [&](const NormShape& norm) {
        shapes.push_back({norm.path + ".weight", {norm.width}});
        if (norm.hasBias) shapes.push_back({norm.path + ".bias", {norm.width}});
    };
    if (d.learnsPositions())
        shapes.push_back(
            {d.names.positions + ".weight", {d.maxPositions + d.positionOffset, d.hidden}});
    if (d.tokenTypes > 0)
        shapes.push_back({d.names.tokenTypes + ".weight", {d.tokenTypes, d.hidden}});
    if (d.position == PositionKind::Buckets)
        shapes.push_back({d.names.relative + ".weight", {d.relative.buckets, d.heads}});
    if (d.position == PositionKind::Disentangled)
        shapes.push_back({d.names.relative + ".weight", {2 * d.relative.span(), d.hidden}});
    for (const LinearSite& site : outerLinears(d)) addLinear(site, shapes);
    for (int layer = 0; layer < d.layers; ++layer) {
        for (const NormShape& norm : normsOf(d, layer)) addNorm(norm);
        for (const LinearSite& site : blockLinears(d, layer, layer)) addLinear(site, shapes);
        if (d.layer(layer).isMixture)
            for (ParameterShape& shape : mixtureShapes(d, layer))
                shapes.push_back(std::move(shape));
    }
    for (const NormShape& norm : normsOf(d, -1)) addNorm(norm);
}

LinearSite poolerOf(const ModelDescription& d) {
    return {d.classifier.dense, -1, LinearRole::Pooler, d.hidden, d.hidden, false, true};
}

}  // namespace

std::vector<ParameterShape> parameterShapes(const ModelDescription& d) {
    std::vector<ParameterShape> shapes;
    shapes.push_back({d.names.embedding + ".weight", {d.vocabulary, d.widthOfEmbedding()}});
    if (d.encoder) addStack(*d.encoder, shapes);
    addStack(d, shapes);
    if (d.isClassifier() && !d.classifier.dense.empty()) addLinear(poolerOf(d), shapes);
    if (!d.isTied)
        shapes.push_back({d.names.head + ".weight", {d.outputs(), d.widthOfEmbedding()}});
    if (d.hasHeadBias) shapes.push_back({d.names.head + ".bias", {d.outputs()}});
    return shapes;
}

ModelSites sitesOf(const ModelDescription& d) {
    ModelSites sites;
    sites.family = d.family;
    sites.architecture = d.architecture;
    sites.embeddingPath = d.names.embedding;
    sites.headPath = d.names.head;
    sites.peftTask = d.isClassifier() ? "SEQ_CLS" : d.encoder ? "SEQ_2_SEQ_LM" : "CAUSAL_LM";
    sites.isTied = d.isTied;
    sites.vocabulary = d.vocabulary;
    sites.hidden = d.hidden;
    sites.embeddingWidth = d.widthOfEmbedding();
    sites.layers = d.layers;
    sites.encoderLayers = d.encoder ? d.encoder->layers : 0;
    sites.classes = d.classifier.classes;
    sites.keepsPooler = d.classifier.isDenseOfModel;
    sites.heads = d.heads;
    sites.keyValueHeads = d.keyValueHeads;
    sites.headSize = d.headSize;
    int block = 0;
    const auto addSites = [&](const ModelDescription& stack) {
        const auto addNorms = [&](std::int64_t layer) {
            for (const NormShape& norm : normsOf(stack, layer))
                sites.norms.push_back({norm.path, norm.width, norm.hasBias});
        };
        for (LinearSite& site : outerLinears(stack)) sites.linears.push_back(std::move(site));
        for (int layer = 0; layer < stack.layers; ++layer, ++block) {
            const std::string path = layerPath(stack, layer);
            addNorms(layer);
            for (LinearSite& site : blockLinears(stack, layer, block))
                sites.linears.push_back(std::move(site));
            sites.blockOutputs.push_back({path, layer, Sublayer::Attention, stack.hidden});
            sites.blockOutputs.push_back({path, layer, Sublayer::FeedForward, stack.hidden});
        }
        addNorms(-1);
    };
    if (d.encoder) addSites(*d.encoder);
    addSites(d);
    const std::int64_t padding = d.learnsPadding || d.paddingId >= d.vocabulary ? -1 : d.paddingId;
    const auto addEmbedding = [&](const std::string& path) {
        sites.embeddings.push_back({path, d.vocabulary, d.widthOfEmbedding(), padding});
    };
    if (d.encoder) {
        // "model.shared" is the table; what computes with it are the two stacks' own modules.
        const std::string prefix = d.names.embedding.substr(0, d.names.embedding.rfind('.') + 1);
        addEmbedding(prefix + "encoder.embed_tokens");
        addEmbedding(prefix + "decoder.embed_tokens");
    } else {
        addEmbedding(d.names.embedding);
    }
    // Keys that a prefix is put before; attention over distances alone (DeBERTa) has no place for
    // one.
    const std::int64_t prefixHeads = d.prefixHeads > 0 ? d.prefixHeads : d.keyValueHeads;
    for (int layer = 0; layer < d.layers && d.position != PositionKind::Disentangled; ++layer)
        sites.keyValues.push_back({layer, prefixHeads, d.headSize});
    if (d.isClassifier() && !d.classifier.dense.empty()) sites.linears.push_back(poolerOf(d));
    sites.linears.push_back({d.names.head, -1, LinearRole::Head, d.widthOfEmbedding(), d.outputs(),
                             false, d.hasHeadBias});
    return sites;
}

namespace {

/// The stack with `prefix` before its paths; files without it are still read.
ModelDescription under(const std::string& prefix, ModelDescription d) {
    for (std::string* path :
         {&d.names.embedding, &d.names.positions, &d.names.tokenTypes, &d.names.relative,
          &d.names.relativeNorm, &d.names.embeddingNorm, &d.names.projectIn, &d.names.projectOut,
          &d.names.finalNorm, &d.names.layers})
        if (!path->empty()) *path = prefix + *path;
    d.prefixes.push_back(prefix);
    return d;
}

}  // namespace

ModelDescription asClassifier(ModelDescription d, std::int64_t classes) {
    d.classifier.classes = classes;
    // The language model's head stays in the file; what other tasks left there is none of ours.
    for (const std::string& other :
         {d.names.head + ".", std::string("lm_head."), std::string("embed_out."),
          std::string("final_logits_bias"), std::string("cls."), std::string("vocab_"),
          std::string("lm_predictions."), std::string("mask_predictions.")})
        if (!other.starts_with(d.classifier.head + ".")) d.ignoredPrefixes.push_back(other);
    if (!d.classifier.prefix.empty()) {
        const std::string prefix = d.classifier.prefix;
        if (d.encoder)
            d.encoder = std::make_shared<const ModelDescription>(under(prefix, *d.encoder));
        d = under(prefix, std::move(d));
    }
    d.names.head = d.classifier.head;
    d.hasHeadBias = d.classifier.hasHeadBias;
    d.isTied = false;
    d.logitScale = 1;
    d.logitSoftCap = 0;
    return d;
}

Problems checkDescription(const ModelDescription& d, const std::string& file) {
    Problems problems;
    const auto require = [&](std::int64_t value, std::int64_t most, const char* what) {
        if (value >= 1 && value <= most) return;
        problems.push_back({"config_value",
                            file + ": the " + std::string(what) + " is " + std::to_string(value) +
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
    if (d.mixture.experts != 0) {
        require(d.mixture.experts, 4096, "number of experts");
        require(d.mixture.perToken, d.mixture.experts, "number of experts a token");
        require(d.mixture.intermediate, 1 << 20, "feed-forward size of an expert");
    }
    if (d.mixture.sharedIntermediate != 0)
        require(d.mixture.sharedIntermediate, 1 << 20, "feed-forward size of the shared expert");
    if (d.learnsPositions()) require(d.maxPositions, 1 << 24, "number of positions");
    if (d.position == PositionKind::Buckets || d.position == PositionKind::Disentangled) {
        require(d.position == PositionKind::Buckets ? d.relative.buckets : d.relative.span(),
                1 << 20, "number of position buckets");
        require(d.relative.distance, 1 << 24, "largest relative distance");
    }
    if (d.tokenTypes != 0) require(d.tokenTypes, 1 << 16, "number of token types");
    if (d.isClassifier()) require(d.classifier.classes, 1 << 20, "number of classes");
    if (d.encoder)
        for (Problem& problem : checkDescription(*d.encoder, file))
            problems.push_back(std::move(problem));
    if (problems.empty() && d.heads % d.keyValueHeads != 0)
        problems.push_back(
            {"config_value",
             file + ": " + std::to_string(d.heads) + " attention heads cannot share " +
                 std::to_string(d.keyValueHeads) + " key-value heads.",
             "num_attention_heads must be a multiple of num_key_value_heads.", file});
    return problems;
}

}  // namespace luthier
