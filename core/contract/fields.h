// SPDX-License-Identifier: Apache-2.0
#pragma once
// The keys of a request or command that came from outside, read by type: a missing key or a value
// of another type is a Problem that names the key and what it must be, never an exception of the
// JSON library. Throws Failure {bad_request}; keys that nobody asks for are left alone.

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <string>
#include <vector>

namespace luthier {

/// A view; the object outlives it.
class Fields final {
public:
    /// `what`: how messages call the object ("request", "command"). Throws when it is no object.
    Fields(const Json& object, std::string what);

    /// The value of `key`. T: std::string, bool, std::int64_t, std::uint64_t, double,
    /// std::vector<std::string>, std::vector<std::int64_t>.
    template <class T>
    T need(const char* key) const;
    /// The same; `fallback` when the key is absent or null.
    template <class T>
    T get(const char* key, T fallback) const {
        return has(key) ? need<T>(key) : std::move(fallback);
    }
    std::string get(const char* key, const char* fallback) const {
        return get<std::string>(key, fallback);
    }
    /// Present and not null.
    bool has(const char* key) const { return find(key) != nullptr; }
    const Json& object(const char* key) const;
    /// An empty list when absent.
    const Json& list(const char* key) const;
    const Json& whole() const { return m_object; }

private:
    const Json* find(const char* key) const;
    const Json& at(const char* key) const;
    [[noreturn]] void refuse(const char* key, const char* wanted) const;

    const Json& m_object;
    std::string m_what;
};

/// The text under `key`, or "" when there is none: for deciding who a request is for.
std::string textOr(const Json& object, const char* key);

}  // namespace luthier
