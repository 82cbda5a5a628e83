// SPDX-License-Identifier: Apache-2.0
#include "contract/run_snapshot.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <utility>

#include <sys/stat.h>

namespace luthier {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr std::array<std::pair<RunStatus, const char*>, 7> kStatusNames{{
    {RunStatus::Queued, "queued"},
    {RunStatus::Running, "running"},
    {RunStatus::Paused, "paused"},
    {RunStatus::Finished, "finished"},
    {RunStatus::Stopped, "stopped"},
    {RunStatus::Failed, "failed"},
    {RunStatus::Interrupted, "interrupted"},
}};

// Events come from other versions and other programs: a key of the wrong type counts as absent.
std::string textOr(const Json& object, const char* key, const std::string& fallback = "") {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : fallback;
}

std::int64_t countOr(const Json& object, const char* key, std::int64_t fallback = 0) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number()) return fallback;
    if (found->is_number_integer()) return found->get<std::int64_t>();
    const double value = found->get<double>();
    return std::isfinite(value) && std::abs(value) < 9e18 ? static_cast<std::int64_t>(value)
                                                          : fallback;
}

const Json& objectOr(const Json& object, const char* key) {
    static const Json empty = Json::object();
    const auto found = object.find(key);
    return found != object.end() && found->is_object() ? *found : empty;
}

/// A step event as our workers write it, read without building a document: numbers, plain texts and
/// nulls, and the objects `memory` and `losses` inside, once each. scan() takes only what it is
/// sure to understand; on escapes, other bytes than ASCII, true and false, other nesting, numbers
/// that do not fit or anything malformed it declines, and the caller parses the line. Views point
/// into the line.
class FlatEvent final {
public:
    FlatEvent() {}  // the pairs stay as they are until scan() fills them
    bool scan(std::string_view line) {
        const char* at = line.data();
        return scanObject(at, at + line.size(), Place::Outer) && at == line.data() + line.size();
    }

    std::string text(std::string_view key) const {
        const Pair* pair = find(key, Place::Outer);
        return pair != nullptr && pair->kind == Kind::Text ? std::string(pair->text())
                                                           : std::string();
    }
    bool hasNumber(std::string_view key) const {
        const Pair* pair = find(key, Place::Outer);
        return pair != nullptr && pair->kind == Kind::Number;
    }
    double number(const char* key, double fallback) const {
        return numberAt(key, fallback, Place::Outer);
    }
    double loss(const char* key) const { return numberAt(key, kNaN, Place::Losses); }
    std::int64_t count(std::string_view key) const { return countOf(find(key, Place::Outer)); }
    std::int64_t memory(std::string_view key) const { return countOf(find(key, Place::Memory)); }

private:
    enum class Kind { Number, Text, Null };
    enum class Place { Outer, Memory, Losses };
    double numberAt(const char* key, double fallback, Place place) const {
        const Pair* pair = find(key, place);
        if (pair == nullptr) return fallback;
        if (pair->kind == Kind::Number) return pair->number;
        const Pair* state = find(std::string(key) + "_state", place);
        if (state == nullptr || state->kind != Kind::Text) return fallback;
        if (state->text() == "nan") return kNaN;
        return state->text() == "-inf" ? -kInfinity : kInfinity;
    }
    struct Pair {
        const char* keyData;
        const char* textData;
        std::size_t keySize, textSize;
        double number;
        std::int64_t whole;
        Kind kind;
        Place place;
        bool isWhole;
        std::string_view key() const { return {keyData, keySize}; }
        std::string_view text() const { return {textData, textSize}; }
    };

    static std::int64_t countOf(const Pair* pair) {
        if (pair == nullptr || pair->kind != Kind::Number) return 0;
        if (pair->isWhole) return pair->whole;
        return std::abs(pair->number) < 9e18 ? static_cast<std::int64_t>(pair->number) : 0;
    }

    /// The last one wins, as in a parsed document.
    const Pair* find(std::string_view key, Place place) const {
        for (std::size_t i = m_count; i-- > 0;)
            if (m_pairs[i].key() == key && m_pairs[i].place == place) return &m_pairs[i];
        return nullptr;
    }

    static bool take(const char*& at, const char* end, char c) {
        while (at < end && *at == ' ') ++at;
        if (at >= end || *at != c) return false;
        ++at;
        return true;
    }

    static bool scanText(const char*& at, const char* end, const char*& text, std::size_t& size) {
        if (!take(at, end, '"')) return false;
        const char* begin = at;
        for (; at < end && *at != '"'; ++at)
            if (*at < 0x20 || *at > 0x7e || *at == '\\') return false;
        if (at >= end) return false;
        text = begin;
        size = static_cast<std::size_t>(at++ - begin);
        return true;
    }

    static bool scanNumber(const char*& at, const char* end, Pair& pair) {
        const char* begin = at;
        const auto digits = [&] {
            const char* from = at;
            while (at < end && *at >= '0' && *at <= '9') ++at;
            return at - from;
        };
        if (*at == '-') ++at;
        const bool startsWithZero = at < end && *at == '0';
        const auto whole = digits();
        if (whole == 0 || whole > 17 || (startsWithZero && whole > 1)) return false;
        pair.isWhole = true;
        if (at < end && *at == '.') {
            pair.isWhole = false;
            ++at;
            if (digits() == 0) return false;
        }
        if (at < end && (*at == 'e' || *at == 'E')) {
            pair.isWhole = false;
            ++at;
            if (at < end && (*at == '-' || *at == '+')) ++at;
            if (digits() == 0) return false;
        }
        pair.kind = Kind::Number;
        if (pair.isWhole) std::from_chars(begin, at, pair.whole);
        return std::from_chars(begin, at, pair.number).ec == std::errc{};
    }

    bool scanObject(const char*& at, const char* end, Place place) {
        if (!take(at, end, '{')) return false;
        if (take(at, end, '}')) return true;
        do {
            if (m_count == m_pairs.size()) return false;
            Pair& pair = m_pairs[m_count++];
            pair.place = place;
            pair.kind = Kind::Null;
            if (!scanText(at, end, pair.keyData, pair.keySize) || !take(at, end, ':')) return false;
            while (at < end && *at == ' ') ++at;
            if (at >= end) return false;
            if (*at == '{') {
                const Place inside = pair.key() == "memory"   ? Place::Memory
                                     : pair.key() == "losses" ? Place::Losses
                                                              : Place::Outer;
                if (place != Place::Outer || inside == Place::Outer) return false;
                bool& isSeen = inside == Place::Memory ? m_hasMemory : m_hasLosses;
                if (std::exchange(isSeen, true) || !scanObject(at, end, inside)) return false;
            } else if (*at == '"') {
                pair.kind = Kind::Text;
                if (!scanText(at, end, pair.textData, pair.textSize)) return false;
            } else if (*at == 'n') {
                if (std::string_view(at, static_cast<std::size_t>(
                                             std::min<std::ptrdiff_t>(4, end - at))) != "null")
                    return false;
                at += 4;
            } else if (!scanNumber(at, end, pair)) {
                return false;
            }
        } while (take(at, end, ','));
        return take(at, end, '}');
    }

    std::array<Pair, 40> m_pairs;
    std::size_t m_count = 0;
    bool m_hasMemory = false;
    bool m_hasLosses = false;
};

/// A parsed event behind the same names: the plain reference of FlatEvent.
struct ParsedEvent {
    const Json& json;
    std::string text(const char* key) const { return textOr(json, key); }
    bool hasNumber(const char* key) const { return json.contains(key) && json[key].is_number(); }
    double number(const char* key, double fallback) const { return numberOr(json, key, fallback); }
    std::int64_t count(const char* key) const { return countOr(json, key); }
    double loss(const char* key) const { return numberOr(objectOr(json, "losses"), key, kNaN); }
    std::int64_t memory(const char* key) const { return countOr(objectOr(json, "memory"), key); }
};

template <class Point>
void dropAfter(std::vector<Point>& points, std::int64_t step) {
    std::erase_if(points, [step](const Point& point) { return point.step > step; });
}

template <class Event>
void addStep(StepSeries& series, const Event& event, double seconds) {
    const auto last = [](const auto& values) { return values.empty() ? 0 : values.back(); };
    const std::int64_t next = series.step.empty() ? 1 : series.step.back() + 1;
    const double stepSeconds = event.number("step_seconds", kNaN);
    series.step.push_back(event.hasNumber("step") ? event.count("step") : next);
    series.epoch.push_back(event.number("epoch", kNaN));
    series.loss.push_back(event.number("loss", kNaN));
    series.lmLoss.push_back(event.loss("lm"));
    series.unlikelihoodLoss.push_back(event.loss("unlikelihood"));
    series.lengthNormalizedLoss.push_back(event.loss("length_normalized"));
    series.learningRate.push_back(event.number("learning_rate", kNaN));
    series.gradNorm.push_back(event.number("grad_norm", kNaN));
    series.tokens.push_back(last(series.tokens) + event.count("tokens"));
    series.supervisedTokens.push_back(last(series.supervisedTokens) +
                                      event.count("supervised_tokens"));
    series.tokensPerSecond.push_back(event.number("tokens_per_second", kNaN));
    series.stepSeconds.push_back(stepSeconds);
    series.seconds.push_back(seconds);
    series.trainSeconds.push_back(last(series.trainSeconds) +
                                  (std::isfinite(stepSeconds) ? stepSeconds : 0));
    series.deviceBytes.push_back(event.memory("device_bytes"));
    series.devicePeakBytes.push_back(event.memory("device_peak_bytes"));
    series.hostBytes.push_back(event.memory("host_bytes"));
}

void dropStepsAfter(RunSnapshot& run, std::int64_t step) {
    // Steps are appended in order, so the ones to keep are a prefix.
    const auto& steps = run.steps.step;
    run.steps.truncate(static_cast<std::size_t>(std::upper_bound(steps.begin(), steps.end(), step) -
                                                steps.begin()));
    dropAfter(run.evals, step);
    dropAfter(run.samples, step);
    dropAfter(run.checkpoints, step);
    dropAfter(run.rateChanges, step);
}

std::vector<PartCount> partsOf(const Json& byPart) {
    std::vector<PartCount> parts;
    if (byPart.is_object()) {
        for (const auto& [name, value] : byPart.items()) {
            const std::int64_t plain = value.is_number() ? value.get<std::int64_t>() : 0;
            parts.push_back({name, value.is_object() ? countOr(value, "parameters") : plain});
        }
    } else if (byPart.is_array()) {
        for (const Json& item : byPart)
            if (item.is_object())
                parts.push_back({textOr(item, "name"), countOr(item, "parameters")});
    }
    return parts;
}

void applyParameters(RunSnapshot& run, const Json& event) {
    run.trainable = countOr(event, "trainable", run.trainable);
    run.frozen = countOr(event, "frozen", run.frozen);
    const double total = static_cast<double>(run.trainable + run.frozen);
    run.trainablePercent = numberOr(
        event, "percent", total > 0 ? 100.0 * static_cast<double>(run.trainable) / total : 0);
    if (event.contains("by_part")) run.byPart = partsOf(event["by_part"]);
}

void applyFinished(RunSnapshot& run, const Json& event) {
    run.summary = objectOr(event, "summary");
    run.phase = {};
    const std::string status = textOr(run.summary, "status", textOr(event, "status"));
    const bool stopped = status == "stopped" || textOr(run.summary, "exit_status") == "stopped";
    run.status = stopped ? RunStatus::Stopped : RunStatus::Finished;
}

std::uint64_t inodeOf(const std::filesystem::path& path, std::uint64_t& size) {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) != 0) return 0;
    size = static_cast<std::uint64_t>(facts.st_size);
    return static_cast<std::uint64_t>(facts.st_ino);
}

}  // namespace

const char* runStatusName(RunStatus status) {
    for (const auto& [value, text] : kStatusNames)
        if (value == status) return text;
    return "queued";
}

RunStatus runStatusFromName(const std::string& text) {
    for (const auto& [value, known] : kStatusNames)
        if (text == known) return value;
    return RunStatus::Queued;
}

void StepSeries::truncate(std::size_t count) {
    const auto cut = [count](auto&... vectors) {
        (vectors.resize(std::min(count, vectors.size())), ...);
    };
    cut(step, epoch, loss, lmLoss, unlikelihoodLoss, lengthNormalizedLoss, learningRate, gradNorm,
        tokens, supervisedTokens, tokensPerSecond, stepSeconds, seconds, trainSeconds, deviceBytes,
        devicePeakBytes, hostBytes);
}

std::optional<std::size_t> RunSnapshot::bestEval() const {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < evals.size(); ++i)
        if (std::isfinite(evals[i].loss) && (!best || evals[i].loss < evals[*best].loss)) best = i;
    return best;
}

double RunSnapshot::recentTokensPerSecond(std::size_t window) const {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = steps.size(); i-- > 0 && count < window;) {
        if (!std::isfinite(steps.tokensPerSecond[i])) continue;
        sum += steps.tokensPerSecond[i];
        ++count;
    }
    return count == 0 ? 0 : sum / static_cast<double>(count);
}

std::int64_t RunSnapshot::peakBytes() const {
    const auto highest = [](const std::vector<std::int64_t>& values) {
        return values.empty() ? std::int64_t{0} : *std::max_element(values.begin(), values.end());
    };
    const std::int64_t device = highest(steps.devicePeakBytes);
    return device > 0 ? device : highest(steps.hostBytes);
}

void RunSnapshot::applyConfig(const Json& document) {
    if (!document.is_object()) return;
    config = document;
    name = textOr(document, "name", name);
    group = textOr(document, "group", group);
    method = textOr(objectOr(document, "method"), "type", method);
    modelPath = textOr(objectOr(document, "model"), "path", modelPath);
    maxSteps = countOr(objectOr(document, "train"), "max_steps", maxSteps);
}

double RunSnapshot::countEvent(double time, const std::string& run) {
    if (eventCount++ == 0) started = time;
    if (std::isfinite(time)) updated = std::max(updated, time);
    if (id.empty()) id = run;
    return time - started;
}

template <class Event>
void RunSnapshot::applyStep(const Event& event) {
    const double seconds = countEvent(event.number("time", updated), event.text("run"));
    // A worker that writes is alive, whatever an earlier process ended with.
    if (status != RunStatus::Paused) status = RunStatus::Running;
    phase = {};
    addStep(steps, event, seconds);
    if (const std::int64_t total = event.memory("device_total_bytes"); total > 0)
        deviceTotalBytes = total;
}

void RunSnapshot::apply(const Json& event) {
    if (!event.is_object()) {
        ++ignoredLines;
        return;
    }
    const std::string type = textOr(event, "type");
    if (type == "step") return applyStep(ParsedEvent{event});
    const double seconds = countEvent(numberOr(event, "time", updated), textOr(event, "run"));

    if (type == "run_started") {
        status = RunStatus::Running;
        failure.reset();
        summary = nullptr;
        applyConfig(objectOr(event, "config"));
        name = textOr(event, "name", name);
        group = textOr(event, "group", group);
        method = textOr(event, "method", method);
        modelPath = textOr(event, "model", modelPath);
        maxSteps = countOr(event, "max_steps", maxSteps);
    } else if (type == "phase") {
        if (status != RunStatus::Paused) status = RunStatus::Running;
        phase = {textOr(event, "name"), countOr(event, "done"), countOr(event, "total")};
        if (phase.total > 0 && phase.done >= phase.total) phase = {};
    } else if (type == "model_loaded") {
        architecture = textOr(event, "architecture");
        modelParameters = countOr(event, "parameters");
        modelBytes = countOr(event, "bytes");
    } else if (type == "parameters") {
        applyParameters(*this, event);
    } else if (type == "data") {
        rows = countOr(event, "rows");
        dataTokens = countOr(event, "tokens");
        truncatedRows = countOr(event, "truncated_rows");
        skippedRows = countOr(event, "skipped_rows");
        maxSteps = countOr(event, "max_steps", maxSteps);
    } else if (type == "eval") {
        const std::int64_t tokens = steps.tokens.empty() ? 0 : steps.tokens.back();
        const double trained = steps.trainSeconds.empty() ? 0 : steps.trainSeconds.back();
        evals.push_back({countOr(event, "step", lastStep()), tokens, seconds, trained,
                         numberOr(event, "loss", kNaN), objectOr(event, "metrics"),
                         countOr(event, "rows"), countOr(event, "of_rows")});
        phase = {};
    } else if (type == "sample") {
        samples.push_back(
            {countOr(event, "step", lastStep()), textOr(event, "prompt"), textOr(event, "text")});
    } else if (type == "checkpoint") {
        checkpoints.push_back(
            {countOr(event, "step", lastStep()), textOr(event, "path"), countOr(event, "bytes")});
    } else if (type == "warning") {
        warnings.push_back({lastStep(), seconds, textOr(event, "code"), textOr(event, "message"),
                            textOr(event, "hint")});
    } else if (type == "learning_rate") {
        rateChanges.push_back(
            {countOr(event, "step", lastStep()), numberOr(event, "learning_rate", kNaN)});
    } else if (type == "paused") {
        status = RunStatus::Paused;
    } else if (type == "resumed") {
        // Sent both when a new process takes a run up and after a pause; the step says what is
        // valid.
        const std::int64_t step = countOr(event, "step", lastStep());
        if (status != RunStatus::Paused || step < lastStep()) resumedAt.push_back(step);
        status = RunStatus::Running;
        failure.reset();
        summary = nullptr;
        dropStepsAfter(*this, step);
    } else if (type == "finished") {
        applyFinished(*this, event);
    } else if (type == "stopped") {
        status = RunStatus::Stopped;
        phase = {};
        if (event.contains("summary")) summary = objectOr(event, "summary");
    } else if (type == "failed") {
        status = RunStatus::Failed;
        phase = {};
        failure = Problem{textOr(event, "code", "unknown"), textOr(event, "message"),
                          textOr(event, "hint"), textOr(event, "field")};
    }
}

void RunSnapshot::applyLine(std::string_view line) {
    if (line.empty()) return;
    if (line.size() >= kMaxEventBytes) {
        ++ignoredLines;
        return;
    }
    // Steps are nearly all lines of a log: scanning them keeps reopening a long run quick.
    if (line.starts_with("{\"type\":\"step\",") || line.starts_with("{\"type\": \"step\",")) {
        FlatEvent flat;
        if (flat.scan(line) && flat.text("type") == "step") return applyStep(flat);
    }
    const Result<Json> event = parseJson(line, "the event");
    if (!event || !event->is_object()) {
        ++ignoredLines;
        return;
    }
    apply(*event);
}

Result<RunSnapshot> readRunSnapshot(const std::filesystem::path& runFolder) {
    std::error_code code;
    if (!std::filesystem::is_directory(runFolder, code))
        return Problem{"run_not_found", runFolder.string() + " is not a run folder.",
                       "List the runs with luthier-cli runs list.", runFolder.string()};
    RunSnapshot snapshot;
    snapshot.id = runFolder.filename().string();
    const std::filesystem::path config = runFolder / "run.json";
    if (std::filesystem::exists(config, code))
        if (Result<Json> document = readJsonFile(config)) snapshot.applyConfig(*document);
    EventFollower follower(runFolder / "events.jsonl");
    while (follower.follow(snapshot)) {
    }
    return snapshot;
}

EventFollower::Batch EventFollower::read(std::size_t maxBytes) {
    Batch batch;
    std::uint64_t size = 0;
    const std::uint64_t inode = inodeOf(m_log, size);
    if (inode == 0) {
        batch.restarted = m_position > 0;
        m_position = m_inode = 0;
        m_lastLine.clear();
        return batch;
    }
    std::ifstream stream(m_log, std::ios::binary);
    bool isSame = m_position == 0 || (inode == m_inode && size >= m_position);
    if (isSame && m_position > 0 && size > m_position) {
        std::string before(m_lastLine.size(), '\0');
        stream.seekg(static_cast<std::streamoff>(m_position - before.size() - 1));
        stream.read(before.data(), static_cast<std::streamsize>(before.size()));
        isSame = before == m_lastLine;
    }
    if (!isSame) {
        batch.restarted = true;
        m_position = 0;
        m_lastLine.clear();
    }
    m_inode = inode;
    if (size == m_position || !stream) return batch;

    std::string text(static_cast<std::size_t>(std::min<std::uint64_t>(size - m_position, maxBytes)),
                     '\0');
    stream.clear();
    stream.seekg(static_cast<std::streamoff>(m_position));
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    // A line longer than the limit: read on to its end, so that progress is made.
    while (text.find('\n') == std::string::npos && m_position + text.size() < size) {
        std::string extra(std::min<std::uint64_t>(64u << 10, size - m_position - text.size()),
                          '\0');
        stream.read(extra.data(), static_cast<std::streamsize>(extra.size()));
        if (stream.gcount() <= 0) break;
        text.append(extra.data(), static_cast<std::size_t>(stream.gcount()));
    }
    // What came behind that line is left for the next call.
    if (const std::size_t end = text.find('\n'); text.size() > maxBytes && end != std::string::npos)
        text.resize(std::max(maxBytes, end + 1));
    std::size_t begin = 0;
    for (std::size_t end = text.find('\n'); end != std::string::npos;
         end = text.find('\n', begin)) {
        batch.lines.emplace_back(text, begin, end - begin);
        begin = end + 1;
    }
    m_position += begin;
    if (!batch.lines.empty()) {
        m_lastLine = batch.lines.back();
        batch.more = m_position < size && text.size() >= maxBytes;
    }
    return batch;
}

bool EventFollower::follow(RunSnapshot& snapshot, std::size_t maxBytes) {
    const Batch batch = read(maxBytes);
    if (batch.restarted) {
        RunSnapshot fresh;
        fresh.id = snapshot.id;
        fresh.applyConfig(snapshot.config);
        snapshot = std::move(fresh);
    }
    for (const std::string& line : batch.lines) snapshot.applyLine(line);
    return batch.restarted || !batch.lines.empty();
}

}  // namespace luthier
