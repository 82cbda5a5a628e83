// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"

#include "text/bridge/luthier_text.h"

#include <cstdint>
#include <utility>

namespace luthier {

namespace {

const std::uint8_t* bytesOf(std::string_view text) {
    return reinterpret_cast<const std::uint8_t*>(text.data());
}

}  // namespace

struct Pattern::Compiled {
    LuthierPattern* pattern = nullptr;

    Compiled() = default;
    Compiled(const Compiled&) = delete;
    Compiled& operator=(const Compiled&) = delete;
    ~Compiled() {
        if (pattern != nullptr) luthier_pattern_free(pattern);
    }
};

Result<Pattern> Pattern::create(const std::string& pattern, const std::string& field) {
    auto compiled = std::make_shared<Compiled>();
    const LuthierBuffer answer =
        luthier_pattern_open(bytesOf(pattern), pattern.size(), &compiled->pattern);
    const std::string words(reinterpret_cast<const char*>(answer.data), answer.size);
    luthier_buffer_free(answer);
    if (answer.status != LUTHIER_TEXT_OK)
        return Problem{"bad_pattern", field + " is no pattern that can be used: " + words + ".",
                       "Write it as Python's re module wants it, or give a list of names.", field,
                       ExitCode::BadUsage};
    return Pattern(std::move(compiled));
}

bool Pattern::matchesWhole(std::string_view text) const {
    return luthier_pattern_matches(m_compiled->pattern, bytesOf(text), text.size()) != 0;
}

}  // namespace luthier
