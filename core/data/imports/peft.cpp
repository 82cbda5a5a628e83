// SPDX-License-Identifier: Apache-2.0
// PEFT's adapter_config.json: the method's fields have the same names here.
#include "data/imports/draft.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace luthier::imports {

Result<void> fromPeft(Draft& draft) {
    static const std::map<std::string, std::string> tasks{{"CAUSAL_LM", "causal_lm"},
                                                          {"SEQ_2_SEQ_LM", "seq2seq_lm"},
                                                          {"SEQ_CLS", "sequence_classification"}};
    draft.model("base_model_name_or_path");
    std::string type = draft.takeText("peft_type");
    std::transform(type.begin(), type.end(), type.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    draft.put("method.type", type, "peft_type");
    const std::string task = draft.takeText("task_type");
    if (const auto found = tasks.find(task); found != tasks.end())
        draft.put("model.task", found->second, "task_type");
    else if (!task.empty())
        draft.ignore("task_type",
                     "Luthier's tasks are causal_lm, seq2seq_lm and sequence_classification");
    // Facts of the file or of its model and not settings of a run; the last two count only beside
    // others that are not there.
    for (const char* facts :
         {"inference_mode", "peft_version", "auto_mapping", "revision", "num_attention_heads",
          "num_layers", "num_transformer_submodules", "token_dim", "tokenizer_name_or_path",
          "megatron_core", "qalora_group_size"})
        draft.take(facts);
    for (const auto& [name, value] : draft.source().items()) {
        draft.methodField(name);
        const bool isUsual = (name.ends_with("dropout") && value == 0) ||
                             (name.rfind("init_", 0) == 0 && value == true);
        if (isUsual) draft.take(name);  // what every method does here without being told
    }
    return {};
}

}  // namespace luthier::imports
