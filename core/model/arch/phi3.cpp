// SPDX-License-Identifier: Apache-2.0
// Phi 3, 3.5 and 4 mini (Abdin et al. 2024; Hugging Face `Phi3ForCausalLM`): LLaMA with fused
// projections and long rope.
#include "model/arch/families.h"

namespace luthier {

namespace {

Result<ModelDescription> readPhi3(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    Json known = config;
    // Its "su" and "yarn" are both what is called longrope today.
    for (const char* key : {"rope_scaling", "rope_parameters"})
        if (const auto rope = known.find(key); rope != known.end() && rope->is_object())
            for (const char* type : {"type", "rope_type"})
                if (const auto name = rope->find(type);
                    name != rope->end() && (*name == "su" || *name == "yarn"))
                    *name = "longrope";
    ModelDescription d = llamaLike(read, known, file);
    d.normEps = read.number("rms_norm_eps", 1e-5);
    d.names.query = d.names.key = d.names.value = "";
    d.names.fusedQkv = "self_attn.qkv_proj";
    d.names.gate = d.names.up = "";
    d.names.gateUp = "mlp.gate_up_proj";
    readWindows(read, config, d, read.integer("sliding_window", 0),
                [](std::int64_t) { return true; });
    return finished(read, std::move(d));
}

}  // namespace

Family phi3Family() {
    Family family{.modelType = "phi3",
                  .title = "Phi-3",
                  .architecture = "Phi3ForCausalLM",
                  .classifier = "Phi3ForSequenceClassification",
                  .read = &readPhi3};
    family.gguf = {.architecture = "phi3", .takesLongRope = true, .leavesOutWindow = true};
    family.gguf.toConfig = [](Json& config, GgufFacts& facts) {
        facts.copyWhole(config, "sliding_window", "attention.sliding_window");
    };
    return family;
}

}  // namespace luthier
