// SPDX-License-Identifier: Apache-2.0
// The loop itself, on tests/golden's models: how a step is cut into micro-batches does not show in
// its result, a run that was broken off goes on bit for bit, and commands, evaluations and
// checkpoints come when they are due.
#include "golden/training.h"

#include <ATen/ops/equal.h>

using namespace luthier;

namespace {

void checkEqual(const golden::Trained& a, const golden::Trained& b) {
    const std::vector<TrainedParameter> ours = a.adapter->parameters();
    const std::vector<TrainedParameter> theirs = b.adapter->parameters();
    REQUIRE(ours.size() == theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
        CAPTURE(ours[i].name);
        CHECK(at::equal(ours[i].tensor, theirs[i].tensor));
    }
}

/// A trainer on LLaMA's LoRA whose events and checkpoints are kept.
struct Loop {
    explicit Loop(const std::function<void(TrainerSettings&, TrainerPorts&)>& change)
        : methods("llama"), model(golden::open("llama")), adapter(methods.start("lora", *model)) {
        TrainerSettings settings;
        settings.totalSteps = 4;
        settings.schedule.kind = "constant";
        settings.learningRate = 1e-3;
        TrainerPorts ports;
        ports.batch = [this](std::int64_t step, std::int64_t micro) {
            asked.emplace_back(step, micro);
            return std::vector<Example>{methods.rows()[static_cast<std::size_t>(step)]};
        };
        ports.epochAt = [](std::int64_t step) { return static_cast<double>(step) / 4; };
        ports.emit = [this](const Json& event) { events.push_back(event); };
        ports.saveCheckpoint = [this](const TrainState& state) -> luthier::Result<void> {
            saved.push_back(state.step);
            return {};
        };
        ports.commands = &commands;
        change(settings, ports);
        trainer = std::make_unique<Trainer>(
            *model, adapter, createOptimizer("adamw", adapter->parameters(), {}), settings, ports);
    }
    std::vector<Json> all(const std::string& type) const {
        std::vector<Json> found;
        for (const Json& event : events)
            if (event.at("type") == type) found.push_back(event);
        return found;
    }

    golden::Methods methods;
    std::unique_ptr<Model> model;
    std::shared_ptr<Adapter> adapter;
    CommandQueue commands;
    std::vector<Json> events;
    std::vector<std::int64_t> saved;
    std::vector<std::pair<std::int64_t, std::int64_t>> asked;
    std::unique_ptr<Trainer> trainer;
};

void nothing(TrainerSettings&, TrainerPorts&) {}

}  // namespace

TEST_CASE("two micro-batches of a row are a batch of two") {
    for (const char* model : {"llama", "t5", "bert"})
        for (const char* name : {"lora", "full"}) {
            CAPTURE(std::string(model));
            CAPTURE(std::string(name));
            const golden::Methods methods(model);
            const golden::Trained whole = methods.train(name);
            const golden::Trained parts = methods.train(name, {.microBatches = 2});
            for (std::size_t step = 0; step < whole.losses.size(); ++step) {
                CHECK(parts.losses[step] == doctest::Approx(whole.losses[step]).epsilon(1e-5));
                CHECK(parts.gradientNorms[step] ==
                      doctest::Approx(whole.gradientNorms[step]).epsilon(1e-4));
            }
            const auto a = whole.adapter->parameters(), b = parts.adapter->parameters();
            for (std::size_t i = 0; i < a.size(); ++i) {
                if (a[i].name.ends_with("key.bias")) continue;  // its gradient is rounding alone
                CAPTURE(a[i].name);
                CHECK(golden::largest(a[i].tensor.detach() - b[i].tensor.detach()) <
                      2e-3 * std::max(golden::largest(a[i].tensor.detach()), 1e-3));
            }
        }
}

TEST_CASE("a run that ended after two steps goes on bit for bit") {
    for (const char* optimizer : {"adamw", "sgd", "lion", "adafactor"})
        for (const char* name : {"lora", "adalora", "full"}) {
            CAPTURE(std::string(optimizer));
            CAPTURE(std::string(name));
            const golden::Methods methods("llama");
            const golden::Folder folder;
            const golden::Trained whole = methods.train(name, {.optimizer = optimizer});
            const golden::Trained first = methods.train(
                name, {.stopAfter = 2, .saveTo = folder / "checkpoint", .optimizer = optimizer});
            CHECK(first.losses.size() == 2);
            const golden::Trained rest =
                methods.train(name, {.resumeFrom = folder / "checkpoint", .optimizer = optimizer});
            REQUIRE(rest.losses.size() == 3);
            for (std::size_t step = 0; step < 5; ++step)
                CHECK((step < 2 ? first.losses[step] : rest.losses[step - 2]) ==
                      whole.losses[step]);
            checkEqual(whole, rest);
        }
}

TEST_CASE("a checkpoint of another method is refused") {
    const golden::Methods methods("llama");
    const golden::Folder folder;
    (void)methods.train("lora", {.stopAfter = 1, .saveTo = folder / "checkpoint"});
    const std::unique_ptr<Model> model = golden::open("llama");
    const std::shared_ptr<Adapter> adapter = methods.start("ia3", *model);
    const std::unique_ptr<Optimizer> optimizer =
        createOptimizer("adamw", adapter->parameters(), {});
    const luthier::Result<TrainState> state =
        readCheckpoint(folder / "checkpoint", *adapter, *optimizer);
    REQUIRE_FALSE(state);
    CHECK(state.problem().code == "checkpoint_mismatch");
}

TEST_CASE("rows are asked for in order and every step is told") {
    Loop loop([](TrainerSettings& settings, TrainerPorts&) { settings.microBatches = 2; });
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    CHECK(loop.asked == std::vector<std::pair<std::int64_t, std::int64_t>>{
                            {0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0}, {2, 1}, {3, 0}, {3, 1}});
    const std::vector<Json> steps = loop.all("step");
    REQUIRE(steps.size() == 4);
    std::int64_t tokens = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        CHECK(steps[i].at("step") == i + 1);
        CHECK(steps[i].at("epoch") == static_cast<double>(i + 1) / 4);
        const std::int64_t expected =
            2 * static_cast<std::int64_t>(loop.methods.rows()[i].ids.size());
        CHECK(steps[i].at("tokens") == expected);
        tokens += expected;
    }
    CHECK(loop.trainer->state().tokens == tokens);
    CHECK(loop.saved == std::vector<std::int64_t>{4});
}

TEST_CASE("checkpoints and evaluations come when they are due") {
    Loop loop([](TrainerSettings& settings, TrainerPorts&) {
        settings.saveEvery = 2;
        settings.evalEvery = 3;
        settings.totalSteps = 5;
    });
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    CHECK(loop.saved == std::vector<std::int64_t>{2, 4, 5});
    CHECK(loop.all("eval").empty());  // no rows to evaluate
    Loop other([](TrainerSettings& settings, TrainerPorts&) {
        settings.evalEvery = 3;
        settings.totalSteps = 4;
    });
    // Views of rows that the loop holds.
    const std::vector<Example> rows{other.methods.rows()[4], other.methods.rows()[5]};
    Loop evaluated([&](TrainerSettings& settings, TrainerPorts& ports) {
        settings.evalEvery = 3;
        settings.totalSteps = 4;
        ports.evalRows = rows;
        ports.ofEvalRows = 9;
    });
    CHECK(evaluated.trainer->run() == TrainEnd::Finished);
    const std::vector<Json> evals = evaluated.all("eval");
    REQUIRE(evals.size() == 3);
    CHECK(evals[0].at("step") == 0);
    CHECK(evals[1].at("step") == 3);
    CHECK(evals[2].at("step") == 4);
    const std::unique_ptr<Task> task = makeTask(*evaluated.model);
    AdapterStack stack(*evaluated.model);
    stack.add(evaluated.adapter);
    CHECK(evals[2].at("loss").get<double>() ==
          doctest::Approx(task->measure(*evaluated.model, stack, rows, {}).loss()).epsilon(1e-6));
}

TEST_CASE("a run whose evaluation loss stops falling ends early") {
    Loop rows(nothing);
    const std::vector<Example> held{rows.methods.rows()[5]};
    Loop loop([&](TrainerSettings& settings, TrainerPorts& ports) {
        settings.evalEvery = 1;
        settings.totalSteps = 6;
        settings.patience = 2;
        settings.smallestGain = 100;  // nothing is gain enough
        ports.evalRows = held;
    });
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    CHECK(loop.trainer->isPatienceOver());
    CHECK(loop.trainer->state().step == 2);
    CHECK(loop.saved == std::vector<std::int64_t>{2});
    CHECK(loop.all("early_stopped").size() == 1);
}

TEST_CASE("a run whose evaluation loss falls goes on") {
    Loop rows(nothing);
    const std::vector<Example> held{rows.methods.rows()[0]};
    Loop loop([&](TrainerSettings& settings, TrainerPorts& ports) {
        settings.evalEvery = 1;
        settings.totalSteps = 6;
        settings.patience = 2;
        ports.evalRows = held;
        ports.batch = [&](std::int64_t, std::int64_t) { return held; };
    });
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    CHECK_FALSE(loop.trainer->isPatienceOver());
    CHECK(loop.trainer->state().step == 6);
    CHECK(loop.trainer->state().bestEvalStep == 6);
    CHECK(loop.trainer->state().evalsWithoutGain == 0);
}

TEST_CASE("commands change the rate, save and stop") {
    Loop loop(nothing);
    loop.commands.push({{"command", "set"}, {"learning_rate", 5e-4}});
    loop.commands.push({{"command", "set"}, {"learning_rate", -1}});
    loop.commands.push({{"command", "checkpoint"}});
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    CHECK(loop.all("learning_rate").size() == 1);
    CHECK(loop.all("warning").size() == 1);
    for (const Json& step : loop.all("step")) CHECK(step.at("learning_rate") == 5e-4);
    CHECK(loop.saved == std::vector<std::int64_t>{0, 4});
    Loop stopped(nothing);
    stopped.commands.push({{"command", "stop"}});
    CHECK(stopped.trainer->run() == TrainEnd::Stopped);
    CHECK(stopped.all("step").empty());
    CHECK(stopped.saved == std::vector<std::int64_t>{0});
}

TEST_CASE("the schedule's factor of a step is that before it") {
    Loop loop([](TrainerSettings& settings, TrainerPorts&) {
        settings.schedule.kind = "linear";
        settings.schedule.warmupSteps = 2;
        settings.schedule.totalSteps = 4;
    });
    CHECK(loop.trainer->run() == TrainEnd::Finished);
    const std::vector<double> factors{0, 0.5, 1, 0.5};
    const std::vector<Json> steps = loop.all("step");
    for (std::size_t i = 0; i < factors.size(); ++i)
        CHECK(steps[i].at("learning_rate").get<double>() == doctest::Approx(1e-3 * factors[i]));
}

TEST_CASE("gradients beyond the norm are scaled down to it") {
    const golden::Methods methods("llama");
    const std::unique_ptr<Model> model = golden::open("llama");
    const std::shared_ptr<Adapter> adapter = methods.start("lora", *model);
    double squares = 0;
    for (const TrainedParameter& parameter : adapter->parameters()) {
        parameter.tensor.mutable_grad() = parameter.tensor.detach().mul(3).cos();
        squares += std::pow(parameter.tensor.grad().norm().item<double>(), 2);
    }
    const auto optimizer = createOptimizer("sgd", adapter->parameters(), {});
    CHECK(optimizer->clipGradients(0) == doctest::Approx(std::sqrt(squares)));
    CHECK(optimizer->clipGradients(1e9) == doctest::Approx(std::sqrt(squares)));
    CHECK(optimizer->clipGradients(0.5) == doctest::Approx(std::sqrt(squares)));
    CHECK(optimizer->clipGradients(0) == doctest::Approx(0.5).epsilon(1e-5));
    optimizer->clearGradients();
    for (const TrainedParameter& parameter : adapter->parameters())
        CHECK_FALSE(parameter.tensor.grad().defined());
}

TEST_CASE("a step that is not finite leaves the weights and says so") {
    Loop loop(nothing);
    {
        const at::NoGradGuard guard;
        at::Tensor(loop.adapter->parameters().front().tensor).fill_(1e38);
    }
    try {
        loop.trainer->run();
        FAIL("it went on");
    } catch (const Failure& failure) {
        CHECK(failure.problem().code == "non_finite_loss");
    }
    CHECK(golden::largest(loop.adapter->parameters().front().tensor.detach()) ==
          doctest::Approx(1e38));
}
