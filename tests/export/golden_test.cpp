// SPDX-License-Identifier: Apache-2.0
// What is written is what was read: adapters that peft saved go out and come back tensor for
// tensor, merged folders give the adapter's logits, and a model's folder holds its weights.
#include "export/exporter.h"
#include "golden/training.h"

#include <ATen/ops/equal.h>

using namespace luthier;

namespace {

/// peft's folders of every method that has one.
template <class Check>
void forEachStart(const Check& check) {
    for (const char* model : {"llama", "gpt2", "t5", "bert", "gemma2", "bloom"}) {
        CAPTURE(std::string(model));
        const golden::Methods methods(model);
        for (const std::string& name : methods.names()) {
            if (methods.entry(name).at("start") != "file") continue;
            CAPTURE(name);
            const golden::Folder folder;
            methods.writeStart(name, folder / "start");
            check(methods, name, golden::root() / "models" / model, folder);
        }
    }
}

at::Tensor logitsOf(const Model& model, AdapterStack& stack, const Example& row) {
    const at::NoGradGuard guard;
    stack.beginPass({});
    return makeTask(model)->logits(model, row, stack.hooks());
}

}  // namespace

TEST_CASE("an adapter that peft saved is exported tensor for tensor") {
    int adapters = 0;
    forEachStart([&](const golden::Methods& methods, const std::string& name,
                     const golden::fs::path& model, const golden::Folder& folder) {
        if (methods.entry(name).contains("compares")) return;  // PiSSA's file is of its own start
        ExportRequest request{model, folder / "start", folder / "out", "", {}};
        const luthier::Result<ExportResult> result = findExporter("peft")->write(request);
        REQUIRE_MESSAGE(result, (result ? "" : result.problem().message));
        CHECK(result->certificate.at("passed") == true);
        const TensorMap wanted = golden::under(methods.tensors(), name + "/start/");
        const TensorMap found = readTensors(folder / "out" / "adapter_model.safetensors").orThrow();
        CHECK(found.size() == wanted.size());
        for (const auto& [tensor, value] : wanted) {
            CAPTURE(tensor);
            REQUIRE(found.contains(tensor));
            CHECK(at::equal(found.at(tensor), value));
        }
        const Json config = golden::jsonOf(folder / "out" / "adapter_config.json");
        CHECK(config.at("peft_type") == methods.entry(name).at("config").at("peft_type"));
        CHECK(config.at("task_type") == methods.entry(name).at("config").at("task_type"));
        ++adapters;
    });
    CHECK(adapters >= 40);
}

TEST_CASE("a merged folder gives the adapter's logits") {
    int merged = 0;
    forEachStart([&](const golden::Methods& methods, const std::string& name,
                     const golden::fs::path& model, const golden::Folder& folder) {
        if (!findMethod(methods.entry(name).at("settings").at("type"))->isMergeable ||
            methods.entry(name).contains("compares"))
            return;
        ExportRequest request{model, folder / "start", folder / "out", "", {}};
        const luthier::Result<ExportResult> result = findExporter("merged")->write(request);
        REQUIRE_MESSAGE(result, (result ? "" : result.problem().message));
        const std::unique_ptr<Model> base = golden::openFolder(model);
        AdapterStack stack(*base);
        stack.add(openAdapter(folder / "start", *base).orThrow());
        const std::unique_ptr<Model> again = golden::openFolder(folder / "out");
        AdapterStack none(*again);
        const Example row = methods.rows()[0];
        CHECK(golden::difference(logitsOf(*again, none, row), logitsOf(*base, stack, row)) < 1e-4);
        ++merged;
    });
    CHECK(merged >= 25);
}

TEST_CASE("an adapter's folder opens as what was trained") {
    for (const char* model : {"llama", "gpt2", "t5", "bert"}) {
        CAPTURE(std::string(model));
        const golden::Methods methods(model);
        for (const char* name : {"lora", "dora", "adalora", "ia3", "vera", "prefix projection",
                                 "p_tuning mlp", "pissa"}) {
            CAPTURE(std::string(name));
            golden::Trained run = methods.train(name);
            const golden::Folder folder;
            golden::fs::create_directories(folder / "adapter");
            writeAdapter(*run.adapter, folder / "adapter", "base").orThrow();
            AdapterStack trained(*run.model);
            trained.add(run.adapter);
            AdapterStack again(*run.model);
            again.add(openAdapter(folder / "adapter", *run.model).orThrow());
            CHECK(golden::difference(logitsOf(*run.model, again, methods.rows()[0]),
                                     logitsOf(*run.model, trained, methods.rows()[0])) < 1e-5);
        }
    }
}

TEST_CASE("a model's folder is written weight for weight") {
    for (const std::string& name : golden::modelNames()) {
        CAPTURE(name);
        const golden::fs::path source = golden::root() / "models" / name;
        const std::unique_ptr<Model> model = golden::open(name);
        const golden::Folder folder;
        golden::fs::create_directories(folder / "out");
        writeModel(*model, source, folder / "out", writtenTypes(*model, source, {}).orThrow())
            .orThrow();
        const std::unique_ptr<Model> again = golden::openFolder(folder / "out");
        REQUIRE(again->weights().names() == model->weights().names());
        for (const std::string& weight : model->weights().names())
            CHECK(at::equal(again->weights().at(weight), model->weights().at(weight)));
        CHECK(golden::jsonOf(folder / "out" / "config.json").at("model_type") ==
              golden::jsonOf(source / "config.json").at("model_type"));
    }
}
