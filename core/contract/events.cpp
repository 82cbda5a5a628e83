// SPDX-License-Identifier: Apache-2.0
#include "contract/events.h"

#include "contract/number_text.h"

#include <ctime>

namespace luthier {

namespace event {

Json phase(const std::string& name, std::int64_t done, std::int64_t total) {
    return Json{{"type", "phase"}, {"name", name}, {"done", done}, {"total", total}};
}

Json step(const StepFacts& facts) {
    Json json{{"type", "step"}, {"step", facts.step}};
    setNumber(json, "epoch", facts.epoch);
    setNumber(json, "loss", facts.loss);
    setNumber(json, "learning_rate", facts.learningRate);
    setNumber(json, "grad_norm", facts.gradNorm);
    json["tokens"] = facts.tokens;
    json["supervised_tokens"] = facts.supervisedTokens;
    setNumber(json, "tokens_per_second", facts.tokensPerSecond);
    setNumber(json, "step_seconds", facts.stepSeconds);
    if (!facts.losses.empty()) {
        json["losses"] = Json::object();
        for (const auto& [name, value] : facts.losses) setNumber(json["losses"], name, value);
    }
    json["memory"] = Json{{"device_bytes", facts.memory.deviceBytes},
                          {"device_peak_bytes", facts.memory.devicePeakBytes},
                          {"device_total_bytes", facts.memory.deviceTotalBytes},
                          {"host_bytes", facts.memory.hostBytes}};
    return json;
}

Json eval(std::int64_t step, double loss, const Json& metrics, std::int64_t rows,
          std::int64_t ofRows) {
    Json json{{"type", "eval"}, {"step", step}};
    setNumber(json, "loss", loss);
    json["metrics"] = metrics;
    json["rows"] = rows;
    json["of_rows"] = ofRows;
    return json;
}

Json sample(std::int64_t step, const std::string& prompt, const std::string& text) {
    return Json{{"type", "sample"}, {"step", step}, {"prompt", prompt}, {"text", text}};
}

Json checkpoint(std::int64_t step, const std::string& path, std::int64_t bytes) {
    return Json{{"type", "checkpoint"}, {"step", step}, {"path", path}, {"bytes", bytes}};
}

Json warning(const std::string& code, const std::string& message, const std::string& hint) {
    return Json{{"type", "warning"}, {"code", code}, {"message", message}, {"hint", hint}};
}

Json failed(const Problems& problems) {
    const Problem& first = problems.front();
    Json json{
        {"type", "failed"}, {"code", first.code}, {"message", first.message}, {"hint", first.hint}};
    if (!first.field.empty()) json["field"] = first.field;
    if (problems.size() < 2) return json;
    Json list = Json::array();
    for (const Problem& problem : problems)
        list.push_back({{"code", problem.code},
                        {"message", problem.message},
                        {"hint", problem.hint},
                        {"field", problem.field}});
    json["problems"] = std::move(list);
    return json;
}

Json failed(const Problem& problem) { return failed(Problems{problem}); }

}  // namespace event

std::string logLine(const Json& event, double timeSeconds) {
    const std::string type = event.value("type", "");
    if (type == "step" || (type == "phase" && event.value("done", Json(0)) != 0)) return "";
    const auto time = static_cast<std::time_t>(timeSeconds);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%SZ ", &parts);
    std::string line = stamp + type;
    // A problem is a sentence; anything else says its values.
    if (event.contains("message")) {
        line += " " + event.value("code", "") + ": " + event.value("message", "");
        if (const std::string hint = event.value("hint", ""); !hint.empty()) line += " " + hint;
    } else {
        constexpr std::size_t kMostBytes = 4000;
        for (const auto& [key, value] : event.items())
            if (key != "type") line += " " + key + "=" + dumpLine(value);
        if (line.size() > kMostBytes) line = line.substr(0, kMostBytes) + " …";
    }
    return printable(line);
}

std::string eventLine(Json event, const std::string& run, double timeSeconds) {
    Json full{{"type", event.value("type", "")}, {"time", timeSeconds}, {"run", run}};
    for (auto& [key, value] : event.items())
        if (key != "type") full[key] = std::move(value);
    std::string line = dumpLine(full);
    // Only free texts can grow without bound; halve the longest until the line fits.
    while (line.size() + 1 > kMaxEventBytes) {
        std::string longest;
        for (const auto& [key, value] : full.items())
            if (value.is_string() &&
                (longest.empty() || value.get_ref<const std::string&>().size() >
                                        full[longest].get_ref<const std::string&>().size()))
                longest = key;
        if (longest.empty() || full[longest].get_ref<const std::string&>().size() < 64) break;
        std::string& text = full[longest].get_ref<std::string&>();
        text.resize(text.size() / 2);
        full[longest + "_truncated"] = true;
        line = dumpLine(full);
    }
    return line;
}

}  // namespace luthier
