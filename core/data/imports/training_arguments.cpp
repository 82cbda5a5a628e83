// SPDX-License-Identifier: Apache-2.0
// transformers.TrainingArguments: its fields and its defaults.
#include "data/imports/draft.h"

#include <cmath>
#include <map>

namespace luthier::imports {

namespace {

const std::map<std::string, std::string> kOptimizers{{"adamw_torch", "adamw"},
                                                     {"adamw_torch_fused", "adamw"},
                                                     {"adamw_hf", "adamw"},
                                                     {"adamw_apex_fused", "adamw"},
                                                     {"adamw", "adamw"},
                                                     {"paged_adamw_32bit", "adamw"},
                                                     {"paged_adamw", "adamw"},
                                                     {"adamw_bnb_8bit", "adamw_8bit"},
                                                     {"adamw_8bit", "adamw_8bit"},
                                                     {"paged_adamw_8bit", "adamw_8bit"},
                                                     {"adafactor", "adafactor"},
                                                     {"lion", "lion"},
                                                     {"lion_32bit", "lion"},
                                                     {"paged_lion_32bit", "lion"},
                                                     {"sgd", "sgd"}};

/// eval_strategy and eval_steps, or save_…: every so many steps.
void takeEvery(Draft& draft, const std::string& what, const std::string& dotted) {
    const std::string key = what + "_strategy";
    const std::string strategy = draft.takeText(key);
    const Json* steps = draft.take(what + "_steps");
    if (strategy == "no" || strategy == "false")
        draft.put(dotted, 0, key);
    else if (strategy == "epoch" || strategy == "best")
        draft.ignore(key, "steps are counted, not epochs; set " + dotted);
    else if (steps != nullptr && steps->is_number() && steps->get<double>() < 1)
        draft.ignore(what + "_steps",
                     "a share of all steps; set " + dotted + " to a number of steps");
    else if (steps != nullptr)
        draft.put(dotted, *steps, what + "_steps");
    else if (strategy == "steps")
        draft.otherwise(dotted, 500);
}

}  // namespace

void takeOptimizer(Draft& draft, const std::string& key) {
    const std::string name = draft.takeText(key);
    if (name.empty()) return;
    if (const auto found = kOptimizers.find(name); found != kOptimizers.end())
        draft.put("train.optimizer", found->second, key);
    else
        draft.ignore(key, "Luthier's optimisers are adamw, adamw_8bit, adafactor, lion and sgd");
}

void takeSchedule(Draft& draft, const std::string& key) {
    const std::string name = draft.takeText(key);
    if (!name.empty()) draft.put("train.lr_scheduler_type", name, key);
    if (const Json* settings = draft.take("lr_scheduler_kwargs");
        settings != nullptr && settings->is_object())
        for (const auto& [inner, value] : settings->items())
            draft.put("train.lr_scheduler_kwargs." + inner, value, "lr_scheduler_kwargs." + inner);
}

/// A share of the steps, where those are known.
void takeWarmup(Draft& draft) {
    std::string key = "warmup_steps";
    const Json* steps = draft.take(key);
    const Json* ratio = draft.take("warmup_ratio");
    const bool isSteps = steps != nullptr && steps->is_number() &&
                         (steps->get<double>() >= 1 || ratio == nullptr || *ratio == 0) &&
                         (*steps == 0 || steps->get<double>() >= 1);
    if (isSteps) return draft.put("train.warmup_steps", *steps, key);
    if (ratio != nullptr && *ratio != 0) key = "warmup_ratio";
    const Json* share = key == "warmup_ratio" ? ratio : steps;
    if (share == nullptr) return;
    const Json* all = draft.value("train.max_steps");
    if (share->is_number() && all != nullptr && all->is_number())
        draft.put("train.warmup_steps", std::ceil(share->get<double>() * all->get<double>()), key);
    else
        draft.ignore(key,
                     "warm-up is counted in steps, and how many there are depends on the rows; set "
                     "train.warmup_steps");
}

void takePrecision(Draft& draft) {
    if (draft.takeFlag("bf16", false)) draft.put("model.dtype", "bfloat16", "bf16");
    if (draft.takeFlag("fp16", false))
        draft.ignore("fp16", "Luthier computes in bfloat16 or float32");
}

void takeTrainingArguments(Draft& draft) {
    draft.same("per_device_train_batch_size", "train.batch_size");
    draft.same("num_train_epochs", "train.epochs");
    for (const char* key :
         {"gradient_accumulation_steps", "learning_rate", "weight_decay", "adam_beta1",
          "adam_beta2", "adam_epsilon", "max_grad_norm", "seed", "load_best_model_at_end"})
        draft.same(key, std::string("train.") + key);
    if (const Json* steps = draft.take("max_steps");
        steps != nullptr && steps->is_number() && steps->get<double>() > 0)
        draft.put("train.max_steps", *steps, "max_steps");
    draft.same("save_total_limit", "train.keep_checkpoints");
    draft.same("label_smoothing_factor", "train.label_smoothing_factor");
    draft.same("neftune_noise_alpha", "train.neftune_noise_alpha");
    draft.same("group_by_length", "train.group_by_length");
    if (const Json* flag = draft.take("gradient_checkpointing"))
        draft.put("train.gradient_checkpointing", *flag == true ? "on" : "off",
                  "gradient_checkpointing");
    takeOptimizer(draft, "optim");
    takeSchedule(draft, "lr_scheduler_type");
    takeWarmup(draft);
    takePrecision(draft);
    takeEvery(draft, "eval", "train.eval_every");
    takeEvery(draft, "save", "train.save_every");
    draft.otherwise("train.batch_size", 8);
    if (!draft.has("train.max_steps")) draft.otherwise("train.epochs", 3);
}

}  // namespace luthier::imports
