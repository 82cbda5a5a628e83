// SPDX-License-Identifier: Apache-2.0
// OLMo 2 (Team OLMo 2024; Hugging Face `Olmo2ForCausalLM`): norms after each part instead of
// before, and over all queries and keys.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readOlmo2(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    d.normEps = read.number("rms_norm_eps", 1e-5);
    d.hasQkvBias = d.hasAttentionOutBias = read.flag("attention_bias", false);
    d.queryKeyNorm = QueryKeyNorm::AllHeads;
    d.names.queryNorm = "self_attn.q_norm";
    d.names.keyNorm = "self_attn.k_norm";
    d.names.attentionNorm = d.names.feedForwardNorm = "";
    d.names.attentionPostNorm = "post_attention_layernorm";
    d.names.feedForwardPostNorm = "post_feedforward_layernorm";
    return finished(read, std::move(d));
}

}  // namespace

Family olmo2Family() {
    Family family{.modelType = "olmo2",
                  .title = "OLMo 2",
                  .architecture = "Olmo2ForCausalLM",
                  .classifier = "Olmo2ForSequenceClassification",
                  .read = &readOlmo2};
    family.gguf = {.architecture = "olmo2", .needsHead = true};
    return family;
}

}  // namespace luthier
