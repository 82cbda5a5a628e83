// SPDX-License-Identifier: Apache-2.0
#pragma once
// The event stream: what a worker writes to events.jsonl and to its
// standard output, the same bytes. An event is a JSON object with `type`, `time` (seconds since the
// epoch) and `run`. Builders here fix the spelling of every key once; readers fold events with
// RunSnapshot (run_snapshot.h).

#include "contract/json.h"
#include "contract/problem.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace luthier {

/// Longest line a reader has to accept, its newline included.
constexpr std::size_t kMaxEventBytes = 1u << 20;

struct MemoryReading {
    std::int64_t deviceBytes = 0;  ///< allocator in use; 0 on a CPU
    std::int64_t devicePeakBytes = 0;
    std::int64_t deviceTotalBytes = 0;
    std::int64_t hostBytes = 0;  ///< resident set of the worker
};

struct StepFacts {
    std::int64_t step = 0;
    double epoch = 0;
    double loss = 0;
    double learningRate = 0;
    double gradNorm = 0;
    std::int64_t tokens = 0;  ///< of this step, padding excluded
    std::int64_t supervisedTokens = 0;
    double tokensPerSecond = 0;
    double stepSeconds = 0;
    std::vector<std::pair<std::string, double>>
        losses;  ///< the terms of `loss` before their weights: lm, unlikelihood, length_normalized
    MemoryReading memory;
};

namespace event {

Json phase(const std::string& name, std::int64_t done, std::int64_t total);
Json step(const StepFacts& facts);
/// `rows` were measured of `ofRows` that there are.
Json eval(std::int64_t step, double loss, const Json& metrics, std::int64_t rows,
          std::int64_t ofRows);
Json sample(std::int64_t step, const std::string& prompt, const std::string& text);
Json checkpoint(std::int64_t step, const std::string& path, std::int64_t bytes);
Json warning(const std::string& code, const std::string& message, const std::string& hint);
/// {"type":"failed","code","message","hint"[,"field"][,"problems":[…]]}
Json failed(const Problems& problems);
Json failed(const Problem& problem);

}  // namespace event

/// The event for people, one line of log.txt without its newline: "2026-11-30 19:04:05Z warning
/// length_positions: …". Empty for steps and for the parts of a phase, of which there are many.
std::string logLine(const Json& event, double timeSeconds);

/// Adds `time` and `run` behind `type` and returns the line without newline, cut to kMaxEventBytes
/// by shortening long texts.
std::string eventLine(Json event, const std::string& run, double timeSeconds);

}  // namespace luthier
