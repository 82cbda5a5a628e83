// SPDX-License-Identifier: Apache-2.0
#pragma once
// A RUN.json in the making, and the document it comes from: every key that is taken from there is
// ticked off, so that what is left over can be named.

#include "data/imports.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace luthier::imports {

class Draft final {
public:
    Draft(const Json& source, const MethodSchemas& methods)
        : m_source(source), m_methods(methods) {}

    /// Methods that other programs name by their defaults.
    const std::string& defaultMethod() const { return m_methods.byDefault; }
    const std::string& wholeMethod() const { return m_methods.whole; }

    /// The value of `key`, ticked off; nullptr when it is absent or null.
    const Json* take(const std::string& key);
    bool takeFlag(const std::string& key, bool fallback);
    std::string takeText(const std::string& key);

    /// Sets a dotted key of RUN.json that `key` of the source stands for. Numbers written as text
    /// become numbers.
    void put(const std::string& dotted, Json value, const std::string& key);
    /// put(dotted, take(key)), if it is there.
    void same(const std::string& key, const std::string& dotted);
    /// The other program's default, where the document says nothing.
    void otherwise(const std::string& dotted, Json value);
    bool has(const std::string& dotted) const { return findDotted(m_run, dotted) != nullptr; }
    const Json* value(const std::string& dotted) const { return findDotted(m_run, dotted); }

    void ignore(const std::string& key, const std::string& why);
    void ignorePart(const std::string& name, const Json& value, const std::string& why) {
        m_ignored.push_back({name, value, why});
    }
    /// method.NAME from the source's key of that name, when the method has it; what it has not
    /// stays to be named.
    void methodField(const std::string& name);
    void miss(const std::string& dotted, const std::string& why) {
        m_missing.push_back({dotted, why});
    }
    const Json& source() const { return m_source; }
    /// Keys that are in the source and were not taken.
    std::vector<std::string> leftOver() const;

    /// model.path, and a word when it looks like a name on the hub.
    void model(const std::string& key);
    /// Checks all sections; moves what they refuse to the ignored; fills in what is required.
    ImportedSettings finish();

private:
    Json converted(const std::string& dotted, Json value) const;
    const Setting* settingOf(const std::string& dotted) const;

    const Json& m_source;
    const MethodSchemas& m_methods;
    Json m_run = Json::object();
    std::map<std::string, std::string> m_origin;  // dotted key: the source's
    std::set<std::string> m_taken;
    std::vector<IgnoredSetting> m_ignored;
    std::vector<MissingSetting> m_missing;
};

/// Settings of transformers' TrainingArguments, as LLaMA-Factory, TRL and in part Axolotl use them.
void takeTrainingArguments(Draft& draft);
void takeOptimizer(Draft& draft, const std::string& key);
void takeSchedule(Draft& draft, const std::string& key);
void takeWarmup(Draft& draft);
void takePrecision(Draft& draft);

Result<void> fromPeft(Draft& draft);
Result<void> fromAxolotl(Draft& draft);
Result<void> fromLlamaFactory(Draft& draft);
Result<void> fromTrl(Draft& draft);

}  // namespace luthier::imports
