// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a model is trained to do: how rows become its input, what their loss is and what is
// measured. A task is one file and one line in task.cpp. Losses are sums over rows divided by what
// the whole optimiser step holds, so that every label weighs the same however the step is cut into
// micro-batches.

#include "contract/json.h"
#include "model/model.h"
#include "peft/adapter.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace luthier {

/// The label of a token without loss.
constexpr std::int32_t kNoLabel = -100;

/// One row as the data room makes it; unshifted labels, the model compares position i with label i
/// + 1.
struct Example {
    std::span<const std::int32_t> ids;         ///< of an encoder-decoder: what the encoder reads
    std::span<const std::int32_t> labels;      ///< as many as ids; of an encoder-decoder: what the
                                               ///< decoder is to write, of any length
    std::span<const std::int32_t> types = {};  ///< token types, as many as ids, or none: all 0
    std::int32_t classIndex = -1;              ///< classification into one of several classes
    std::span<const float> targets =
        {};  ///< one value a class: 0 or 1 (several classes at once), or any (regression)
    std::span<const std::vector<std::int32_t>> choices =
        {};  ///< answers to choose from; a decoder alone reads each behind ids without its last
             ///< answer
    std::int32_t answer =
        -1;  ///< the right one of choices, which ends ids (encoder-decoder: which labels are)
};

/// What the losses of an optimiser step are divided by: sums over all rows of all its
/// micro-batches.
struct LossCounts {
    std::int64_t labels = 0;
    std::int64_t rows = 0;
    std::int64_t wrongTokens = 0;  ///< of the choices that are not the answer

    LossCounts& operator+=(const LossCounts& other) {
        labels += other.labels;
        rows += other.rows;
        wrongTokens += other.wrongTokens;
        return *this;
    }
};

/// One run of the model over rows: what is installed, what the backward pass finds, and the
/// randomness of training.
struct Pass {
    const SiteHooks& hooks;
    Activations activations = Activations::Keep;
    RandomKey key = {};  ///< label smoothing and noise act only while it says training
};

using LossTerms = std::vector<std::pair<std::string, double>>;

struct Loss {
    at::Tensor value;  ///< [] f32
    LossTerms terms =
        {};  ///< what it is made of before the terms' weights, where there are several
};

enum class UnlikelihoodForm { Paper, Code };

/// Settings of training that a task answers for.
struct TaskOptions {
    double unlikelihood = 0;  ///< weights of T-Few's L_UL and L_LN beside L_LM
    double lengthNormalized = 0;
    UnlikelihoodForm unlikelihoodForm = UnlikelihoodForm::Paper;
    bool hasChoices = false;  ///< all rows have choices: they are ranked when measured
    bool hasPrompt = false;  ///< virtual tokens stand before each text (SiteHooks::promptLength): a
                             ///< decoder's first label counts too, as in PEFT
    double labelSmoothing = 0;
    double noiseAlpha = 0;  ///< NEFTune; 0: none
};

/// How evaluation rows pass through the model.
struct Measuring {
    std::size_t batch = 8;  ///< rows that pass together; more of short ones, as many tokens as that
                            ///< many of the longest row
    std::function<bool(std::int64_t done, std::int64_t total)> goOn =
        {};  ///< asked after each batch with the rows that are done; false ends early
};

/// What a pass over evaluation rows found.
struct Measured {
    double lossSum = 0;
    std::int64_t labels = 0;  ///< that the sum is over (choices: their weighted loss times these)
    Json metrics = Json::object();  ///< "perplexity", "accuracy", …
    bool isWhole = true;            ///< false when it was ended early: nothing else counts then

    double loss() const { return lossSum / static_cast<double>(labels > 0 ? labels : 1); }
};

class Task {
public:
    virtual ~Task() = default;

    /// Labels of a row that count in its loss.
    virtual std::int64_t labelCount(const Example& row) const = 0;
    /// Tokens that the model reads for a row.
    virtual std::int64_t tokenCount(const Example& row) const {
        return static_cast<std::int64_t>(row.ids.size());
    }
    /// What the row adds to the counts of its step.
    virtual LossCounts counts(const Example& row) const { return {labelCount(row), 1, 0}; }
    /// The rows' share in the loss of a step with these counts; the rows have at least one label.
    virtual Loss loss(const Model& model, std::span<const Example> rows, const LossCounts& step,
                      const Pass& pass) const = 0;
    /// What `score --what logits` gives of one row: [T, V], or [classes]. f32
    at::Tensor logits(const Model& model, const Example& row, const SiteHooks& hooks) const {
        return logitsOfEach(model, {&row, 1}, hooks).front();
    }
    /// The same of several rows that pass together.
    virtual std::vector<at::Tensor> logitsOfEach(const Model& model, std::span<const Example> rows,
                                                 const SiteHooks& hooks) const = 0;
    /// Loss and metrics over rows, without gradients.
    virtual Measured measure(const Model& model, AdapterStack& stack, std::span<const Example> rows,
                             const Measuring& how) const = 0;
};

/// The task that `model` was opened for.
std::unique_ptr<Task> makeTask(const Model& model, const TaskOptions& options = {});

std::unique_ptr<Task> causalLmTask(const TaskOptions& options);
std::unique_ptr<Task> seq2seqLmTask(const ModelDescription& description,
                                    const TaskOptions& options);
std::unique_ptr<Task> classificationTask(const ModelDescription& description,
                                         const TaskOptions& options);
std::unique_ptr<Task> choicesTask(const ModelDescription& description, const TaskOptions& options);

/// The rows' ids as one padding-free input.
TokenRows textOf(std::span<const Example> rows, const at::Device& device);
/// NEFTune (Jain et al. 2023, arXiv 2310.05914): noise on the embeddings of what is read first, the
/// encoder's input where there is one. Uniform in
/// +-alpha / sqrt(T C) for a segment of T tokens and a model of width C, by `key` alone; none
/// outside of training or where alpha is 0.
void addEmbeddingNoise(TokenRows& read, const Model& model, double alpha, const RandomKey& key);
/// What a decoder reads while it writes `text`: its start token and the text but the last token,
/// ignored labels as padding (transformers' `shift_tokens_right`).
std::vector<std::int64_t> shiftedRight(std::span<const std::int32_t> text,
                                       const ModelDescription& description);
/// Places of a language model's input that predict labels, and these.
struct Predicted {
    TokenRows input;
    at::Tensor places, labels;  ///< [M] i64
};
/// The step's share of a language model's loss, with noise and smoothing while the pass is one of
/// training.
Loss languageLoss(Predicted predicted, const Model& model, const TaskOptions& options,
                  const LossCounts& step, const Pass& pass);
using PredictedOf = std::function<Predicted(std::span<const Example> rows)>;
/// Loss, perplexity and accuracy over the rows' labels: what every language model measures.
Measured measureLanguage(const PredictedOf& predictedOf, const Model& model, AdapterStack& stack,
                         std::span<const Example> rows, const Measuring& how);
/// Shows all rows in batches of like length, the longest first, so that memory that is too small
/// shows at once. `places`: where each row of the batch stands in `rows`. @returns false when
/// `how.goOn` ended it early
bool inBatches(std::span<const Example> rows, const Measuring& how,
               const std::function<void(std::span<const Example> batch,
                                        std::span<const std::int64_t> places)>& show);

}  // namespace luthier
