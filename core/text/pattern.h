// SPDX-License-Identifier: Apache-2.0
#pragma once
// A regular expression that comes from outside (target_modules, out of an adapter_config.json),
// with the meaning of Python's re.fullmatch and a time that is linear in the text, whatever it
// says: "(a+)+$" ends. What needs more than that, look-around and back-references, is refused by
// name.

#include "contract/problem.h"

#include <memory>
#include <string>
#include <string_view>

namespace luthier {

class Pattern final {
public:
    /// `field`: the setting or file and key that messages name. Problem code: bad_pattern.
    static Result<Pattern> create(const std::string& pattern, const std::string& field);

    /// re.fullmatch(pattern, text) is not None. Any number of threads may ask.
    bool matchesWhole(std::string_view text) const;

private:
    struct Compiled;
    explicit Pattern(std::shared_ptr<const Compiled> compiled) : m_compiled(std::move(compiled)) {}

    std::shared_ptr<const Compiled> m_compiled;
};

}  // namespace luthier
