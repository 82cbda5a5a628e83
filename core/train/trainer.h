// SPDX-License-Identifier: Apache-2.0
#pragma once
// The training loop, read top to bottom: take commands, run the micro-batches of one optimiser
// step, clip, update, report, evaluate, sample, save. It knows rows, a task, an adapter and a
// model; files and processes are the caller's. One thread; the model's products run on ATen's.

#include "contract/events.h"
#include "io/command_server.h"
#include "model/model.h"
#include "peft/adapter.h"
#include "task/task.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/schedule.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace luthier {

struct TrainerSettings {
    std::int64_t totalSteps = 0;
    std::int64_t microBatches = 1;  ///< gradient_accumulation_steps
    Schedule schedule;
    double learningRate = 2e-4;
    double maxGradNorm = 1;  ///< 0: never clip
    std::uint64_t seed = 42;
    std::int64_t evalEvery = 0;    ///< 0: only at the end
    bool evaluatesAtStart = true;  ///< with evalEvery: before the first step too
    std::int64_t saveEvery = 0;
    std::size_t evalBatch = 8;
    std::int64_t patience =
        0;  ///< evaluations without a lower loss before the run ends early; 0: never
    double smallestGain = 0;  ///< what counts as lower, for the patience
    bool keepsBest = false;   ///< a checkpoint at every evaluation that is the best so far
    Activations activations = Activations::Keep;
    TaskOptions task;
};

/// What the loop needs from outside.
struct TrainerPorts {
    /// Rows of one micro-step of optimiser step `step` (from 0); fewer than usual, or none, at the
    /// end of an epoch.
    std::function<std::vector<Example>(std::int64_t step, std::int64_t microStep)> batch;
    std::function<double(std::int64_t stepsDone)> epochAt;
    std::vector<Example> evalRows;  ///< the rows of each evaluation
    std::int64_t ofEvalRows = 0;    ///< those there are
    std::function<void(const Json& event)> emit;
    std::function<Result<void>(const TrainState&)> saveCheckpoint;
    std::function<std::int64_t()>
        bytesWaiting;  ///< of what is to be written and finds no room on the disk; may be empty
    std::function<void(std::int64_t step, const std::function<bool()>& goOn)>
        sample;                        ///< may be empty; ends early when goOn says no
    CommandQueue* commands = nullptr;  ///< may be null
};

enum class TrainEnd { Finished, Stopped };

class Trainer final {
public:
    Trainer(Model& model, std::shared_ptr<Adapter> adapter, std::unique_ptr<Optimizer> optimizer,
            TrainerSettings settings, TrainerPorts ports);

    Optimizer& optimizer() { return *m_optimizer; }
    TrainState& state() { return m_state; }
    /// True when the evaluation loss stopped falling before the last step.
    bool isPatienceOver() const {
        return m_settings.patience > 0 && m_state.evalsWithoutGain >= m_settings.patience;
    }

    /// Runs from state().step to the end, or until a stop command. Throws Failure: non_finite_loss,
    /// disk_full, …
    TrainEnd run();

private:
    enum class Wish { GoOn, Stop };

    /// Mean loss per label over the evaluation rows, then the samples; emits `phase` and `eval`.
    /// Commands are taken between batches: a pause waits there, a stop ends it and leaves it due.
    Wish evaluate();
    Wish takeSamples();
    /// What is due after a step: evaluation, checkpoint.
    Wish afterStep();
    bool isEvaluationStep() const;
    Wish obey();
    Wish pause();
    Wish obeyOne(const Json& command);
    /// Waits while the disk is full; a run ends by a checkpoint that cannot be written only when it
    /// is told to stop.
    void save();
    Wish waitForDisk(std::int64_t neededBytes, const std::function<Result<void>()>& retry);
    void step();
    double rate() const;
    void judge(double loss);

    Model& m_model;
    std::unique_ptr<Task> m_task;
    std::shared_ptr<Adapter> m_adapter;
    AdapterStack m_stack;
    std::unique_ptr<Optimizer> m_optimizer;
    TrainerSettings m_settings;
    TrainerPorts m_ports;
    TrainState m_state;
    std::int64_t m_savedStep = -1;
    std::int64_t m_evaluatedStep = -1;
    bool m_isEvaluating = false;
};

}  // namespace luthier
