// SPDX-License-Identifier: Apache-2.0
// Mistral (Jiang et al. 2023; Hugging Face `MistralForCausalLM`): LLaMA with a sliding window.
#include "model/arch/families.h"

namespace luthier {

Result<ModelDescription> readMistral(const Json& config, const std::string& file) {
    ConfigReader read(config, file);
    ModelDescription d = llamaLike(read, config, file);
    readWindows(read, config, d, read.integer("sliding_window", 0),
                [](std::int64_t) { return true; });
    return finished(read, std::move(d));
}

}  // namespace luthier
