// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which linear layers a method acts on, by PEFT's rules: a list matches a module
// path that equals an entry or ends with "." + entry; a string is a regular expression for the
// whole path; "all-linear" is every projection but the head; null takes PEFT's defaults for the
// family.

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/schema.h"
#include "model/site.h"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <vector>

namespace luthier {

/// Which of PEFT's default modules of a family (TargetDefaults in model/arch/families.h).
enum class DefaultTargets { LowRank, Adaptive, SharedMatrices, Scaled, ScaledFeedForward, Norms };
/// Empty when PEFT has none.
std::vector<std::string> defaultTargets(DefaultTargets which, const std::string& family);

struct MatchedSites {
    std::vector<std::size_t> linears;     ///< indices into sites.linears
    std::vector<std::size_t> embeddings;  ///< indices into sites.embeddings
};

/// What target_modules of a method's settings names, without exclude_modules, what lies under
/// modules_to_save, and layers that layers_to_transform (with layers_pattern) leaves out; settings
/// may lack any of these. A head that shares its matrix with the embedding is adapted on top of it,
/// as PEFT does. Problem codes: no_default_targets, no_target_matches (naming the modules that
/// exist), bad_pattern.
Result<MatchedSites> matchSites(const ModelSites& sites, const Json& settings,
                                DefaultTargets defaults);
/// The same for methods that adapt projections alone; also unsupported_layer.
Result<std::vector<std::size_t>> matchLinears(const ModelSites& sites, const Json& settings,
                                              DefaultTargets defaults);

/// The shortest list that PEFT resolves to exactly these modules: last names, then the last two
/// names, then whole paths.
std::vector<std::string> targetNames(const ModelSites& sites, const MatchedSites& matched);
std::vector<std::string> targetNames(const ModelSites& sites,
                                     const std::vector<std::size_t>& linears);

/// What each entry of target_modules, exclude_modules, rank_pattern, alpha_pattern,
/// feedforward_modules and layers_to_transform matched.
struct MatchCounts {
    Json counts = Json::object();  ///< {"target_modules": {"q_proj": 32}, …}; keys that are lists
                                   ///< or objects of names alone
    Problems unmatched;  ///< a warning an entry that matched nothing, with the nearest names.
                         ///< Problem code: setting_matches_nothing
};
/// @param trained names of the parameters that the method came to train: norms count where it
/// trains norms
MatchCounts countMatches(const ModelSites& sites, const Json& settings,
                         const std::vector<std::string>& trained);

class Model;
/// The weight that a site's projection multiplies with: of a tied head, the embedding's.
const at::Tensor& weightAt(const Model& model, const LinearSite& site);
/// Before a site's weight is written: a tied head gets weights of its own.
void untieFor(Model& model, const LinearSite& site);

/// Whether PEFT trains the module `path` whole, or one around it, for these modules_to_save: then
/// no adapter goes there.
bool liesInSavedModule(const std::string& path, const Json& modulesToSave);

/// True when `path` equals `entry` or ends with "." + entry.
bool endsWithModule(const std::string& path, const std::string& entry);

/// "q_proj" of "model.layers.0.self_attn.q_proj".
std::string lastName(const std::string& path);

/// layers_pattern, beside layers_to_transform; rank_pattern and alpha_pattern.
Setting layersPatternSetting();
std::vector<Setting> patternSettings();

/// First value in `pattern` (rank_pattern, alpha_pattern) whose key, a regular expression, matches
/// the end of `path` from a segment boundary; `fallback` without a match.
Result<double> patternValue(const Json& pattern, const std::string& path, double fallback,
                            const std::string& field);

}  // namespace luthier
