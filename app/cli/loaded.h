// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model with its tokenizer and adapters, as score, eval, generate and serve use it.

#include "model/model.h"
#include "peft/adapter.h"
#include "text/tokenizer.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace luthier::cli {

struct Loaded {
    std::filesystem::path folder;
    std::unique_ptr<Model> model;
    std::shared_ptr<Tokenizer> tokenizer;  ///< null when the folder has none
    Problems tokenizerProblems;            ///< why it is null

    /// The tokenizer, or a Failure that says why there is none.
    const Tokenizer& needTokenizer() const;
    /// The weighted sum of adapters given as "DIR" or "DIR:WEIGHT". Throws Failure.
    AdapterStack stack(const std::vector<std::string>& adapters) const;
    /// Each of the adapters by itself, under the name of "NAME=DIR[:WEIGHT]", else under its number
    /// from 0.
    std::map<std::string, std::unique_ptr<AdapterStack>> namedStacks(
        const std::vector<std::string>& adapters) const;
    std::vector<std::int64_t> endIds() const;
};

/// A small model's token is done sooner by one core than several cores can agree on it, least of
/// all while a run trains beside it: as long as this lives, a model of up to 256 MiB (0: size not
/// known) is computed by one thread.
class SmallModelThreads final {
public:
    explicit SmallModelThreads(std::int64_t weightBytes);
    ~SmallModelThreads();
    SmallModelThreads(const SmallModelThreads&) = delete;
    SmallModelThreads& operator=(const SmallModelThreads&) = delete;

private:
    int m_before;
};

/// Bytes of the safetensors files in a folder.
std::int64_t weightBytesIn(const std::filesystem::path& folder);

/// What `auto` is where a model is measured: bfloat16 where most of its numbers are stored so and
/// the device is fast at it, else float32.
std::string dtypeToMeasure(const std::string& folder);

/// `adapters`: what will sit on the model; a sequence classifier's brings the head that the folder
/// may lack. Throws Failure.
Loaded loadModel(const std::string& folder, const std::string& dtype, const std::string& device,
                 const std::vector<std::string>& adapters = {});

}  // namespace luthier::cli
