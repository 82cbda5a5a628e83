// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parameters of a model by their Hugging Face names. Frozen weights whose stored type is the
// compute type lie in the mapped file and are never copied; others are converted once, when the
// model opens. Training a weight replaces its entry by a float32 copy, so the file is never
// written. Entries keep their address: layers hold pointers to them.

#include "contract/problem.h"
#include "io/weight_folder.h"
#include "model/description.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// Which tensors of a head are drawn anew from `seed`, as transformers starts a head, instead of
/// read.
struct HeadDraw {
    enum class When {
        Missing,
        Always
    };  ///< those of a classifier that the folder lacks; all, whatever the folder has
    std::uint64_t seed = 0;
    When when = When::Missing;
};

class Weights {
public:
    Weights() = default;
    Weights(const Weights&) = delete;
    Weights& operator=(const Weights&) = delete;
    Weights(Weights&&) = default;
    Weights& operator=(Weights&&) = default;

    /// Opens model.safetensors or its shards. Every parameter of the description must be there with
    /// its shape; old prefixes are understood, known buffers ignored. Problem codes: those of
    /// io/weight_folder.h, tensor_missing, tensor_shape, tensor_dtype, tensor_unexpected. Nothing
    /// large is allocated before all names and shapes are checked.
    static Result<Weights> open(const std::filesystem::path& folder,
                                const ModelDescription& description, at::ScalarType dtype,
                                const at::Device& device, std::optional<HeadDraw> draw = {});

    /// What open() would complain of, from names and shapes alone. `where` stands before each
    /// message.
    static Problems check(const WeightFolder& folder, const ModelDescription& description,
                          const std::string& where, std::optional<HeadDraw::When> draw = {});

    /// Whether a tied head has weights of its own in the folder that differ from the embedding's:
    /// then it is not tied.
    static bool hasOwnHead(const WeightFolder& folder, const ModelDescription& description);

    /// The types in which the folder stores the described parameters; those that it lacks are left
    /// out.
    static std::map<std::string, at::ScalarType> typesIn(const WeightFolder& folder,
                                                         const ModelDescription& description);

    /// New weights as transformers' `_init_weights` draws them: normal(0, initializer_range), norms
    /// 1, biases 0; from `seed`.
    static Weights random(const ModelDescription& description, std::uint64_t seed,
                          at::ScalarType dtype, const at::Device& device);

    /// Shapes without memory, for counting.
    static Weights shapesOnly(const ModelDescription& description, at::ScalarType dtype);

    const at::Tensor& at(const std::string& name) const;
    const at::Tensor* find(const std::string& name) const;
    std::vector<std::string> names() const;

    /// Replaces an entry by a float32 leaf that takes gradients. Idempotent.
    void makeTrainable(const std::string& name);
    /// Adds an entry; `name` must be new.
    void put(const std::string& name, const at::Tensor& value) { m_tensors.emplace(name, value); }
    /// The values as they are, which assign() leaves alone: handles, no copies. restore() puts them
    /// back bit for bit.
    std::map<std::string, at::Tensor> snapshot() const { return m_tensors; }
    void restore(const std::map<std::string, at::Tensor>& snapshot);

    /// Replaces the values of an entry (merging); keeps its dtype.
    void assign(const std::string& name, const at::Tensor& value);

    std::int64_t parameterCount() const;
    std::int64_t bytes() const;

private:
    std::map<std::string, at::Tensor> m_tensors;
};

}  // namespace luthier
