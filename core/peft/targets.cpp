// SPDX-License-Identifier: Apache-2.0
#include "peft/targets.h"

#include "model/arch/families.h"
#include "model/model.h"
#include "peft/saved_modules.h"
#include "text/pattern.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <optional>
#include <set>
#include <string_view>

namespace luthier {

namespace {

using Names = std::vector<std::string>;

Names namesOf(const Json& value) {
    if (value.is_string()) return {value.get<std::string>()};
    Names names;
    if (value.is_array())
        for (const Json& item : value) names.push_back(item.get<std::string>());
    return names;
}

bool matchesAny(const std::string& path, const Names& entries) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const std::string& entry) { return endsWithModule(path, entry); });
}

/// All paths that target_modules may name: projections, then embeddings.
Names pathsOf(const ModelSites& sites) {
    Names paths;
    for (const LinearSite& site : sites.linears) paths.push_back(site.path);
    for (const EmbeddingSite& site : sites.embeddings) paths.push_back(site.path);
    return paths;
}

/// Tests every path against a list, or a regular expression for the whole path.
Result<std::vector<bool>> selected(const ModelSites& sites, const Json& rule,
                                   const std::string& field) {
    const Names paths = pathsOf(sites);
    std::vector<bool> chosen(paths.size(), false);
    if (rule.is_string() && rule != "all-linear") {
        Result<Pattern> pattern = Pattern::create(rule.get<std::string>(), field);
        if (!pattern) return pattern.problems();
        for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = pattern->matchesWhole(paths[i]);
        return chosen;
    }
    const Names entries = namesOf(rule);
    for (std::size_t i = 0; i < chosen.size(); ++i)
        chosen[i] = rule == "all-linear"
                        ? i < sites.linears.size() && sites.linears[i].role != LinearRole::Head
                        : matchesAny(paths[i], entries);
    return chosen;
}

/// The block that a module lies in, as PEFT reads it for layers_to_transform: the first number
/// among its names that two names stand before, or the first behind a name that one of `containers`
/// (layers_pattern) matches. None: it lies in no block.
std::optional<std::int64_t> blockOf(const std::string& path,
                                    const std::vector<Pattern>& containers) {
    struct Number {
        std::size_t begin, end, before;  // `before`: how many names stand before it
    };
    std::vector<Number> numbers;
    std::size_t names = 0;
    for (std::size_t begin = 0, dot = path.find('.'); dot != std::string::npos;
         begin = dot + 1, dot = path.find('.', begin), ++names)
        if (dot > begin && dot - begin < 10 &&
            std::all_of(
                path.begin() + static_cast<std::ptrdiff_t>(begin),
                path.begin() + static_cast<std::ptrdiff_t>(dot),
                [](unsigned char c) { return std::isdigit(c) != 0; }))
            numbers.push_back({begin, dot, names});
    const auto value = [&](const Number& number) {
        return std::stoll(path.substr(number.begin, number.end - number.begin));
    };
    if (containers.empty()) {
        for (const Number& number : numbers)
            if (number.before >= 2) return value(number);
        return {};
    }
    for (const Pattern& container : containers)
        for (const Number& number : numbers)
            if (number.begin > 0 &&
                container.matchesWhole(std::string_view(path).substr(0, number.begin - 1)))
                return value(number);
    return {};
}

/// layers_to_transform and layers_pattern: which modules they leave in.
class WantedBlocks {
public:
    static Result<WantedBlocks> of(const Json& settings) {
        WantedBlocks wanted;
        const Json layers = settings.value("layers_to_transform", Json());
        if (layers.is_number_integer()) wanted.m_blocks.insert(layers.get<std::int64_t>());
        if (layers.is_array())
            for (const Json& layer : layers) wanted.m_blocks.insert(layer.get<std::int64_t>());
        for (const std::string& name : namesOf(settings.value("layers_pattern", Json()))) {
            if (name.empty()) continue;
            Result<Pattern> pattern =
                Pattern::create("(?:.*\\.)?(?:" + name + ")", "method.layers_pattern");
            if (!pattern) return pattern.problems();
            wanted.m_containers.push_back(*pattern);
        }
        // A module that target_modules names by its whole path is taken wherever it lies.
        if (const Json targets = settings.value("target_modules", Json()); targets.is_array())
            for (const std::string& name : namesOf(targets)) wanted.m_named.insert(name);
        return wanted;
    }

    bool contains(const std::string& path) const {
        if (m_blocks.empty() || m_named.contains(path)) return true;
        const std::optional<std::int64_t> block = blockOf(path, m_containers);
        return block && m_blocks.contains(*block);
    }

private:
    std::set<std::int64_t> m_blocks;  // empty: all
    std::vector<Pattern> m_containers;
    std::set<std::string> m_named;
};

std::string existingNames(const ModelSites& sites) {
    std::set<std::string> seen;
    std::string text;
    for (const std::string& path : pathsOf(sites))
        if (seen.insert(lastName(path)).second) text += (text.empty() ? "" : ", ") + lastName(path);
    return text;
}

}  // namespace

bool endsWithModule(const std::string& path, const std::string& entry) {
    if (path == entry) return true;
    const std::string tail = "." + entry;
    return path.size() > tail.size() &&
           path.compare(path.size() - tail.size(), tail.size(), tail) == 0;
}

std::string lastName(const std::string& path) {
    const std::size_t dot = path.rfind('.');
    return dot == std::string::npos ? path : path.substr(dot + 1);
}

std::vector<std::string> defaultTargets(DefaultTargets which, const std::string& family) {
    const Family* found = findFamily(family);
    if (found == nullptr) return {};
    const TargetDefaults& targets = found->targets;
    switch (which) {
        case DefaultTargets::Adaptive:
            return targets.adaptive.value_or(targets.lowRank);
        case DefaultTargets::SharedMatrices:
            return targets.sharedMatrices.value_or(targets.lowRank);
        case DefaultTargets::Scaled:
            return targets.scaled;
        case DefaultTargets::ScaledFeedForward:
            return targets.scaledFeedForward;
        case DefaultTargets::Norms:
            return targets.norms;
        default:
            return targets.lowRank;
    }
}

bool liesInSavedModule(const std::string& path, const Json& modulesToSave) {
    if (!modulesToSave.is_array()) return false;
    return std::any_of(modulesToSave.begin(), modulesToSave.end(), [&](const Json& entry) {
        return ("." + path + ".").find("." + entry.get<std::string>() + ".") != std::string::npos;
    });
}

Result<MatchedSites> matchSites(const ModelSites& sites, const Json& settings,
                                DefaultTargets defaults) {
    const std::string field = "method.target_modules";
    Json rule = settings.value("target_modules", Json());
    if (rule.is_null()) {
        rule = defaultTargets(defaults, sites.family);
        if (rule.empty())
            return Problem{
                "no_default_targets",
                "There are no default target modules for the family " + sites.family + ".",
                "Name some of: " + existingNames(sites) + ".", field, ExitCode::BadUsage};
    }
    Result<std::vector<bool>> chosen = selected(sites, rule, field);
    if (!chosen) return chosen.problems();
    if (const Json excluded = settings.value("exclude_modules", Json());
        !excluded.is_null() && !excluded.empty()) {
        Result<std::vector<bool>> left = selected(sites, excluded, "method.exclude_modules");
        if (!left) return left.problems();
        for (std::size_t i = 0; i < chosen->size(); ++i)
            if ((*left)[i]) (*chosen)[i] = false;
    }
    Result<WantedBlocks> blocks = WantedBlocks::of(settings);
    if (!blocks) return blocks.problems();
    // A classifier's head is trained whole beside the method; PEFT puts no adapter into
    // modules_to_save either.
    if (sites.classes > 0)
        for (const std::size_t index : savedHeadOf(sites).linears) (*chosen)[index] = false;
    const Json saved = settings.value("modules_to_save", Json());
    MatchedSites matched;
    for (std::size_t i = 0; i < sites.linears.size(); ++i) {
        const LinearSite& site = sites.linears[i];
        if (!(*chosen)[i] || !blocks->contains(site.path) || liesInSavedModule(site.path, saved))
            continue;
        matched.linears.push_back(i);
    }
    for (std::size_t i = 0; i < sites.embeddings.size(); ++i)
        if ((*chosen)[sites.linears.size() + i] && blocks->contains(sites.embeddings[i].path) &&
            !liesInSavedModule(sites.embeddings[i].path, saved))
            matched.embeddings.push_back(i);
    const Json layers = settings.value("layers_to_transform", Json());
    if (matched.linears.empty() && matched.embeddings.empty())
        return Problem{"no_target_matches",
                       "target_modules " + dumpLine(rule) +
                           (layers.is_null() || layers.empty()
                                ? ""
                                : " in layers_to_transform " + dumpLine(layers)) +
                           " matches no layer of this model.",
                       "It has: " + existingNames(sites) + ".", field, ExitCode::BadUsage};
    return matched;
}

namespace {

/// Entries of `list` (names, or an object's keys) and how many of `paths` each matches.
void countEntries(
    MatchCounts& found, const char* key, const Names& entries, const Names& paths,
    const std::string& existing,
    const std::function<Result<bool>(const std::string& path, const std::string& entry)>& matches) {
    Json& counts = found.counts[key] = Json::object();
    Names known;
    for (const std::string& path : paths)
        if (std::find(known.begin(), known.end(), lastName(path)) == known.end())
            known.push_back(lastName(path));
    for (const std::string& entry : entries) {
        std::int64_t count = 0;
        for (const std::string& path : paths)
            if (const Result<bool> isMatch = matches(path, entry); isMatch && *isMatch) ++count;
        counts[entry] = count;
        if (count > 0) continue;
        const std::string near = nearestName(entry, known);
        found.unmatched.push_back(
            {"setting_matches_nothing",
             std::string("method.") + key + " names \"" + entry +
                 "\", which matches nothing in this model.",
             near.empty() ? "It has: " + existing + "." : "Did you mean \"" + near + "\"?",
             std::string("method.") + key});
    }
}

Names keysOf(const Json& object) {
    Names keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return keys;
}

}  // namespace

MatchCounts countMatches(const ModelSites& sites, const Json& settings,
                         const std::vector<std::string>& trained) {
    MatchCounts found;
    Names paths = pathsOf(sites);
    for (const NormSite& norm : sites.norms)
        if (std::any_of(trained.begin(), trained.end(), [&](const std::string& name) {
                return name.find(norm.path + ".") != std::string::npos;
            }))
            paths.push_back(norm.path);
    const std::string existing = existingNames(sites);
    const auto endsWith = [](const std::string& path, const std::string& entry) {
        return Result<bool>(endsWithModule(path, entry));
    };
    const auto isPattern = [](const std::string& path, const std::string& entry) -> Result<bool> {
        Result<double> value = patternValue(Json{{entry, 1.0}}, path, 0.0, "");
        if (!value) return value.problems();
        return *value > 0;
    };
    for (const char* key : {"target_modules", "exclude_modules", "feedforward_modules"})
        if (const Json value = settings.value(key, Json()); value.is_array())
            countEntries(found, key, namesOf(value), paths, existing, endsWith);
    if (const Json value = settings.value("exclude_modules", Json()); value.is_string())
        if (const Result<std::vector<bool>> chosen =
                selected(sites, value, "method.exclude_modules");
            chosen && std::find(chosen->begin(), chosen->end(), true) == chosen->end())
            found.unmatched.push_back(
                {"setting_matches_nothing",
                 "method.exclude_modules " + dumpLine(value) + " matches nothing in this model.",
                 "It has: " + existing + ".", "method.exclude_modules"});
    for (const char* key : {"rank_pattern", "alpha_pattern"})
        if (const Json value = settings.value(key, Json()); value.is_object())
            countEntries(found, key, keysOf(value), paths, existing, isPattern);
    Names layers;
    const Json wanted = settings.value("layers_to_transform", Json());
    if (wanted.is_number_integer()) layers.push_back(std::to_string(wanted.get<std::int64_t>()));
    if (wanted.is_array())
        for (const Json& layer : wanted)
            layers.push_back(std::to_string(layer.get<std::int64_t>()));
    for (const std::string& layer : layers) {
        std::int64_t count = 0, last = 0;
        for (const LinearSite& site : sites.linears) {
            count += std::to_string(site.layer) == layer ? 1 : 0;
            last = std::max(last, static_cast<std::int64_t>(site.layer));
        }
        found.counts["layers_to_transform"][layer] = count;
        if (count == 0)
            found.unmatched.push_back(
                {"setting_matches_nothing",
                 "method.layers_to_transform names " + layer + ", which is no layer of this model.",
                 "Its layers are 0 to " + std::to_string(last) + ".",
                 "method.layers_to_transform"});
    }
    return found;
}

const at::Tensor& weightAt(const Model& model, const LinearSite& site) {
    if (const at::Tensor* own = model.weights().find(site.path + ".weight")) return *own;
    return model.weights().at(model.sites().embeddingPath + ".weight");
}

void untieFor(Model& model, const LinearSite& site) {
    if (site.role == LinearRole::Head) model.untieHead();
}

Result<std::vector<std::size_t>> matchLinears(const ModelSites& sites, const Json& settings,
                                              DefaultTargets defaults) {
    Result<MatchedSites> matched = matchSites(sites, settings, defaults);
    if (!matched) return matched.problems();
    if (!matched->embeddings.empty())
        return Problem{"unsupported_layer",
                       "target_modules names " +
                           sites.embeddings[matched->embeddings.front()].path +
                           ", an embedding, which this method does not adapt.",
                       "Use lora for it, or train it whole: name it in modules_to_save.",
                       "method.target_modules", ExitCode::BadUsage};
    return matched->linears;
}

std::vector<std::string> targetNames(const ModelSites& sites, const MatchedSites& matched) {
    const Names paths = pathsOf(sites);
    std::set<std::size_t> wanted(matched.linears.begin(), matched.linears.end());
    for (const std::size_t index : matched.embeddings) wanted.insert(sites.linears.size() + index);
    for (const int segments : {1, 2}) {
        std::set<std::string> names;
        for (const std::size_t index : wanted) {
            const std::string& path = paths[index];
            std::size_t begin = path.size();
            for (int i = 0; i < segments && begin != std::string::npos; ++i)
                begin = begin == 0 ? std::string::npos : path.rfind('.', begin - 1);
            names.insert(begin == std::string::npos ? path : path.substr(begin + 1));
        }
        const Names list(names.begin(), names.end());
        bool isExact = true;
        for (std::size_t i = 0; i < paths.size(); ++i)
            if (matchesAny(paths[i], list) != wanted.contains(i)) isExact = false;
        if (isExact) return list;
    }
    Names whole;
    for (const std::size_t index : wanted) whole.push_back(paths[index]);
    return whole;
}

std::vector<std::string> targetNames(const ModelSites& sites,
                                     const std::vector<std::size_t>& linears) {
    return targetNames(sites, MatchedSites{linears, {}});
}

Setting layersPatternSetting() {
    Setting pattern{"layers_pattern", SettingType::Names, nullptr, "Name of the blocks",
                    "Where the number of a block stands in a module's path, for the layers above: "
                    "behind this name. Empty: behind the first two names."};
    pattern.isUsual = false;
    pattern.isNullable = true;
    return pattern;
}

std::vector<Setting> patternSettings() {
    Setting rank{"rank_pattern", SettingType::NumberMap, Json::object(), "Rank by module",
                 "Ranks of single modules, by regular expression."};
    Setting alpha{"alpha_pattern", SettingType::NumberMap, Json::object(), "Alpha by module",
                  "Alphas of single modules, by regular expression."};
    rank.isUsual = alpha.isUsual = false;
    return {rank, alpha};
}

Result<double> patternValue(const Json& pattern, const std::string& path, double fallback,
                            const std::string& field) {
    if (!pattern.is_object()) return fallback;
    for (const auto& [key, value] : pattern.items()) {
        Result<Pattern> expression = Pattern::create("(?:.*\\.)?(?:" + key + ")", field);
        if (!expression) return expression.problems();
        if (expression->matchesWhole(path)) return value.get<double>();
    }
    return fallback;
}

}  // namespace luthier
