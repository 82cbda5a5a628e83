// SPDX-License-Identifier: Apache-2.0
// TRL's supervised fine-tuning: SFTConfig, ModelConfig and ScriptArguments, as `trl sft --config`
// reads them.
#include "data/imports/draft.h"

namespace luthier::imports {

namespace {

void takeMethod(Draft& draft) {
    if (!draft.takeFlag("use_peft", false))
        return draft.put("method.type", draft.wholeMethod(), "use_peft");
    draft.put("method.type", draft.defaultMethod(), "use_peft");
    for (const auto& [key, field] : {std::pair{"lora_r", "r"},
                                     {"lora_alpha", "lora_alpha"},
                                     {"lora_dropout", "lora_dropout"},
                                     {"lora_target_modules", "target_modules"},
                                     {"lora_modules_to_save", "modules_to_save"},
                                     {"use_rslora", "use_rslora"},
                                     {"use_dora", "use_dora"}})
        draft.same(key, std::string("method.") + field);
    // "--lora_target_modules all-linear" arrives as a list of one.
    const Json* target = draft.value("method.target_modules");
    if (target != nullptr && target->is_array() && target->size() == 1 &&
        target->front() == "all-linear")
        draft.put("method.target_modules", "all-linear", "lora_target_modules");
    draft.otherwise("method.r", 16);
    draft.otherwise("method.lora_alpha", 32);
    draft.otherwise("method.lora_dropout", 0.05);
}

void takeData(Draft& draft) {
    const Json* sets = draft.take("datasets");
    if (sets != nullptr && sets->is_array() && !sets->empty() && sets->front().is_object()) {
        draft.put("data.train.path", sets->front().value("path", Json()), "datasets");
        for (std::size_t i = 1; i < sets->size(); ++i)
            draft.ignorePart("datasets[" + std::to_string(i) + "]", (*sets)[i],
                             "a run reads one file or folder");
    }
    draft.same("dataset_name", "data.train.path");
    if (const Json* path = draft.value("data.train.path");
        path != nullptr && path->is_string() &&
        path->get<std::string>().find('.') == std::string::npos &&
        path->get<std::string>()[0] != '/')
        draft.miss("data.train.path", std::string("\"") + path->get<std::string>() +
                                          "\" looks like a name on the Hugging Face hub; give the "
                                          "file or folder it was downloaded to");
    if (const std::string field = draft.takeText("dataset_text_field");
        !field.empty() && field != "text")
        draft.put("data.columns.text", field, "dataset_text_field");
    draft.same("max_seq_length", "data.max_length");
    draft.same("max_length", "data.max_length");
    draft.same("packing", "data.packing");
    if (draft.takeFlag("assistant_only_loss", false))
        draft.put("data.loss_on", "assistant", "assistant_only_loss");
    if (!draft.takeFlag("completion_only_loss", true))
        draft.put("data.loss_on", "all", "completion_only_loss");
}

}  // namespace

Result<void> fromTrl(Draft& draft) {
    draft.model("model_name_or_path");
    takeMethod(draft);
    takeData(draft);
    takeTrainingArguments(draft);
    for (const char* key : {"dtype", "torch_dtype"}) draft.same(key, "model.dtype");
    draft.otherwise("data.eval.split", 0.0);
    draft.otherwise("data.max_length", 1024);
    draft.otherwise("train.learning_rate", 2e-5);
    return {};
}

}  // namespace luthier::imports
