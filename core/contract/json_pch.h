// SPDX-License-Identifier: Apache-2.0
#pragma once
// What nearly every file of the rooms without torch needs, compiled once (luthier_json_pch() in
// LuthierDependencies.cmake). Sources still include what they use.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>
