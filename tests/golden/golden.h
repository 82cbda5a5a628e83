// SPDX-License-Identifier: Apache-2.0
#pragma once
// What make_golden.py wrote: tiny models, rows, and what transformers and peft make of them. Every
// pass runs on one thread, so that sums are taken in one order everywhere.

#include "contract/json.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "task/task.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace luthier::golden {

namespace fs = std::filesystem;

inline fs::path root() { return LUTHIER_GOLDEN; }

inline Json jsonOf(const fs::path& file) { return readJsonFile(file).orThrow(); }

/// The tensors whose names begin with `prefix`, without it.
inline TensorMap under(const TensorMap& tensors, const std::string& prefix) {
    TensorMap found;
    for (const auto& [name, tensor] : tensors)
        if (name.starts_with(prefix)) found.emplace(name.substr(prefix.size()), tensor);
    return found;
}

/// Rows of a golden.json; examples are views of them.
class Rows {
public:
    explicit Rows(const Json& rows) {
        for (const Json& row : rows) {
            m_ids.push_back(row.at("input_ids"));
            m_labels.push_back(row.contains("labels")
                                   ? row.at("labels").get<std::vector<std::int32_t>>()
                                   : m_ids.back());
            m_types.push_back(row.value("token_type_ids", std::vector<std::int32_t>{}));
            m_classes.push_back(row.value("label", -1));
        }
    }
    std::size_t size() const { return m_ids.size(); }
    Example operator[](std::size_t i) const {
        return {m_ids[i], m_labels[i], m_types[i], m_classes[i]};
    }
    std::vector<Example> all() const {
        std::vector<Example> examples;
        for (std::size_t i = 0; i < size(); ++i) examples.push_back((*this)[i]);
        return examples;
    }

private:
    std::vector<std::vector<std::int32_t>> m_ids, m_labels, m_types;
    std::vector<std::int32_t> m_classes;
};

inline std::vector<std::string> modelNames() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root() / "models"))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

inline std::unique_ptr<Model> openFolder(const fs::path& folder) {
    at::set_num_threads(1);
    return openModel({folder, "float32", "cpu"}).orThrow();
}

inline std::unique_ptr<Model> open(const std::string& name) {
    return openFolder(root() / "models" / name);
}

/// A model with what transformers says of it.
struct Golden {
    explicit Golden(const std::string& name)
        : model(open(name)),
          json(jsonOf(root() / "models" / name / "golden.json")),
          tensors(readTensors(root() / "models" / name / "golden.safetensors").orThrow()),
          rows(json.at("rows")),
          task(makeTask(*model)) {}

    std::unique_ptr<Model> model;
    Json json;
    TensorMap tensors;
    Rows rows;
    std::unique_ptr<Task> task;
};

inline double largest(const at::Tensor& x) {
    return x.numel() == 0 ? 0 : x.abs().max().item<double>();
}

/// The largest difference over the deviation of `wanted`.
inline double difference(const at::Tensor& found, const at::Tensor& wanted) {
    REQUIRE(found.sizes() == wanted.sizes());
    return largest(found.detach() - wanted) / wanted.std().item<double>();
}

/// The length of the difference over that of `wanted`, at least `floor`.
inline double distance(const at::Tensor& found, const at::Tensor& wanted, double floor) {
    REQUIRE(found.sizes() == wanted.sizes());
    return (found.detach() - wanted).norm().item<double>() /
           std::max(wanted.norm().item<double>(), floor);
}

/// A folder that goes away, in memory where there is such a place: what is written for good waits
/// for the disk elsewhere.
class Folder {
public:
    Folder() {
        const fs::path memory = "/dev/shm";
        const fs::path place =
            ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path();
        std::string pattern = (place / "luthier-golden-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        m_path = pattern;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(m_path, ignored);
    }
    fs::path operator/(const std::string& name) const { return m_path / name; }

private:
    fs::path m_path;
};

}  // namespace luthier::golden
