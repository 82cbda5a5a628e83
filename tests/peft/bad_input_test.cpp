// SPDX-License-Identifier: Apache-2.0
// Faults that tests/fuzz found in configurations of strangers: each is a problem in words, no
// exception and no tensor of impossible size.
#include "model/arch/families.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

using namespace luthier;

namespace {

Json with(const char* family, const Json& changes) {
    Json config = family == std::string("t5")
                      ? Json{{"architectures", {"T5ForConditionalGeneration"}},
                             {"vocab_size", 96},
                             {"d_model", 16},
                             {"d_kv", 8},
                             {"d_ff", 24},
                             {"num_layers", 2},
                             {"num_heads", 2},
                             {"relative_attention_num_buckets", 8},
                             {"relative_attention_max_distance", 16}}
                      : Json{{"architectures", {"LlamaForCausalLM"}},
                             {"vocab_size", 50},
                             {"hidden_size", 32},
                             {"intermediate_size", 40},
                             {"num_hidden_layers", 2},
                             {"num_attention_heads", 4},
                             {"num_key_value_heads", 2},
                             {"max_position_embeddings", 64},
                             {"num_local_experts", 4},
                             {"num_experts_per_tok", 2}};
    config["model_type"] = family;
    config.update(changes);
    return config;
}

}  // namespace

TEST_CASE("aConfigurationOfImpossibleSizesIsRefused") {
    const std::int64_t least = std::numeric_limits<std::int64_t>::min();
    for (const auto& [family, changes] : std::vector<std::pair<const char*, Json>>{
             {"llama", {{"hidden_size", least}}},
             {"llama", {{"vocab_size", std::uint64_t{1} << 63}}},
             {"llama", {{"intermediate_size", -1}}},
             {"llama", {{"rms_norm_eps", 1e300}}},
             {"mixtral", {{"num_local_experts", -1}}},
             {"mixtral", {{"num_local_experts", std::uint64_t{1} << 63}}},
             {"t5", {{"relative_attention_num_buckets", -1}}},
             {"t5", {{"relative_attention_num_buckets", std::uint64_t{1} << 63}}},
             {"llama", {{"max_position_embeddings", 1e300}}},
             {"llama", {{"rope_scaling", {{"rope_type", 2}}}}},
             {"llama", {{"rope_scaling", {{"rope_type", nullptr}, {"factor", 2.0}}}}},
             {"llama",
              {{"rope_scaling",
                {{"rope_type", "yarn"},
                 {"factor", 2.0},
                 {"original_max_position_embeddings", -5}}}}}}) {
        CAPTURE(family);
        CAPTURE(changes.dump());
        const Result<ModelDescription> description =
            describeModel(with(family, changes), "config.json");
        REQUIRE_FALSE(description);
        CHECK(!description.problem().message.empty());
    }
    CHECK(describeModel(
        with("llama",
             {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}, {"truncate", "no"}}}}),
        "config.json"));
    for (const char* family : {"llama", "mixtral", "t5"})
        CHECK(describeModel(with(family, Json::object()), "config.json"));
}
