// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rule that turns gradients into updates, one class a rule (optimizers/), each as torch,
// transformers or bitsandbytes define it. Its state is a list of named tensors
// that are filled in place when a run resumes, so a resumed run goes on bit for bit. Learning rates
// come from outside: the schedule knows nothing of the rule and the rule nothing of the schedule.

#include "contract/run_config.h"
#include "peft/adapter.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace luthier {

struct OptimizerSettings {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weightDecay = 0;
    std::vector<std::string> noDecay;  ///< regular expressions: parameters whose name one of them
                                       ///< is found in are not decayed
    std::set<std::string> undecayed;   ///< those parameters; createOptimizer() finds them
    double momentum = 0;               ///< sgd
    bool nesterov = false;             ///< sgd
    // adafactor
    double adafactorEpsilon1 = 1e-30;  ///< added to squared gradients
    double adafactorEpsilon2 = 1e-3;   ///< smallest root mean square a parameter counts with
    double clipThreshold = 1;          ///< of the update's root mean square
    double decayRate = -0.8;
    double adafactorBeta1 = 0;  ///< 0: no first moment
    bool scaleParameter = false;
    bool relativeStep = false;
    bool warmupInit = false;
};

/// The decay of one parameter, by its name as transformers' Trainer decides
/// (get_decay_parameter_names): none of biases and norms, nor of what `undecayed` names.
double decayOf(const OptimizerSettings& settings, const std::string& parameter);

class Optimizer {
public:
    explicit Optimizer(std::vector<TrainedParameter> parameters)
        : m_parameters(std::move(parameters)) {}
    virtual ~Optimizer() = default;
    Optimizer(const Optimizer&) = delete;
    Optimizer& operator=(const Optimizer&) = delete;

    /// One update from the parameters' gradients; parameters without a gradient are left alone.
    virtual void step(double learningRate) = 0;
    /// What is kept from step to step, "optimizer.PARAMETER.KEY"; the tensors may be written to.
    virtual std::vector<NamedTensor> state() const = 0;
    /// The rate that the next step really uses when the schedule asks for `scheduled` (Adafactor's
    /// relative step has its own).
    virtual double usedRate(double scheduled) const { return scheduled; }

    void clearGradients();
    /// Total L2 norm of all gradients; scaled down to `maxNorm` when that is positive and smaller,
    /// as torch's clip_grad_norm_.
    double clipGradients(double maxNorm);

protected:
    std::vector<TrainedParameter> m_parameters;
};

/// `train.optimizer` and what belongs to it.
OptimizerSettings optimizerSettings(const RunConfig& config);

/// Those of `parameters` that an expression of `noDecay` is found in, by expression. Problem code:
/// bad_pattern.
Result<std::map<std::string, std::set<std::string>>> matchedByNoDecay(
    const std::vector<std::string>& noDecay, const std::vector<TrainedParameter>& parameters);

/// @param kind adamw | adamw_8bit | adafactor | lion | sgd, as the schema of `train` allows;
/// Failure for another one.
std::unique_ptr<Optimizer> createOptimizer(const std::string& kind,
                                           std::vector<TrainedParameter> parameters,
                                           const OptimizerSettings& settings);

/// Bytes that `kind` keeps for a parameter of this shape, before anything is allocated.
std::int64_t optimizerBytes(const std::string& kind, const std::vector<std::int64_t>& shape,
                            const OptimizerSettings& settings);

}  // namespace luthier
