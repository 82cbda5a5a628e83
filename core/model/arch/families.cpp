// SPDX-License-Identifier: Apache-2.0
#include "model/arch/families.h"

namespace luthier {

const std::vector<Family>& families() {
    static const std::vector<Family> list = listOfFamilies();
    return list;
}

const Family* findFamily(const std::string& modelType) {
    for (const Family& family : families())
        if (family.modelType == modelType) return &family;
    return nullptr;
}

std::string familyTitle(const std::string& modelType) {
    const Family* family = findFamily(modelType);
    return family != nullptr ? family->title : modelType;
}

namespace {

std::int64_t idOf(const Json& config, const char* key) {
    const auto found = config.find(key);
    if (found != config.end() && found->is_number_integer()) return found->get<std::int64_t>();
    // Some models end a text in several ways; the first is the one that pads and pools.
    if (found != config.end() && found->is_array() && !found->empty() &&
        found->front().is_number_integer())
        return found->front().get<std::int64_t>();
    return -1;
}

/// Classes that config.json names: id2label, num_labels, or Hugging Face's default of two.
std::int64_t readClasses(const Json& config, ClassifierSpec& classifier) {
    if (const auto names = config.find("id2label");
        names != config.end() && names->is_object() && !names->empty()) {
        for (std::size_t id = 0; id < names->size(); ++id)
            if (const auto name = names->find(std::to_string(id));
                name != names->end() && name->is_string())
                classifier.classNames.push_back(*name);
        return static_cast<std::int64_t>(names->size());
    }
    const std::int64_t count = idOf(config, "num_labels");
    return count > 0 ? count : 2;
}

bool saysClassifier(const Json& config) {
    const auto classes = config.find("architectures");
    return classes != config.end() && classes->is_array() && !classes->empty() &&
           classes->front().is_string() &&
           classes->front().get<std::string>().ends_with("ForSequenceClassification");
}

/// The description as a model for the task, or why there is none.
Result<ModelDescription> forTask(ModelDescription d, const Family& family, const Json& config,
                                 const std::string& file, const ModelTask& task) {
    const std::string own = d.encoder ? "seq2seq_lm" : "causal_lm";
    std::string name = task.name;
    if (name == "auto")
        name = family.architecture == nullptr || saysClassifier(config) ? "sequence_classification"
                                                                        : own;
    const auto unsupported = [&](const std::string& hint) {
        return Problem{"task_unsupported",
                       file + " describes a " + d.family +
                           " model, which Luthier cannot open for " + name + ".",
                       hint, "model.task", ExitCode::BadUsage};
    };
    if (name == "sequence_classification") {
        if (family.classifier == nullptr)
            return unsupported(
                "Hugging Face has no sequence classifier of this family; choose another model.");
        d.architecture = family.classifier;
        const std::int64_t stored = readClasses(config, d.classifier);
        if (task.classes > 0 && task.classes != stored) d.classifier.classNames.clear();
        if (const auto problem = config.find("problem_type");
            problem != config.end() && problem->is_string())
            d.classifier.problem = *problem;
        return asClassifier(std::move(d), task.classes > 0 ? task.classes : stored);
    }
    if (family.architecture == nullptr)
        return unsupported("It is an encoder: set model.task to sequence_classification.");
    if (name != own) return unsupported("Set model.task to " + own + ".");
    d.architecture = family.architecture;
    return d;
}

}  // namespace

Result<ModelDescription> describeModel(const Json& config, const std::string& file,
                                       const ModelTask& task) {
    const std::string type =
        config.is_object() && config.contains("model_type") && config["model_type"].is_string()
            ? config["model_type"].get<std::string>()
            : "";
    if (type.empty())
        return Problem{"config_model_type", file + " has no model_type.",
                       "Use the config.json that came with the model.", file};
    std::vector<std::string> known;
    for (const Family& family : families()) {
        known.push_back(family.modelType);
        if (type != family.modelType) continue;
        Result<ModelDescription> description = family.read(config, file);
        if (!description) return description;
        description->family = family.modelType;
        description->endId = idOf(config, "eos_token_id");
        description->paddingId = idOf(config, "pad_token_id");
        description = forTask(std::move(*description), family, config, file, task);
        if (!description) return description;
        Problems problems = checkDescription(*description, file);
        if (!problems.empty()) return problems;
        return description;
    }
    std::string all;
    for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
    const std::string near = nearestName(type, known);
    const bool isRemote = config.contains("auto_map");
    return Problem{"unknown_family",
                   file + " describes a model of the family \"" + type +
                       "\", which Luthier does not know yet" +
                       (isRemote ? " and which brings its own Python code; Luthier never runs code "
                                   "from a model folder."
                                 : "."),
                   near.empty()
                       ? "Known families: " + all + "."
                       : "Its name is nearest to \"" + near + "\". Known families: " + all + ".",
                   file};
}

}  // namespace luthier
