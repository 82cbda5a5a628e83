// SPDX-License-Identifier: Apache-2.0
#pragma once
// T-Few's losses (Liu et al. 2022, arXiv 2205.05638) over the tokens' cross entropies. For an input
// x, choices y^n of T_n tokens (the end token counts) and the right one c, with p_t^n = p(y_t^n |
// x, y_<t^n) and ll = log p:
//
//   L_LM = - sum_t ll_t^c / T_c                                           over all rows' T_c
//   L_UL = - sum_{n != c} sum_t log(1 - p_t^n) / sum_{n != c} T_n         over all rows' T_n
//   beta_n = - sum_t ll_t^n / T_n
//   L_LN = log sum_n exp(-beta_n) + beta_c                                mean over rows
//
// Each is a sum over rows here, divided by the counts of the whole optimiser step (LossCounts), so
// that accumulation changes none. The authors' code differs in L_UL: log(1 - p + 0.01), and every
// place that is masked (the right choice, padding to the longest choice) adds -log(1.01) above the
// line and nothing below; padding is that of a micro-batch, so this constant, which has no
// gradient, knows how a step is cut.

#include "task/task.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace luthier {

/// Whose the tokens are: choices one after another, those of a row together.
struct ChoiceLayout {
    std::vector<std::int64_t> lengths;  ///< tokens of each choice
    std::vector<std::int64_t> counts;   ///< choices of each row
    std::vector<std::int64_t> answers;  ///< of each row, from 0 in it
};

struct ChoiceSums {
    at::Tensor lm, unlikelihood, lengthNormalized;  ///< [] f32, sums over rows
    at::Tensor scores;                              ///< beta [choices] f32
};

/// @param losses -ll of every token [sum of lengths] f32
ChoiceSums choiceSums(const at::Tensor& losses, const ChoiceLayout& layout, UnlikelihoodForm form);

/// Rank classification: each row's choice of the lowest score, the first of equal ones.
std::vector<std::int64_t> rankedFirst(const at::Tensor& scores, const ChoiceLayout& layout);

/// Each row's scores.
std::vector<at::Tensor> choiceScores(const Model& model, AdapterStack& stack,
                                     std::span<const Example> rows);

}  // namespace luthier
