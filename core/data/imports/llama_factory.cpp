// SPDX-License-Identifier: Apache-2.0
// LLaMA-Factory's YAML: arguments of its own beside transformers' TrainingArguments.
#include "data/imports/draft.h"

#include <algorithm>

namespace luthier::imports {

namespace {

Json listOf(const std::string& text) {
    Json list = Json::array();
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const std::size_t from = text.find_first_not_of(' ', at);
        if (from < end)
            list.push_back(text.substr(from, text.find_last_not_of(' ', end - 1) + 1 - from));
        at = end + 1;
    }
    return list;
}

void takeMethod(Draft& draft) {
    const std::string type = draft.takeText("finetuning_type");
    draft.put("method.type", type.empty() ? draft.defaultMethod() : type, "finetuning_type");
    draft.same("freeze_trainable_layers", "method.trainable_layers");
    if (!type.empty() && type != draft.defaultMethod()) return;
    draft.same("lora_rank", "method.r");
    draft.same("lora_alpha", "method.lora_alpha");
    draft.same("lora_dropout", "method.lora_dropout");
    const std::string target = draft.takeText("lora_target");
    draft.put("method.target_modules",
              target.empty() || target == "all" ? Json("all-linear") : listOf(target),
              "lora_target");
    for (const char* key : {"use_rslora", "use_dora", "loraplus_lr_ratio"})
        draft.same(key, std::string("method.") + key);
    if (draft.takeFlag("pissa_init", false)) {
        const Json* rounds = draft.take("pissa_iter");
        const std::int64_t count =
            rounds != nullptr && rounds->is_number_integer() ? rounds->get<std::int64_t>() : 16;
        draft.put("method.init_lora_weights",
                  count < 0 ? "pissa" : "pissa_niter_" + std::to_string(count), "pissa_init");
    }
    if (const std::string names = draft.takeText("additional_target"); !names.empty())
        draft.put("method.modules_to_save", listOf(names), "additional_target");
    draft.same("adapter_name_or_path", "method.init_from");
    draft.otherwise("method.r", 8);
    const Json* rank = draft.value("method.r");
    draft.otherwise("method.lora_alpha",
                    rank->is_number() ? Json(rank->get<double>() * 2) : Json(16));
    draft.otherwise("method.lora_dropout", 0.0);
}

void takeData(Draft& draft, const std::string& key, const std::string& dotted,
              const std::string& folder) {
    const Json* value = draft.take(key);
    const Json names = value == nullptr ? Json::array()
                       : value->is_array()
                           ? *value
                           : listOf(value->is_string() ? value->get<std::string>() : "");
    if (names.empty() || !names.front().is_string()) return;
    const std::string name = names.front();
    const bool isPath = name.find('/') != std::string::npos || name.find('.') != std::string::npos;
    draft.put(dotted, isPath ? name : folder + "/" + name + ".json", key);
    if (!isPath)
        draft.miss(dotted, "\"" + name + "\" is a name in " + folder +
                               "/dataset_info.json; give the file that it stands for");
    for (std::size_t i = 1; i < names.size(); ++i)
        draft.ignorePart(key + "[" + std::to_string(i) + "]", names[i],
                         "a run reads one file or folder");
}

}  // namespace

Result<void> fromLlamaFactory(Draft& draft) {
    const std::string stage = draft.takeText("stage");
    if (!stage.empty() && stage != "sft" && stage != "pt")
        return Problem{"import_kind",
                       "stage is \"" + stage +
                           "\"; Luthier has supervised fine-tuning (sft) and plain texts (pt).",
                       "Import a configuration of such a stage.", "stage", ExitCode::BadUsage};
    draft.model("model_name_or_path");
    takeMethod(draft);
    const std::string folder = draft.takeText("dataset_dir");
    takeData(draft, "dataset", "data.train.path", folder.empty() ? "data" : folder);
    takeData(draft, "eval_dataset", "data.eval.path", folder.empty() ? "data" : folder);
    if (stage == "pt") draft.put("data.train.format", "text", "stage");
    if (const Json* share = draft.take("val_size");
        share != nullptr && share->is_number() && share->get<double>() >= 1)
        draft.ignore("val_size", "a number of rows; data.eval.split is a share of them");
    else if (share != nullptr)
        draft.put("data.eval.split", *share, "val_size");
    draft.same("cutoff_len", "data.max_length");
    draft.same("packing", "data.packing");
    draft.put("data.loss_on",
              draft.takeFlag("train_on_prompt", false) ? "all"
              : draft.takeFlag("mask_history", false)  ? "completion"
                                                       : "assistant",
              "train_on_prompt");
    if (const std::string name = draft.takeText("template"); name == "alpaca")
        draft.put("data.template", "alpaca", "template");
    else if (!name.empty())
        draft.ignore("template", "the model's own chat template is used");
    if (const std::string name = draft.takeText("do_train"); name == "false")
        draft.ignore("do_train", "a run trains; luthier-cli eval measures");
    if (draft.takeFlag("pure_bf16", false)) draft.put("model.dtype", "bfloat16", "pure_bf16");
    if (draft.takeFlag("disable_gradient_checkpointing", false))
        draft.put("train.gradient_checkpointing", "off", "disable_gradient_checkpointing");
    takeTrainingArguments(draft);
    draft.otherwise("data.eval.split", 0.0);
    draft.otherwise("data.max_length", 2048);
    draft.otherwise("train.learning_rate", 5e-5);
    return {};
}

}  // namespace luthier::imports
