// SPDX-License-Identifier: Apache-2.0
#include "peft/methods/lora_embedding.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/mm.h>

namespace luthier {

at::Tensor LoraEmbedding::forward(const at::Tensor& ids, const at::Tensor& below, bool) {
    const at::Tensor rows = at::embedding(m_A.t(), ids, m_site.padding);  // [N, R]
    return below + (at::mm(rows, m_B.t()) * (m_scale * m_weight)).to(below.scalar_type());
}

at::Tensor LoraEmbedding::deltaWeight() const {
    const at::NoGradGuard guard;
    return at::mm(m_B, m_A).t() * (m_scale * m_weight);
}

}  // namespace luthier
