// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several LoRA or IA3 adapters of one base made into one, as PEFT's add_weighted_adapter makes it.
// Only the files are read: no base model is needed. A combined LoRA has lora_alpha = r, so its own
// scale is 1.
//   cat   A rows w_i s_i A_i, B columns B_i: exactly the weighted sum; the rank is the sum of the
//   ranks svd   the weighted sum cut to its largest R singular values: B = U S, A = V^T linear,
//   ties (Yadav et al. 2023), dare_linear, dare_ties (Yu et al. 2023), magnitude_prune   on A and B
//   apart, with the factor
//         sqrt(|w_i s_i|) on each and the sign on A: cheap, and not the sum of the adapters, since
//         B_i A_j appear in the product
//   ties_svd, dare_linear_svd, dare_ties_svd, magnitude_prune_svd   the same on the products s_i
//   B_i A_i with the factors w_i, cut as by svd
// PEFT's result keeps use_rslora of its first adapter, and is then sqrt(R) times what is written
// above; all but cat do the same here. IA3 knows linear alone: l = sum_i w_i l_i. Weights that sum
// to 1 keep the strength; a weighted sum of adapters as `--adapter` mixes them is another thing, l
// = prod_i (1 + w_i (l_i - 1)).

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

enum class Combination {
    Cat,
    Svd,
    Linear,
    Ties,
    DareLinear,
    DareTies,
    MagnitudePrune,
    TiesSvd,
    DareLinearSvd,
    DareTiesSvd,
    MagnitudePruneSvd
};

struct CombineRequest {
    struct Part {
        std::filesystem::path folder;
        double weight = 1;
    };
    std::vector<Part> parts;
    std::optional<Combination> how;  ///< none: Cat, of IA3 Linear
    double density = 0.5;            ///< share of the values that pruning keeps
    std::int64_t rank = 0;           ///< of svd and …_svd; 0: the largest rank of the parts
    std::uint64_t seed = 42;         ///< of what DARE drops
    bool votesByCount = false;  ///< ties: every adapter's sign counts alike (PEFT's "frequency"),
                                ///< not by its size ("total")
};

/// "cat", "svd", …: the names of `combine --method`, in the order of the enumeration.
const std::vector<std::string>& combinationNames();

/// Writes the combined adapter folder `out`, whole or not at all. Problem codes: those of
/// readAdapterFolder, combine_method (not plain LoRA or IA3 adapters, or not of one kind),
/// combine_rank, combine_shape (adapters of different bases), combine_weight, combine_density,
/// combination_zero, target_exists.
/// @returns {"path","bytes","modules","method"}, of LoRA also "r"
Result<Json> combineAdapters(const CombineRequest& request, const std::filesystem::path& out);

}  // namespace luthier
