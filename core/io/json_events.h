// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads foreign JSON as events, without building a tree: 100 MB of "0,0,0,…" must not become
// gigabytes of values, and duplicate keys, which a tree hides, must be seen. Not for other rooms.

#include "contract/problem.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace luthier {

enum class JsonKind { Null, Bool, Negative, Unsigned, Float, String, Object, Array };

/// Derive, and return a Problem from a hook to stop.
class JsonEvents : private nlohmann::json_sax<nlohmann::json> {
public:
    static constexpr std::size_t kMaxDepth = 32;

    /// The Problem of a hook, or `syntaxCode` with the byte at which the text is not JSON.
    Result<void> read(std::string_view text, const std::string& name, const char* syntaxCode);

protected:
    using Stop = std::optional<Problem>;

    /// `depth`: how many objects and lists are open around it. `number` is set for Unsigned, `text`
    /// for String.
    virtual Stop onValue(std::size_t depth, JsonKind kind, std::uint64_t number,
                         const std::string& text) = 0;
    virtual Stop onKey(std::size_t depth, const std::string& key) = 0;
    /// Called after the object or list has been closed.
    virtual Stop onClose(std::size_t depth) = 0;

private:
    bool go(Stop stop);
    bool value(JsonKind kind, std::uint64_t number = 0, const std::string& text = {});
    bool open(JsonKind kind);
    bool closeOne();

    bool null() override { return value(JsonKind::Null); }
    bool boolean(bool) override { return value(JsonKind::Bool); }
    bool number_integer(std::int64_t) override { return value(JsonKind::Negative); }
    bool number_unsigned(std::uint64_t number) override {
        return value(JsonKind::Unsigned, number);
    }
    bool number_float(double, const std::string&) override { return value(JsonKind::Float); }
    bool string(std::string& text) override { return value(JsonKind::String, 0, text); }
    bool binary(nlohmann::json::binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(JsonKind::Object); }
    bool end_object() override { return closeOne(); }
    bool start_array(std::size_t) override { return open(JsonKind::Array); }
    bool end_array() override { return closeOne(); }
    bool key(std::string& text) override { return go(onKey(m_depth, text)); }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::json::exception&) override;

    std::string m_name;
    const char* m_syntaxCode = "";
    std::size_t m_depth = 0;
    Stop m_problem;
};

/// A name from a foreign file as it can be shown: quoted, control bytes replaced, cut when long.
std::string shownName(std::string_view name);

}  // namespace luthier
