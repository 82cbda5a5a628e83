// SPDX-License-Identifier: Apache-2.0
// PEFT's adapter_config.json: the method's fields have the same names here.
#include "data/imports/draft.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace luthier::imports {

Result<void> fromPeft(Draft& draft) {
    static const std::map<std::string, std::string> tasks{{"CAUSAL_LM", "causal_lm"}, {"SEQ_2_SEQ_LM", "seq2seq_lm"}, {"SEQ_CLS", "sequence_classification"}};
    draft.model("base_model_name_or_path");
    std::string type = draft.takeText("peft_type");
    std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    draft.put("method.type", type, "peft_type");
    const std::string task = draft.takeText("task_type");
    if (const auto found = tasks.find(task); found != tasks.end()) draft.put("model.task", found->second, "task_type");
    else if (!task.empty()) draft.ignore("task_type", "Luthier's tasks are causal_lm, seq2seq_lm and sequence_classification");
    for (const char* facts : {"inference_mode", "peft_version", "auto_mapping", "revision"}) draft.take(facts);  // of the file, not of a run
    for (const char* name : {"r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "use_rslora", "use_dora", "init_lora_weights", "rank_pattern",
                             "alpha_pattern", "modules_to_save", "init_r", "target_r", "orth_reg_weight", "tinit", "tfinal", "deltaT", "total_step", "beta1", "beta2", "alpha", "decompose_both",
                             "decompose_factor", "d_initial", "projection_prng_key", "save_projection", "feedforward_modules", "num_virtual_tokens", "prefix_projection", "encoder_hidden_size",
                             "encoder_reparameterization_type", "encoder_num_layers", "prompt_tuning_init", "prompt_tuning_init_text", "oft_block_size", "block_share", "coft", "eps",
                             "use_cayley_neumann", "num_cayley_neumann_terms"})
        draft.methodField(name);
    return {};
}

}  // namespace luthier::imports
