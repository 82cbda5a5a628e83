// SPDX-License-Identifier: Apache-2.0
// Every method against peft on tests/golden's models: from peft's start, five steps through the
// trainer follow its losses and gradient norms and end in its tensors and logits; merged weights
// give the logits of the adapter.
#include "golden/training.h"

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

void checkModel(const std::string& model) {
    const golden::Methods methods(model);
    REQUIRE(methods.names().size() >= 15);
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

TEST_CASE("every method of the product is among the golden ones") {
    std::set<std::string> seen;
    for (const char* model : {"llama", "gpt2", "t5", "bert"}) {
        const golden::Methods methods(model);
        for (const std::string& name : methods.names())
            seen.insert(methods.entry(name).at("settings").at("type").get<std::string>());
    }
    for (const Method& method : luthier::methods())
        CHECK_MESSAGE(seen.contains(method.type), method.type);
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
