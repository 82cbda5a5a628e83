// SPDX-License-Identifier: Apache-2.0
#include "data/imports.h"
#include "letters.h"

#include <doctest/doctest.h>

using namespace luthier;

namespace {

/// Methods with a handful of fields, as the engine declares them.
const MethodSchemas& someMethods() {
    static const Schema lora{
        "lora",
        {{.key = "r", .type = SettingType::Integer, .defaultValue = 8, .minimum = 1},
         {.key = "lora_alpha", .type = SettingType::Real, .defaultValue = 16},
         {.key = "lora_dropout", .type = SettingType::Real, .defaultValue = 0.0},
         {.key = "target_modules", .type = SettingType::Names, .isNullable = true},
         {.key = "use_rslora", .type = SettingType::Boolean, .defaultValue = false}}};
    static const Schema full{"full", {}};
    static const MethodSchemas methods{
        [](const std::string& type) {
            return type == "lora" ? &lora : type == "full" ? &full : nullptr;
        },
        {"lora", "full"},
        "lora",
        "full"};
    return methods;
}

ImportedSettings imported(const std::string& text, SettingsKind wanted) {
    const DataFile file("settings.yaml", text);
    const Json document = readSettingsFile(file.path).orThrow();
    const auto kind = settingsKindOf(document);
    REQUIRE(kind.has_value());
    CHECK(settingsKindName(*kind) == std::string(settingsKindName(wanted)));
    ImportedSettings settings = importSettings(document, *kind, someMethods()).orThrow();
    const auto resolved = resolveRunConfig(settings.run, "/", someMethods());
    CHECK_MESSAGE(resolved.ok(), (resolved ? std::string() : describe(resolved.problems())));
    return settings;
}

std::string whyIgnored(const ImportedSettings& settings, const std::string& key) {
    for (const IgnoredSetting& setting : settings.ignored)
        if (setting.key == key) return setting.why;
    return "";
}

bool isTaken(const ImportedSettings& settings, const std::string& key, const std::string& dotted,
             const Json& value) {
    for (const TakenSetting& setting : settings.taken)
        if (setting.key == key && setting.setting == dotted) return setting.value == value;
    return false;
}

Problem problemOf(const std::string& text) {
    const DataFile file("settings.yaml", text);
    const auto document = readSettingsFile(file.path);
    return document ? Problem{} : document.problem();
}

}  // namespace

TEST_CASE("an Axolotl file becomes a run, each of its settings taken or named") {
    const ImportedSettings settings = imported(R"(
base_model: NousResearch/Llama-3.2-1B
load_in_8bit: false
load_in_4bit: true
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
  - path: second
    type: alpaca
val_set_size: 0.1
sequence_len: 2048
sample_packing: true
output_dir: ./outputs/lora-out
wandb_project: mine
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 1
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 2e-4
bf16: auto
gradient_checkpointing: true
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
special_tokens:
  pad_token: "<|end_of_text|>"
)",
                                               SettingsKind::Axolotl);
    const Json& run = settings.run;
    CHECK(run["method"] == Json{{"type", "lora"},
                                {"r", 32},
                                {"lora_alpha", 16},
                                {"lora_dropout", 0.05},
                                {"target_modules", "all-linear"}});
    CHECK(run["data"]["train"] == Json{{"path", "teknium/GPT4-LLM-Cleaned"}, {"format", "alpaca"}});
    CHECK(run["data"]["eval"]["split"] == 0.1);
    CHECK(run["data"]["packing"] == true);
    CHECK(run["train"]["optimizer"] == "adamw_8bit");
    CHECK(run["train"]["learning_rate"] == 2e-4);
    CHECK(run["train"]["epochs"] == 1);
    CHECK(isTaken(settings, "micro_batch_size", "train.batch_size", 2));
    CHECK(isTaken(settings, "sequence_len", "data.max_length", 2048));
    CHECK(whyIgnored(settings, "adapter").find("quantised") != std::string::npos);
    CHECK(whyIgnored(settings, "evals_per_epoch").find("steps are counted") != std::string::npos);
    CHECK(whyIgnored(settings, "wandb_project") != "");
    CHECK(whyIgnored(settings, "special_tokens") == "Luthier has no such setting");
    CHECK(whyIgnored(settings, "datasets[1]") == "a run reads one file or folder");
    CHECK(whyIgnored(settings, "load_in_8bit") == "");  // off: leaving it out loses nothing
    REQUIRE(!settings.missing.empty());
    CHECK(settings.missing[0].key == "model.path");
}

TEST_CASE("a LLaMA-Factory file keeps that program's own defaults") {
    const ImportedSettings settings = imported(R"(
model_name_or_path: /models/llama
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: q_proj, v_proj
dataset: identity,alpaca_en_demo
template: llama3
cutoff_len: 1024
per_device_train_batch_size: 1
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
val_size: 0.1
label_smoothing_factor: 0.1
group_by_length: true
neftune_noise_alpha: 5
)",
                                               SettingsKind::LlamaFactory);
    const Json& run = settings.run;
    CHECK(run["method"] == Json{{"type", "lora"},
                                {"r", 4},
                                {"target_modules", {"q_proj", "v_proj"}},
                                {"lora_alpha", 8},
                                {"lora_dropout", 0.0}});
    CHECK(run["model"]["path"] == "/models/llama");
    CHECK(run["data"]["train"]["path"] == "data/identity.json");
    CHECK(run["data"]["loss_on"] == "assistant");
    CHECK(run["train"]["learning_rate"] == 5e-5);
    CHECK(run["train"]["label_smoothing_factor"] == 0.1);
    CHECK(run["train"]["group_by_length"] == true);
    CHECK(run["train"]["neftune_noise_alpha"] == 5);
    CHECK(whyIgnored(settings, "warmup_ratio").find("train.warmup_steps") != std::string::npos);
    CHECK(whyIgnored(settings, "dataset[1]") == "a run reads one file or folder");
}

TEST_CASE("a TRL file without use_peft trains everything") {
    const ImportedSettings settings = imported(
        "model_name_or_path: ./m\ndataset_name: rows.jsonl\nmax_length: 128\nmax_steps: "
        "20\nlearning_rate: 1.0e-3\ncompletion_only_loss: false\nunknown_thing: 3\n",
        SettingsKind::Trl);
    CHECK(settings.run["method"] == Json{{"type", "full"}});
    CHECK(settings.run["data"]["loss_on"] == "all");
    CHECK(settings.run["train"]["max_steps"] == 20);
    CHECK(whyIgnored(settings, "unknown_thing") == "Luthier has no such setting");
    CHECK(settings.missing.empty());
}

TEST_CASE("an adapter_config.json gives the method; what its method has not is named") {
    const ImportedSettings settings = imported(
        R"({"peft_type": "LORA", "base_model_name_or_path": "/models/m", "task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 6, "target_modules": ["q_proj"],
        "use_rslora": true, "use_dora": true, "bias": "none", "inference_mode": true, "revision": null})",
        SettingsKind::Peft);
    CHECK(settings.run["method"] == Json{{"type", "lora"},
                                         {"r", 3},
                                         {"lora_alpha", 6},
                                         {"target_modules", {"q_proj"}},
                                         {"use_rslora", true}});
    REQUIRE(settings.ignored.size() == 1);
    CHECK(settings.ignored[0].key == "use_dora");
    REQUIRE(settings.missing.size() == 1);
    CHECK(settings.missing[0].key == "data.train.path");
}

TEST_CASE("a value that a setting refuses is named and left out") {
    const ImportedSettings settings = imported(
        "base_model: ./m\nadapter: lora\nlora_r: -3\nlearning_rate: fast\nmicro_batch_size: "
        "2.5\ndatasets: [{path: rows.jsonl, type: alpaca}]\n",
        SettingsKind::Axolotl);
    CHECK(!settings.run["method"].contains("r"));
    for (const char* key : {"lora_r", "learning_rate", "micro_batch_size"})
        CHECK_MESSAGE(whyIgnored(settings, key) != "", key);
    CHECK(!isTaken(settings, "lora_r", "method.r", -3));
}

TEST_CASE("what is no settings file is named") {
    CHECK(readSettingsFile("/nowhere/x.yaml").problem().code == "file_missing");
    CHECK(problemOf("a: [1, 2").code == "import_damaged");
    CHECK(problemOf("- a\n- b\n").code == "import_damaged");
    CHECK(problemOf("just words").code == "import_damaged");
    CHECK(problemOf(std::string("\xFF\xFE\0a", 4)).code == "import_damaged");
    CHECK(
        problemOf(
            "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c "
            "[*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
            "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, "
            "*e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\n")
            .code == "import_damaged");
    CHECK(!settingsKindOf(Json{{"colour", "red"}}));
    CHECK(importSettings(Json{{"peft_type", "POLY"}}, SettingsKind::Peft, someMethods())
              .problem()
              .code == "import_kind");
    CHECK(importSettings(Json{{"stage", "dpo"}}, SettingsKind::LlamaFactory, someMethods())
              .problem()
              .code == "import_kind");
}

TEST_CASE("anchors and merge keys are resolved") {
    const ImportedSettings settings = imported(
        "x: &shared\n  path: rows.jsonl\nbase_model: ./m\nadapter: lora\ndatasets:\n  - <<: "
        "*shared\n    type: alpaca\n",
        SettingsKind::Axolotl);
    CHECK(settings.run["data"]["train"]["path"] == "rows.jsonl");
}
