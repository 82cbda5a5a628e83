// SPDX-License-Identifier: Apache-2.0
// Axolotl's YAML.
#include "data/imports/draft.h"

#include <map>

namespace luthier::imports {

namespace {

void takeMethod(Draft& draft) {
    const std::string adapter = draft.takeText("adapter");
    if (adapter.empty()) return draft.put("method.type", draft.wholeMethod(), "adapter");
    draft.put("method.type", adapter == "qlora" ? draft.defaultMethod() : adapter, "adapter");
    if (adapter == "qlora")
        draft.take("load_in_4bit"),
            draft.ignore("adapter",
                         "frozen weights are not quantised yet; this becomes plain LoRA");
    for (const auto& [key, field] : {std::pair{"lora_r", "r"},
                                     {"lora_alpha", "lora_alpha"},
                                     {"lora_dropout", "lora_dropout"},
                                     {"lora_target_modules", "target_modules"},
                                     {"lora_modules_to_save", "modules_to_save"},
                                     {"peft_layers_to_transform", "layers_to_transform"},
                                     {"peft_use_rslora", "use_rslora"},
                                     {"peft_use_dora", "use_dora"},
                                     {"peft_init_lora_weights", "init_lora_weights"},
                                     {"loraplus_lr_ratio", "loraplus_lr_ratio"},
                                     {"lora_model_dir", "init_from"}})
        draft.same(key, std::string("method.") + field);
    if (draft.takeFlag("lora_target_linear", false))
        draft.put("method.target_modules", "all-linear", "lora_target_linear");
    draft.otherwise("method.lora_dropout", 0.0);
}

/// The first data set; the others are named.
void takeData(Draft& draft, const std::string& key, const std::string& section) {
    static const std::map<std::string, std::string> formats{{"alpaca", "alpaca"},
                                                            {"completion", "text"},
                                                            {"sharegpt", "chat"},
                                                            {"chat_template", "chat"},
                                                            {"pretrain", "text"}};
    const Json* sets = draft.take(key);
    if (sets == nullptr || !sets->is_array() || sets->empty() || !sets->front().is_object()) return;
    const Json& set = sets->front();
    const Json files = set.value("data_files", Json());
    const Json file = files.is_array() && !files.empty() ? files.front() : files;
    draft.put(section + ".path", file.is_string() ? file : set.value("path", Json()), key);
    if (const std::string type =
            set.value("type", Json("")).is_string() ? set.value("type", "") : "";
        formats.contains(type))
        draft.put(section + ".format", formats.at(type), key);
    for (const auto& [inner, value] : set.items())
        if (inner == "field" && section == "data.train")
            draft.put("data.columns.text", value, key + ".field");
        else if (inner == "field_messages" && section == "data.train") {
            if (value != "messages" && value != "conversations")
                draft.put("data.columns.messages", value, key + ".field_messages");
        } else if (inner != "path" && inner != "data_files" && inner != "ds_type" &&
                   !(inner == "type" && value.is_string() &&
                     formats.contains(value.get<std::string>())))
            draft.ignorePart(key + "[0]." + inner, value,
                             "rows are recognised by their keys; data.columns names others");
    for (std::size_t i = 1; i < sets->size(); ++i)
        draft.ignorePart(key + "[" + std::to_string(i) + "]", (*sets)[i],
                         "a run reads one file or folder");
    if (section == "data.train" && !draft.has("data.loss_on"))
        draft.put(
            "data.loss_on",
            set.value("type", Json()) == "chat_template" || set.value("type", Json()) == "sharegpt"
                ? "assistant"
                : "completion",
            key);
}

}  // namespace

Result<void> fromAxolotl(Draft& draft) {
    draft.model("base_model");
    takeMethod(draft);
    if (draft.takeFlag("train_on_inputs", false))
        draft.put("data.loss_on", "all", "train_on_inputs");
    takeData(draft, "datasets", "data.train");
    takeData(draft, "test_datasets", "data.eval");
    draft.same("val_set_size", "data.eval.split");
    draft.same("sequence_len", "data.max_length");
    draft.same("sample_packing", "data.packing");
    draft.same("shuffle_merged_datasets", "data.shuffle");
    if (const std::string name = draft.takeText("chat_template");
        name == "chatml" || name == "alpaca")
        draft.put("data.template", name, "chat_template");
    else if (name == "tokenizer_default")
        draft.put("data.template", "model", "chat_template");
    else if (!name.empty())
        draft.ignore("chat_template", "the model's own chat template is used");
    draft.same("micro_batch_size", "train.batch_size");
    draft.same("num_epochs", "train.epochs");
    if (const Json* steps = draft.take("max_steps");
        steps != nullptr && steps->is_number() && steps->get<double>() > 0)
        draft.put("train.max_steps", *steps, "max_steps");
    for (const char* key :
         {"gradient_accumulation_steps", "learning_rate", "weight_decay", "adam_beta1",
          "adam_beta2", "adam_epsilon", "max_grad_norm", "seed", "early_stopping_patience"})
        draft.same(key, std::string("train.") + key);
    draft.same("neftune_noise_alpha", "train.neftune_noise_alpha");
    draft.same("group_by_length", "train.group_by_length");
    draft.same("save_total_limit", "train.keep_checkpoints");
    if (const Json* flag = draft.take("gradient_checkpointing"))
        draft.put("train.gradient_checkpointing", *flag == false ? "off" : "on",
                  "gradient_checkpointing");
    takeOptimizer(draft, "optimizer");
    takeSchedule(draft, "lr_scheduler");
    takeWarmup(draft);
    takePrecision(draft);
    for (const auto& [key, dotted] :
         {std::pair{"eval_steps", "train.eval_every"}, {"save_steps", "train.save_every"}}) {
        const Json* steps = draft.take(key);
        if (steps != nullptr && steps->is_number() && steps->get<double>() > 0 &&
            steps->get<double>() < 1)
            draft.ignore(
                key, std::string("a share of all steps; set ") + dotted + " to a number of steps");
        else if (steps != nullptr)
            draft.put(dotted, *steps, key);
    }
    for (const char* key : {"evals_per_epoch", "saves_per_epoch"})
        draft.ignore(key,
                     "steps are counted, not epochs; set train.eval_every and train.save_every");
    draft.otherwise("data.eval.split", 0.0);
    draft.otherwise("train.batch_size", 1);
    if (!draft.has("train.max_steps")) draft.otherwise("train.epochs", 1);
    return {};
}

}  // namespace luthier::imports
