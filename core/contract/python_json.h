// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON as Python's json module writes and reads it, for people's data files; everything else uses
// contract/json.h, and both are the one parser of json.cpp. Apart from that header, which nearly
// every file includes, since only readers of rows need it.

#include "contract/json.h"

namespace luthier {

/// As parseJson, with what Python reads besides: NaN, Infinity, -Infinity and numbers beyond a
/// double become values that are not finite; half a surrogate pair becomes U+FFFD.
Result<Json> parsePythonJson(std::string_view text, const std::string& name);

}  // namespace luthier
