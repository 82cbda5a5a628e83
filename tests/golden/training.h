// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs of the trainer over tests/golden's rows, from the starts that peft made.

#include "golden/golden.h"
#include "io/atomic.h"
#include "io/safetensors.h"
#include "model/tensors.h"
#include "peft/method.h"
#include "train/trainer.h"

#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace luthier::golden {

inline void writeTensors(const fs::path& file, const TensorMap& tensors) {
    std::vector<at::Tensor> storage;
    std::vector<TensorView> views;
    for (const auto& [name, tensor] : tensors) views.push_back(viewOf(name, tensor, storage));
    writeSafetensors(file, views, {{"format", "pt"}}).orThrow();
}

/// A run that has ended.
struct Trained {
    std::string name;
    std::unique_ptr<Model> model;
    std::shared_ptr<Adapter> adapter;
    const TensorMap& tensors;
    std::vector<double> losses, gradientNorms;
};

/// How a run departs from five steps of two rows.
struct Course {
    std::int64_t microBatches = 1;
    std::int64_t stopAfter = 0;  ///< steps after which it is told to stop; 0: none
    fs::path saveTo = {};        ///< the last checkpoint
    fs::path resumeFrom = {};    ///< a checkpoint
    std::string optimizer = "adamw";
};

/// peft/NAME.json and its tensors.
class Methods {
public:
    explicit Methods(const std::string& model)
        : m_model(model),
          m_json(jsonOf(root() / "peft" / (model + ".json"))),
          m_tensors(readTensors(root() / "peft" / (model + ".safetensors")).orThrow()),
          m_rows(m_json.at("rows")) {
        at::set_num_threads(1);
    }

    std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& [name, entry] : m_json.at("methods").items()) names.push_back(name);
        return names;
    }
    const Json& entry(const std::string& name) const { return m_json.at("methods").at(name); }
    const TensorMap& tensors() const { return m_tensors; }
    const Rows& rows() const { return m_rows; }

    /// The folder that peft saved before the first step.
    void writeStart(const std::string& name, const fs::path& folder) const {
        fs::create_directories(folder);
        writeJsonAtomically(folder / "adapter_config.json", entry(name).at("config")).orThrow();
        writeTensors(folder / "adapter_model.safetensors", under(m_tensors, name + "/start/"));
    }

    /// The method's adapter on `model`, as peft started.
    std::shared_ptr<Adapter> start(const std::string& name, Model& model) const {
        const Json& wanted = entry(name);
        Json given = wanted.at("settings");
        const Method& method = *findMethod(given.at("type"));
        given.erase("type");
        const Json settings = withDefaults(given, method.schema);
        std::shared_ptr<Adapter> adapter =
            createAdapter(method, {model, settings, 42, {}}).orThrow();
        if (wanted.at("start") == "file") {
            const Folder folder;
            writeStart(name, folder / "start");
            loadInto(*adapter, folder / "start", model).orThrow();
        } else if (wanted.at("start") == "parameters") {
            const at::NoGradGuard guard;
            const TensorMap values = under(m_tensors, name + "/start/");
            REQUIRE(adapter->parameters().size() == values.size());
            for (const TrainedParameter& parameter : adapter->parameters()) {
                CAPTURE(parameter.name);
                REQUIRE(values.contains(parameter.name));
                at::Tensor(parameter.tensor).copy_(values.at(parameter.name));
            }
        }
        return adapter;
    }

    Trained train(const std::string& name, const Course& course = {}) const {
        Trained run{name, open(m_model), {}, m_tensors, {}, {}};
        run.adapter = start(name, *run.model);
        const auto steps = m_json.at("steps").get<std::int64_t>();
        const auto batch = m_json.at("batch").get<std::int64_t>();
        TrainerSettings settings;
        settings.totalSteps = steps;
        settings.microBatches = course.microBatches;
        settings.schedule.totalSteps = steps;
        settings.schedule.baseRate = settings.learningRate = entry(name).at("learning_rate");
        OptimizerSettings rule;
        rule.epsilon = m_json.at("epsilon");
        std::unique_ptr<Optimizer> optimizer =
            createOptimizer(course.optimizer, run.adapter->parameters(), rule);
        const Optimizer& kept = *optimizer;
        CommandQueue commands;
        TrainerPorts ports;
        ports.commands = &commands;
        ports.batch = [&](std::int64_t step, std::int64_t micro) {
            const std::int64_t count = batch / course.microBatches;
            std::vector<Example> rows;
            for (std::int64_t i = 0; i < count; ++i)
                rows.push_back(m_rows[static_cast<std::size_t>(step * batch + micro * count + i) %
                                      m_rows.size()]);
            return rows;
        };
        ports.epochAt = [](std::int64_t) { return 0.0; };
        ports.emit = [&](const Json& event) {
            if (event.at("type") != "step") return;
            run.losses.push_back(event.at("loss"));
            run.gradientNorms.push_back(event.at("grad_norm"));
            if (event.at("step") == course.stopAfter) commands.push({{"command", "stop"}});
        };
        ports.saveCheckpoint = [&](const TrainState& state) -> luthier::Result<void> {
            if (course.saveTo.empty()) return {};
            Result<std::int64_t> bytes = writeCheckpoint(course.saveTo, *run.adapter, kept, state);
            if (!bytes) return bytes.problems();
            return {};
        };
        Trainer trainer(*run.model, run.adapter, std::move(optimizer), settings, std::move(ports));
        if (!course.resumeFrom.empty())
            trainer.state() =
                readCheckpoint(course.resumeFrom, *run.adapter, trainer.optimizer()).orThrow();
        CHECK(trainer.run() == (course.stopAfter > 0 ? TrainEnd::Stopped : TrainEnd::Finished));
        return run;
    }

private:
    std::string m_model;
    Json m_json;
    TensorMap m_tensors;
    Rows m_rows;
};

}  // namespace luthier::golden
