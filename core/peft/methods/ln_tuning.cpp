// SPDX-License-Identifier: Apache-2.0
// LN tuning (Zhao et al. 2023, "Tuning LayerNorm in Attention", arXiv 2312.11420): a copy of each
// chosen norm is trained and used in its place. File: PEFT's `ln_tuning_layers.weight` and `.bias`.
#include "peft/method.h"
#include "peft/methods/own_copies.h"
#include "peft/targets.h"
#include "text/pattern.h"

#include <algorithm>
#include <optional>
#include <set>

namespace luthier {

namespace {

using Names = std::vector<std::string>;

/// PEFT's defaults; every norm of the model where PEFT has none.
Json defaultNorms(const ModelSites& sites) {
    const Names known = defaultTargets(DefaultTargets::Norms, sites.family);
    if (!known.empty()) return known;
    Names all;
    for (const NormSite& norm : sites.norms) all.push_back(norm.path);
    return all;
}

bool isListed(const std::string& path, const Json& rule) {
    return std::any_of(rule.begin(), rule.end(), [&](const Json& entry) {
        return endsWithModule(path, entry.get<std::string>());
    });
}

/// A list of names, or a pattern for the whole path.
struct Rule {
    Json list;
    std::optional<Pattern> pattern;

    static Result<Rule> of(const Json& rule, const char* field) {
        if (!rule.is_string()) return Rule{rule, {}};
        Result<Pattern> pattern = Pattern::create(rule.get<std::string>(), field);
        if (!pattern) return pattern.problems();
        return Rule{{}, *pattern};
    }
    bool matches(const std::string& path) const {
        return pattern ? pattern->matchesWhole(path) : isListed(path, list);
    }
};

std::string existingNames(const ModelSites& sites) {
    std::set<std::string> seen;
    std::string text;
    for (const NormSite& norm : sites.norms)
        if (seen.insert(lastName(norm.path)).second)
            text += (text.empty() ? "" : ", ") + lastName(norm.path);
    return text.empty() ? "no norm with weights" : text;
}

/// The shortest list that PEFT resolves to these norms and nothing else. A number could name a
/// block.
Names shortNames(const ModelSites& sites, const Names& chosen) {
    std::set<std::string> names;
    for (const std::string& path : chosen) names.insert(lastName(path));
    const Json list = Names(names.begin(), names.end());
    const bool hasNumber = std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return std::isdigit(static_cast<unsigned char>(name[0])) != 0;
    });
    const bool isExact =
        !hasNumber &&
        std::all_of(sites.norms.begin(), sites.norms.end(), [&](const NormSite& norm) {
            return isListed(norm.path, list) ==
                   (std::find(chosen.begin(), chosen.end(), norm.path) != chosen.end());
        });
    return isExact ? list.get<Names>() : chosen;
}

Result<std::shared_ptr<Adapter>> createLnTuning(const MethodContext& context) {
    const ModelSites& sites = context.model.sites();
    const Json rule = context.settings.at("target_modules").is_null()
                          ? defaultNorms(sites)
                          : context.settings.at("target_modules");
    const Json excluded = context.settings.at("exclude_modules").is_null()
                              ? Json::array()
                              : context.settings.at("exclude_modules");
    Result<Rule> wanted = Rule::of(rule, "method.target_modules");
    if (!wanted) return wanted.problems();
    Result<Rule> left = Rule::of(excluded, "method.exclude_modules");
    if (!left) return left.problems();
    Names chosen;
    std::vector<std::unique_ptr<OwnCopy>> copies;
    for (const NormSite& norm : sites.norms) {
        if (!wanted->matches(norm.path) || left->matches(norm.path) ||
            liesInSavedModule(norm.path, context.settings.value("modules_to_save", Json())))
            continue;
        chosen.push_back(norm.path);
        for (const char* part : {"weight", "bias"}) {
            const std::string name = norm.path + "." + part;
            if (const at::Tensor* base = context.model.weights().find(name))
                copies.push_back(std::make_unique<OwnCopy>(
                    *base, name, "base_model.model." + norm.path + ".ln_tuning_layers." + part));
        }
    }
    if (copies.empty())
        return Problem{"no_target_matches",
                       "target_modules " + dumpLine(rule) + " matches no norm of this model.",
                       "It has: " + existingNames(sites) + ".", "method.target_modules",
                       ExitCode::BadUsage};
    Json config{{"peft_type", "LN_TUNING"}, {"target_modules", shortNames(sites, chosen)}};
    return std::shared_ptr<Adapter>(
        std::make_shared<OwnCopiesAdapter>("ln_tuning", std::move(config), std::move(copies)));
}

}  // namespace

Method lnTuningMethod() {
    Method method{"ln_tuning",
                  "LN tuning",
                  "Adjust existing weights",
                  "Trains the scales and shifts of the norms.",
                  "LN_TUNING",
                  true,
                  {},
                  &createLnTuning};
    Setting targets{"target_modules", SettingType::Names, nullptr, "Target modules",
                    "Norms that are trained; empty: PEFT's default for the family, or all."};
    targets.isNullable = true;
    Setting excluded{"exclude_modules", SettingType::Names, nullptr, "Excluded modules",
                     "Norms left out though they match."};
    excluded.isUsual = false;
    excluded.isNullable = true;
    Setting initFrom{"init_from", SettingType::Path, nullptr, "Continue from",
                     "An adapter folder in PEFT format."};
    initFrom.isUsual = false;
    initFrom.isNullable = true;
    method.schema = {"ln_tuning", {targets, excluded, initFrom}};
    method.usualRate = {3e-4, "T-Few's baselines (Liu et al. 2022)"};
    method.glyph =
        "frozen 2 2 26 2 bar 2 5 26 1.4 bar 2 8 26 2 bar 2 11 26 1.4 frozen 2 14 26 2 bar 2 17 26 "
        "1.4";
    method.marks = {"norms"};
    return method;
}

}  // namespace luthier
