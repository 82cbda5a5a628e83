// SPDX-License-Identifier: Apache-2.0
#pragma once
// LoRA at a table of token embeddings: y = E[x] + s (A^T)[x] B^T, A [R, V], B [width, R]. No
// dropout, as in PEFT.

#include "peft/adapter.h"

namespace luthier {

class LoraEmbedding final : public EmbeddingHook {
public:
    LoraEmbedding(EmbeddingSite site, at::Tensor A, at::Tensor B, double scale)
        : m_site(std::move(site)), m_A(std::move(A)), m_B(std::move(B)), m_scale(scale) {}

    at::Tensor forward(const at::Tensor& ids, const at::Tensor& below, bool isPlain) override;
    /// What merging adds to the table, [V, width] f32.
    at::Tensor deltaWeight() const;

    const EmbeddingSite& site() const { return m_site; }
    const at::Tensor& A() const { return m_A; }
    const at::Tensor& B() const { return m_B; }
    void setWeight(double weight) { m_weight = weight; }

private:
    EmbeddingSite m_site;
    at::Tensor m_A;  // [R, V] f32
    at::Tensor m_B;  // [width, R] f32
    double m_scale;
    double m_weight = 1;
};

}  // namespace luthier
