// SPDX-License-Identifier: Apache-2.0
// Every method against peft on tests/golden's models: from peft's start, five steps through the
// trainer follow its losses and gradient norms and end in its tensors and logits; merged weights
// give the logits of the adapter.
#include "generate/generator.h"
#include "golden/training.h"
#include "peft/mixed_stack.h"

#include <ATen/ops/mm.h>

using namespace luthier;

namespace {

/// A bias on keys shifts all scores of a query alike, which a softmax ignores: its gradient is
/// rounding noise, which Adam scales up. Such rows are left out.
at::Tensor withoutKeyBias(const std::string& model, const std::string& name,
                          const at::Tensor& value) {
    if (model == "bert" && name.ends_with("key.bias")) return {};
    if (model == "gpt2" && name.ends_with("c_attn.bias"))
        return at::cat({value.chunk(3)[0], value.chunk(3)[2]});
    return value;
}

/// What a run leaves by the names of peft's file, or of the model's where base weights are trained.
TensorMap endOf(const golden::Trained& run) {
    TensorMap found;
    if (run.adapter->trainsBase()) {
        for (const std::string& name : run.model->weights().names())
            found[name] = run.model->weights().at(name).detach();
        return found;
    }
    const bool isBitfit = run.adapter->method() == "bitfit";
    for (const NamedTensor& tensor : run.adapter->fileTensors()) {
        std::string name = tensor.name;
        if (isBitfit) {
            if (name.find("lora_") != std::string::npos) continue;
            name = name.substr(std::string("base_model.model.").size());
            if (const std::size_t at = name.find(".base_layer"); at != std::string::npos)
                name.erase(at, std::string(".base_layer").size());
        }
        found[name] = tensor.tensor.detach();
    }
    return found;
}

void checkEnd(const golden::Trained& run, const std::string& model, const std::string& compares) {
    const TensorMap found = endOf(run);
    const TensorMap wanted = golden::under(run.tensors, run.name + "/end/");
    REQUIRE(!wanted.empty());
    if (compares.empty() && !run.adapter->trainsBase()) CHECK(found.size() == wanted.size());
    for (const auto& [name, value] : wanted) {
        CAPTURE(name);
        REQUIRE(found.contains(name));
        at::Tensor ours = found.at(name);
        if (const std::size_t at = name.find("lora_A");
            compares == "products" && at != std::string::npos) {
            std::string other = name;
            other.replace(at, 6, "lora_B");
            ours = at::mm(found.at(other), ours);
        }
        const at::Tensor a = withoutKeyBias(model, name, ours);
        const at::Tensor b = withoutKeyBias(model, name, value);
        if (!b.defined() || b.numel() == 0) continue;
        REQUIRE(a.sizes() == b.sizes());
        CHECK(golden::largest(a - b) / std::max(golden::largest(b), 1e-6) < 2e-3);
    }
}

at::Tensor logitsOf(const Model& model, AdapterStack& stack, const Example& row) {
    const at::NoGradGuard guard;
    stack.beginPass({});
    return makeTask(model)->logits(model, row, stack.hooks());
}

void checkModel(const std::string& model, std::size_t least = 15) {
    const golden::Methods methods(model);
    REQUIRE(methods.names().size() >= least);
    for (const std::string& name : methods.names()) {
        CAPTURE(name);
        const Json& entry = methods.entry(name);
        golden::Trained run = methods.train(name);
        REQUIRE(run.losses.size() == entry.at("losses").size());
        for (std::size_t step = 0; step < run.losses.size(); ++step) {
            CAPTURE(step);
            CHECK(std::abs(run.losses[step] - entry.at("losses")[step].get<double>()) < 1e-4);
            CHECK(run.gradientNorms[step] ==
                  doctest::Approx(entry.at("gradient_norms")[step].get<double>()).epsilon(2e-3));
        }
        checkEnd(run, model, entry.value("compares", ""));
        AdapterStack stack(*run.model);
        stack.add(run.adapter);
        const at::Tensor trained = logitsOf(*run.model, stack, methods.rows()[0]);
        CHECK(golden::difference(trained, methods.tensors().at(name + "/logits")) < 2e-3);
        if (!findMethod(run.adapter->method())->isMergeable) continue;
        REQUIRE(run.adapter->merge(*run.model));
        AdapterStack none(*run.model);
        CHECK(golden::difference(logitsOf(*run.model, none, methods.rows()[0]), trained) < 1e-4);
    }
}

}  // namespace

TEST_CASE("every method on LLaMA ends where peft ends") { checkModel("llama"); }
TEST_CASE("every method on GPT-2 ends where peft ends") { checkModel("gpt2"); }
TEST_CASE("every method on T5 ends where peft ends") { checkModel("t5"); }
TEST_CASE("every method on a BERT classifier ends where peft ends") { checkModel("bert"); }

TEST_CASE("capped scores, a window and ALiBi do not show in methods") {
    checkModel("gemma2", 5);
    checkModel("bloom", 5);
}

TEST_CASE("every method of the product is among the golden ones") {
    std::set<std::string> seen;
    for (const char* model : {"llama", "gpt2", "t5", "bert", "gemma2", "bloom"}) {
        const golden::Methods methods(model);
        for (const std::string& name : methods.names())
            seen.insert(methods.entry(name).at("settings").at("type").get<std::string>());
    }
    for (const Method& method : luthier::methods())
        CHECK_MESSAGE(seen.contains(method.type), method.type);
}

namespace {

/// Every method's adapter on one model, as peft started them.
struct AllOnOne {
    explicit AllOnOne(const std::string& name)
        : methods(name), model(golden::open(name)), task(makeTask(*model)) {
        for (const std::string& method : methods.names()) {
            if (methods.entry(method).at("start") == "none" && method != "bitfit") continue;
            names.push_back(method);
            adapters.push_back(methods.start(method, *model));
            if (method == "bitfit" || method == "pissa") {  // these start as the base
                const at::NoGradGuard guard;
                for (const TrainedParameter& parameter : adapters.back()->parameters())
                    at::Tensor(parameter.tensor)
                        .add_(normalTensor(parameter.tensor.sizes(), 0.05,
                                           tensorSeed(1, parameter.name), at::kCPU));
            }
            stacks.push_back(std::make_unique<AdapterStack>(*model));
            stacks.back()->add(adapters.back());
        }
        names.push_back("the base");
        stacks.push_back(std::make_unique<AdapterStack>(*model));
    }
    Example row(std::size_t i) const { return methods.rows()[i % methods.rows().size()]; }

    golden::Methods methods;
    std::unique_ptr<Model> model;
    std::unique_ptr<Task> task;
    std::vector<std::string> names;
    std::vector<std::shared_ptr<Adapter>> adapters;
    std::vector<std::unique_ptr<AdapterStack>> stacks;  // one an adapter, and the base's
};

}  // namespace

TEST_CASE("rows of all adapters pass together as alone") {
    for (const char* name : {"llama", "gpt2", "t5", "bert", "gemma2", "bloom"}) {
        CAPTURE(std::string(name));
        const AllOnOne all(name);
        const at::NoGradGuard guard;
        std::vector<Example> rows;
        std::vector<AdapterStack*> stacks;
        for (std::size_t i = 0; i < all.stacks.size(); ++i) {
            rows.push_back(all.row(i));
            stacks.push_back(all.stacks[i].get());
        }
        const std::unique_ptr<MixedStack> mixed = MixedStack::create(*all.model, stacks).orThrow();
        mixed->beginPass();
        const std::vector<at::Tensor> logits =
            all.task->logitsOfEach(*all.model, rows, mixed->hooks());
        REQUIRE(logits.size() == rows.size());
        AdapterStack none(*all.model);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            CAPTURE(all.names[i]);
            CHECK(golden::difference(logits[i], logitsOf(*all.model, *stacks[i], rows[i])) < 1e-4);
            if (i + 1 < rows.size())
                CHECK(golden::difference(logits[i], logitsOf(*all.model, none, rows[i])) > 1e-4);
        }
    }
}

TEST_CASE("texts of all adapters go on together as alone") {
    for (const char* name : {"llama", "gpt2", "t5", "gemma2", "bloom"}) {
        CAPTURE(std::string(name));
        const AllOnOne all(name);
        SamplingSettings settings;
        settings.maxNewTokens = 8;
        std::vector<std::unique_ptr<Continuation>> texts;
        std::vector<Continuation*> together;
        std::vector<std::vector<std::int64_t>> prompts;
        for (std::size_t i = 0; i < all.stacks.size(); ++i) {
            const Example row = all.row(i);
            prompts.emplace_back(row.ids.begin(), row.ids.end());
            texts.push_back(std::make_unique<Continuation>(*all.model, *all.stacks[i], prompts[i],
                                                           std::vector<std::int64_t>{}, settings));
            together.push_back(texts.back().get());
        }
        for (std::int64_t step = 0; step < settings.maxNewTokens; ++step)
            nextOfEach(*all.model, together);
        for (std::size_t i = 0; i < texts.size(); ++i) {
            CAPTURE(all.names[i]);
            const Generated alone = generate(*all.model, *all.stacks[i], prompts[i], {}, settings);
            CHECK(texts[i]->result().ids == alone.ids);
            // With the cache as without: the text is what its own logits choose.
            if (all.model->description().encoder) continue;
            std::vector<std::int32_t> ids(prompts[i].begin(), prompts[i].end());
            ids.insert(ids.end(), alone.ids.begin(), alone.ids.end());
            const at::Tensor logits =
                logitsOf(*all.model, *all.stacks[i], {.ids = ids, .labels = ids});
            for (std::size_t place = prompts[i].size(); place < ids.size(); ++place) {
                const at::Tensor before = logits[static_cast<std::int64_t>(place) - 1];
                CHECK((before.max() - before[ids[place]]).item<double>() <
                      1e-4 * logits.std().item<double>());
            }
        }
    }
}

TEST_CASE("an adapter of weight 0 is the base, and of 1 itself") {
    for (const char* name : {"llama", "gpt2", "t5", "bert", "gemma2", "bloom"}) {
        CAPTURE(std::string(name));
        const AllOnOne all(name);
        AdapterStack none(*all.model);
        const Example row = all.row(0);
        const at::Tensor base = logitsOf(*all.model, none, row);
        for (std::size_t i = 0; i < all.adapters.size(); ++i) {
            CAPTURE(all.names[i]);
            const at::Tensor whole = logitsOf(*all.model, *all.stacks[i], row);
            if (!all.adapters[i]->setWeight(0)) continue;  // rotations and virtual tokens
            CHECK(golden::difference(logitsOf(*all.model, *all.stacks[i], row), base) < 1e-5);
            CHECK(all.adapters[i]->setWeight(1));
            CHECK(golden::difference(logitsOf(*all.model, *all.stacks[i], row), whole) < 1e-5);
        }
    }
}

TEST_CASE("BitFit's file is a LoRA of rank 1 that is zero, above the bias of its layer") {
    const golden::Methods methods("bert");
    const std::unique_ptr<Model> model = golden::open("bert");
    const std::shared_ptr<Adapter> adapter = methods.start("bitfit", *model);
    const std::string carrier = "base_model.model." + model->sites().linears.front().path;
    std::set<std::string> names;
    for (const NamedTensor& tensor : adapter->fileTensors()) {
        names.insert(tensor.name);
        if (tensor.name.find("lora_") != std::string::npos)
            CHECK(golden::largest(tensor.tensor) == 0);
    }
    CHECK(names.contains(carrier + ".lora_A.weight"));
    CHECK(names.contains(carrier + ".lora_B.weight"));
    CHECK(names.contains(carrier + ".base_layer.bias"));
    CHECK_FALSE(names.contains(carrier + ".bias"));
    CHECK(adapter->fileConfig().at("bias") == "all");
}
