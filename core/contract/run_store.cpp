// SPDX-License-Identifier: Apache-2.0
#include "contract/run_store.h"

#include "contract/home_folder.h"
#include "contract/number_text.h"
#include "contract/schema.h"
#include "contract/system_error.h"

#include <sqlite3.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kIndexVersion = 2;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// Size and time of every file the facts of a run come from: another stamp, other facts.
std::string stampOf(const RunFolder& folder) {
    std::string stamp;
    for (const fs::path& path : {folder.events(), folder.config(), folder.notes(), folder.summary(),
                                 folder.adapter(), folder.model()}) {
        struct stat facts{};
        if (::stat(path.c_str(), &facts) != 0) {
            stamp += "- ";
            continue;
        }
        stamp += std::to_string(facts.st_size) + "." + std::to_string(facts.st_mtim.tv_sec) + "." +
                 std::to_string(facts.st_mtim.tv_nsec) + " ";
    }
    return stamp;
}

Json readNotes(const RunFolder& folder) {
    std::error_code code;
    if (!fs::exists(folder.notes(), code)) return Json::object();
    Result<Json> notes = readJsonFile(folder.notes(), 1u << 20);
    return notes && notes->is_object() ? *notes : Json::object();
}

Problem writeProblem(const fs::path& path) {
    const int error = errno;
    return Problem{"write_failed",
                   path.string() + " could not be written: " + systemText(error) + ".",
                   remedyFor(error, "Check free space and permissions of the workspace."),
                   path.string(), ExitCode::RunFailed};
}

/// false where the folder cannot be opened or synced, as another user's cannot.
bool syncFolder(const fs::path& path) {
    const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return false;
    const bool isDone = ::fsync(folder) == 0;
    ::close(folder);
    return isDone;
}

/// Whole or not at all: temporary file beside it, synced, then renamed over it.
Result<void> writeWhole(const fs::path& path, const std::string& text) {
    const fs::path temporary = path.string() + ".part";
    const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) return writeProblem(path);
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t count = ::write(file, text.data() + written, text.size() - written);
        if (count <= 0) break;
        written += static_cast<std::size_t>(count);
    }
    const bool isSynced = written == text.size() && ::fsync(file) == 0;
    if (::close(file) != 0 || !isSynced || ::rename(temporary.c_str(), path.c_str()) != 0) {
        const Problem problem = writeProblem(path);
        ::unlink(temporary.c_str());
        return problem;
    }
    if (const int folder = ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        folder >= 0) {
        ::fsync(folder);
        ::close(folder);
    }
    return {};
}

std::int64_t tensorBytes(const fs::path& folder) {
    std::int64_t bytes = 0;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder, code))
        if (entry.path().extension() == ".safetensors")
            bytes += static_cast<std::int64_t>(entry.file_size(code));
    return bytes;
}

/// The time in front of a run id, or 0.
double timeOfId(const std::string& id) {
    std::tm time{};
    if (std::sscanf(id.c_str(), "%4d%2d%2d-%2d%2d%2d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                    &time.tm_hour, &time.tm_min, &time.tm_sec) != 6)
        return 0;
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    return static_cast<double>(::timegm(&time));
}

bool isRunName(const std::string& text) {
    // No path, no option of a command, no order to a terminal.
    return !text.empty() && text.front() != '.' && text.front() != '-' && text.size() < 200 &&
           text.find('/') == std::string::npos && printable(text) == text &&
           text.find('\t') == std::string::npos;
}

/// Means of the finite values in `count` equal stretches, or fewer; a stretch without any is left
/// out.
std::vector<float> stretchMeans(const std::vector<double>& values, std::size_t count) {
    std::vector<float> means;
    count = std::min(count, values.size());
    for (std::size_t i = 0; i < count; ++i) {
        double sum = 0;
        int finite = 0;
        for (std::size_t k = i * values.size() / count; k < (i + 1) * values.size() / count; ++k) {
            if (!std::isfinite(values[k])) continue;
            sum += values[k];
            ++finite;
        }
        if (finite > 0) means.push_back(static_cast<float>(sum / finite));
    }
    return means;
}

RunInfo infoOf(const RunFolder& folder, const RunSnapshot& run) {
    RunInfo info;
    info.id = folder.id();
    info.folder = folder.path;
    info.name = run.name.empty() ? info.id : run.name;
    info.group = run.group;
    info.status = run.status;
    info.method = run.method;
    info.model = fs::path(run.modelPath).lexically_normal().filename().string();
    info.created = run.started > 0 ? run.started : timeOfId(info.id);
    info.steps = run.lastStep();
    info.maxSteps = run.maxSteps;
    info.loss = run.steps.loss.empty() ? kNaN : run.steps.loss.back();
    info.evalLoss = run.evals.empty() ? kNaN : run.evals.back().loss;
    info.bestEvalLoss = kNaN;
    if (const auto best = run.bestEval()) {
        info.bestEvalLoss = run.evals[*best].loss;
        info.bestEvalStep = run.evals[*best].step;
    }
    info.trainable = run.trainable;
    info.total = run.trainable + run.frozen;
    info.adapterBytes = tensorBytes(folder.adapter());
    if (info.adapterBytes == 0) info.adapterBytes = tensorBytes(folder.model());
    info.seconds = run.elapsedSeconds();
    info.tokensPerSecond = run.recentTokensPerSecond();
    info.peakBytes = run.peakBytes();
    const Json notes = readNotes(folder);
    if (notes.contains("note") && notes["note"].is_string()) info.note = notes["note"];
    if (notes.contains("name") && notes["name"].is_string() && notes["name"] != "")
        info.name = notes["name"];
    if (run.failure) info.failure = run.failure->message;
    info.lossCurve = stretchMeans(run.steps.loss, 80);
    if (notes.contains("tags") && notes["tags"].is_array())
        for (const Json& tag : notes["tags"])
            if (tag.is_string()) info.tags.push_back(tag);
    return info;
}

/// A worker that died can no longer say so.
RunStatus livingStatus(RunStatus status, const RunFolder& folder) {
    // Queued as well: a folder whose process ended before its first event waits for nobody.
    const bool shouldLive =
        status == RunStatus::Running || status == RunStatus::Paused || status == RunStatus::Queued;
    return shouldLive && !folder.isLocked() ? RunStatus::Interrupted : status;
}

RunInfo infoFromJson(const Json& json) {
    RunInfo info;
    info.id = json.value("id", "");
    info.name = json.value("name", "");
    info.group = json.value("group", "");
    info.status = runStatusFromName(json.value("status", ""));
    info.method = json.value("method", "");
    info.model = json.value("model", "");
    info.created = json.value("created", 0.0);
    info.steps = json.value("steps", std::int64_t{0});
    info.maxSteps = json.value("max_steps", std::int64_t{0});
    info.loss = numberOr(json, "loss", kNaN);
    info.evalLoss = numberOr(json, "eval_loss", kNaN);
    info.bestEvalLoss = numberOr(json, "best_eval_loss", kNaN);
    info.bestEvalStep = json.value("best_eval_step", std::int64_t{0});
    info.trainable = json.value("trainable", std::int64_t{0});
    info.total = json.value("total", std::int64_t{0});
    info.adapterBytes = json.value("adapter_bytes", std::int64_t{0});
    info.seconds = json.value("seconds", 0.0);
    info.tokensPerSecond = json.value("tokens_per_second", 0.0);
    info.peakBytes = json.value("peak_bytes", std::int64_t{0});
    info.tags = json.value("tags", std::vector<std::string>{});
    info.note = json.value("note", "");
    info.failure = json.value("failure", "");
    info.lossCurve = json.value("loss_curve", std::vector<float>{});
    info.folder = json.value("folder", "");
    return info;
}

void flatten(const Json& value, const std::string& prefix, std::vector<std::string>& order,
             std::map<std::string, Json>& flat) {
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, child] : value.items())
            flatten(child, prefix.empty() ? key : prefix + "." + key, order, flat);
        return;
    }
    if (std::find(order.begin(), order.end(), prefix) == order.end()) order.push_back(prefix);
    flat[prefix] = value;
}

Json numbers(const std::vector<double>& values) {
    Json list = Json::array();
    for (const double value : values) list.push_back(std::isfinite(value) ? Json(value) : Json());
    return list;
}

}  // namespace

// Workspace and run folder

Workspace Workspace::choose(const fs::path& argument) {
    if (!argument.empty()) return {fs::absolute(argument).lexically_normal()};
    if (const std::string own = environment("LUTHIER_WORKSPACE"); !own.empty())
        return {fs::absolute(own).lexically_normal()};
    if (const std::string data = environment("XDG_DATA_HOME"); !data.empty() && data.front() == '/')
        return {fs::path(data) / "luthier"};
    const fs::path home = homeFolder();
    return {home.empty() ? fs::absolute("luthier-runs") : home / ".local/share/luthier"};
}

fs::path RunFolder::checkpoint(std::int64_t step) const {
    char text[32];
    std::snprintf(text, sizeof text, "step-%06lld", static_cast<long long>(step));
    return checkpoints() / text;
}

std::vector<std::int64_t> RunFolder::checkpointSteps() const {
    std::vector<std::int64_t> steps;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(checkpoints(), code)) {
        const std::string text = entry.path().filename().string();
        if (text.rfind("step-", 0) != 0 || text.size() < 6 || text.size() > 24 ||
            !entry.is_directory(code))
            continue;
        if (!std::all_of(text.begin() + 5, text.end(), [](char c) { return c >= '0' && c <= '9'; }))
            continue;
        std::int64_t step = 0;  // a number beyond 64 bits is no step of ours
        if (std::from_chars(text.data() + 5, text.data() + text.size(), step).ec == std::errc())
            steps.push_back(step);
    }
    std::sort(steps.begin(), steps.end());
    return steps;
}

bool RunFolder::isLocked() const {
    const int file = ::open(lock().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    // Shared, so that two readers do not take each other for a worker.
    const bool isFree = ::flock(file, LOCK_SH | LOCK_NB) == 0;
    ::close(file);
    return !isFree;
}

Result<RunLock> RunLock::acquire(const RunFolder& folder) {
    const int file = ::open(folder.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return writeProblem(folder.lock());
    // isLocked() of another process holds the lock for a moment; only a worker holds it for longer.
    for (int attempt = 0; attempt < 20; ++attempt) {
        if (::flock(file, LOCK_EX | LOCK_NB) == 0) return RunLock(file);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::close(file);
    return Problem{"run_locked", "Run " + folder.id() + " is being trained by another process.",
                   "Stop that process first, or wait until it ends.", folder.path.string(),
                   ExitCode::BadUsage};
}

RunLock::RunLock(RunLock&& other) noexcept : m_descriptor(std::exchange(other.m_descriptor, -1)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
    std::swap(m_descriptor, other.m_descriptor);
    return *this;
}

RunLock::~RunLock() {
    if (m_descriptor >= 0) ::close(m_descriptor);
}

std::string makeRunId(const std::string& name, double timeSeconds) {
    const std::time_t time = static_cast<std::time_t>(timeSeconds);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
    std::string plain;
    for (const char c : name.substr(0, 60)) {
        const bool isPlain =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
        if (isPlain)
            plain += c;
        else if (c >= 'A' && c <= 'Z')
            plain += static_cast<char>(c - 'A' + 'a');
        else if (!plain.empty() && plain.back() != '-')
            plain += '-';
    }
    while (!plain.empty() && plain.back() == '-') plain.pop_back();
    char suffix[8];
    std::snprintf(suffix, sizeof suffix, "%04x", std::random_device{}() & 0xffffu);
    return std::string(stamp) + "-" + (plain.empty() ? "run" : plain) + "-" + suffix;
}

Json toJson(const RunInfo& info) {
    Json json{{"id", info.id},
              {"name", info.name},
              {"group", info.group},
              {"status", runStatusName(info.status)},
              {"method", info.method},
              {"model", info.model},
              {"created", info.created},
              {"steps", info.steps},
              {"max_steps", info.maxSteps}};
    setNumber(json, "loss", info.loss);
    setNumber(json, "eval_loss", info.evalLoss);
    setNumber(json, "best_eval_loss", info.bestEvalLoss);
    json["best_eval_step"] = info.bestEvalStep;
    json["trainable"] = info.trainable;
    json["total"] = info.total;
    json["adapter_bytes"] = info.adapterBytes;
    json["seconds"] = info.seconds;
    json["tokens_per_second"] = info.tokensPerSecond;
    json["peak_bytes"] = info.peakBytes;
    json["tags"] = info.tags;
    json["note"] = info.note;
    if (!info.failure.empty()) json["failure"] = info.failure;
    json["folder"] = info.folder.string();
    return json;
}

RunInfo readRunInfo(const RunFolder& folder) {
    Result<RunSnapshot> snapshot = readRunSnapshot(folder.path);
    return readRunInfo(folder, snapshot ? *snapshot : RunSnapshot{});
}

RunInfo readRunInfo(const RunFolder& folder, const RunSnapshot& snapshot) {
    RunInfo info = infoOf(folder, snapshot);
    info.status = livingStatus(info.status, folder);
    return info;
}

std::vector<ConfigDifference> compareConfigs(const std::vector<Json>& documents) {
    static const std::set<std::string> notSettings{"name", "versions", "hardware", "inputs"};
    std::vector<std::string> order;
    std::vector<std::map<std::string, Json>> flats(documents.size());
    for (std::size_t i = 0; i < documents.size(); ++i) {
        if (!documents[i].is_object()) continue;
        for (const auto& [key, value] : documents[i].items())
            if (!notSettings.contains(key)) flatten(value, key, order, flats[i]);
    }
    std::vector<ConfigDifference> differences;
    for (const std::string& key : order) {
        ConfigDifference difference{key, {}};
        bool isSame = true;
        for (const auto& flat : flats) {
            const auto found = flat.find(key);
            difference.values.push_back(found == flat.end() ? Json() : found->second);
            isSame = isSame && difference.values.back() == difference.values.front();
        }
        if (!isSame) differences.push_back(std::move(difference));
    }
    return differences;
}

// The index: one row a run {id, stamp, facts as JSON}. Every failure of SQLite is answered by
// reading folders instead.

class RunStore::Index final {
public:
    explicit Index(fs::path path) : m_path(std::move(path)) {
        if (open()) return;
        discard();
        open();
    }
    ~Index() { close(); }

    struct Row {
        std::string stamp;
        std::string facts;
    };

    std::map<std::string, Row> rows() {
        std::map<std::string, Row> result;
        sqlite3_stmt* statement = nullptr;
        if (m_database == nullptr ||
            sqlite3_prepare_v2(m_database, "SELECT id, stamp, facts FROM runs", -1, &statement,
                               nullptr) != SQLITE_OK)
            return result;
        int state = SQLITE_ROW;
        while ((state = sqlite3_step(statement)) == SQLITE_ROW)
            result[text(statement, 0)] = {text(statement, 1), text(statement, 2)};
        sqlite3_finalize(statement);
        if (state == SQLITE_DONE) return result;
        discard();
        open();
        return {};
    }

    void begin() { run("BEGIN IMMEDIATE"); }
    void commit() {
        if (!run("COMMIT")) run("ROLLBACK");
    }

    void put(const std::string& id, const Row& row) {
        execute("INSERT OR REPLACE INTO runs(id, stamp, facts) VALUES(?1, ?2, ?3)",
                {id, row.stamp, row.facts});
    }
    void erase(const std::string& id) { execute("DELETE FROM runs WHERE id = ?1", {id}); }

private:
    static std::string text(sqlite3_stmt* statement, int column) {
        const auto* bytes = sqlite3_column_text(statement, column);
        return bytes == nullptr ? "" : reinterpret_cast<const char*>(bytes);
    }

    bool run(const char* sql) {
        return m_database != nullptr &&
               sqlite3_exec(m_database, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
    }

    void execute(const char* sql, const std::vector<std::string>& values) {
        sqlite3_stmt* statement = nullptr;
        if (m_database == nullptr ||
            sqlite3_prepare_v2(m_database, sql, -1, &statement, nullptr) != SQLITE_OK)
            return;
        for (std::size_t i = 0; i < values.size(); ++i)
            sqlite3_bind_text(statement, static_cast<int>(i) + 1, values[i].c_str(),
                              static_cast<int>(values[i].size()), SQLITE_TRANSIENT);
        sqlite3_step(statement);
        sqlite3_finalize(statement);
    }

    /// What PRAGMA `name` answers, as text.
    std::string pragma(const char* sql) {
        sqlite3_stmt* statement = nullptr;
        if (sqlite3_prepare_v2(m_database, sql, -1, &statement, nullptr) != SQLITE_OK) return "";
        const std::string answer = sqlite3_step(statement) == SQLITE_ROW ? text(statement, 0) : "";
        sqlite3_finalize(statement);
        return answer;
    }

    bool open() {
        if (sqlite3_open_v2(m_path.c_str(), &m_database,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                            nullptr) != SQLITE_OK) {
            close();
            return false;
        }
        sqlite3_busy_timeout(m_database, 5000);
        const bool isSound = run("PRAGMA journal_mode=WAL") && run("PRAGMA synchronous=FULL") &&
                             run("PRAGMA trusted_schema=OFF") &&
                             pragma("PRAGMA quick_check(1)") == "ok";
        const std::string version = std::to_string(kIndexVersion);
        const std::string found = isSound ? pragma("PRAGMA user_version") : "";
        if (isSound && found == version) return true;
        const bool isNew = isSound && found == "0";
        if (isNew &&
            run("CREATE TABLE IF NOT EXISTS runs(id TEXT PRIMARY KEY, stamp TEXT NOT NULL, facts "
                "TEXT NOT NULL) WITHOUT ROWID") &&
            run(("PRAGMA user_version=" + version).c_str()))
            return true;
        close();
        return false;
    }

    void close() {
        sqlite3_close(m_database);
        m_database = nullptr;
    }

    void discard() {
        close();
        std::error_code code;
        for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(m_path.string() + suffix, code);
    }

    fs::path m_path;
    sqlite3* m_database = nullptr;

public:
    /// Runs that were not over when last listed: their logs are followed instead of read anew.
    struct Live {
        EventFollower follower;
        RunSnapshot snapshot;
    };
    std::map<std::string, Live> live;
};

RunStore::RunStore(Workspace workspace) : m_workspace(std::move(workspace)) {}
RunStore::RunStore(RunStore&&) noexcept = default;
RunStore& RunStore::operator=(RunStore&&) noexcept = default;
RunStore::~RunStore() = default;

Result<RunFolder> RunStore::create(const std::string& name, const std::string& id) {
    if (!id.empty() && !isRunName(id))
        return Problem{"bad_run_id", "\"" + printable(id) + "\" cannot be a run id.",
                       "Use letters, digits, dots and dashes.", "--run-id", ExitCode::BadUsage};
    std::error_code code;
    fs::create_directories(m_workspace.runs(), code);
    for (int attempt = 0; attempt < 8; ++attempt) {
        const double now = static_cast<double>(std::time(nullptr));
        const RunFolder folder{m_workspace.runs() / (id.empty() ? makeRunId(name, now) : id)};
        if (::mkdir(folder.path.c_str(), 0700) == 0) {
            // Every new name on the way is durable before anything in the run is told to be.
            for (fs::path each = fs::absolute(m_workspace.runs(), code);
                 !each.empty() && each != each.root_path(); each = each.parent_path())
                if (!syncFolder(each)) break;
            return folder;
        }
        if (errno != EEXIST) return writeProblem(folder.path);
        if (!id.empty())
            return Problem{"run_exists", "A run with the id " + id + " exists already.",
                           "Choose another id, or resume it with --resume.", "--run-id",
                           ExitCode::BadUsage};
    }
    return writeProblem(m_workspace.runs());
}

Result<std::vector<RunInfo>> RunStore::list() {
    std::vector<RunInfo> infos;
    std::error_code code;
    if (!fs::is_directory(m_workspace.runs(), code)) return infos;
    if (!m_index) m_index = std::make_unique<Index>(m_workspace.index());

    std::map<std::string, Index::Row> known = m_index->rows();
    std::vector<std::pair<std::string, Index::Row>> changed;
    for (const auto& entry : fs::directory_iterator(m_workspace.runs(), code)) {
        const RunFolder folder{entry.path()};
        if (!isRunName(folder.id()) || !entry.is_directory(code)) continue;
        const std::string stamp = stampOf(folder);
        const auto row = known.find(folder.id());
        RunInfo info;
        const Result<Json> facts =
            row == known.end() ? Result<Json>(Json()) : parseJson(row->second.facts, "the index");
        if (row != known.end() && row->second.stamp == stamp && facts && facts->is_object()) {
            info = infoFromJson(*facts);
            info.folder = folder.path;
        } else {
            auto [live, isNew] = m_index->live.try_emplace(
                folder.id(), Index::Live{EventFollower(folder.events()), {}});
            RunSnapshot& snapshot = live->second.snapshot;
            if (Result<Json> config = readJsonFile(folder.config());
                config && snapshot.config.is_null())
                snapshot.applyConfig(*config);
            while (live->second.follower.follow(snapshot)) {
            }
            info = infoOf(folder, snapshot);
            if (snapshot.isOver()) m_index->live.erase(live);
            Json newFacts = toJson(info);
            newFacts["loss_curve"] = info.lossCurve;
            changed.emplace_back(folder.id(), Index::Row{stamp, dumpLine(newFacts)});
        }
        known.erase(folder.id());
        info.status = livingStatus(info.status, folder);
        infos.push_back(std::move(info));
    }
    if (!changed.empty() || !known.empty()) {
        m_index->begin();
        for (const auto& [id, row] : changed) m_index->put(id, row);
        for (const auto& [id, row] : known) m_index->erase(id);
        m_index->commit();
    }
    std::sort(infos.begin(), infos.end(), [](const RunInfo& a, const RunInfo& b) {
        return a.created != b.created ? a.created > b.created : a.id > b.id;
    });
    return infos;
}

Result<RunFolder> RunStore::find(const std::string& text) {
    std::error_code code;
    if (isRunName(text) && fs::is_directory(m_workspace.runs() / text, code))
        return RunFolder{m_workspace.runs() / text};
    Result<std::vector<RunInfo>> runs = list();
    if (!runs) return runs.problems();
    if (text == "latest" && !runs->empty()) return RunFolder{runs->front().folder};

    std::vector<const RunInfo*> matches;
    for (const RunInfo& run : *runs)
        if (!text.empty() && run.id.rfind(text, 0) == 0) matches.push_back(&run);
    if (matches.empty())
        for (const RunInfo& run : *runs)
            if (run.name == text) matches.push_back(&run);
    if (matches.size() == 1) return RunFolder{matches.front()->folder};
    if (matches.empty())
        return Problem{
            "run_not_found",
            "There is no run \"" + text + "\" in " + m_workspace.root.string() + ".",
            "luthier-cli runs list shows the runs; --workspace chooses another workspace.", text,
            ExitCode::BadUsage};
    std::string ids;
    for (std::size_t i = 0; i < matches.size() && i < 5; ++i)
        ids += (i == 0 ? "" : ", ") + matches[i]->id;
    return Problem{
        "run_ambiguous",
        "\"" + text + "\" fits " + std::to_string(matches.size()) + " runs: " + ids + ".",
        "Give more of the id.", text, ExitCode::BadUsage};
}

Result<void> RunStore::remove(const std::string& id) {
    Result<RunFolder> folder = find(id);
    if (!folder) return folder.problems();
    if (folder->isLocked())
        return Problem{"run_active", "Run " + folder->id() + " is still training.",
                       "Stop it first.", id, ExitCode::BadUsage};
    // Renamed first: a removal that is cut short leaves no half a run in the list.
    const fs::path gone = m_workspace.runs() / ("." + folder->id() + ".deleted");
    std::error_code code;
    fs::remove_all(gone, code);
    fs::rename(folder->path, gone, code);
    if (code) {
        errno = code.value();
        return writeProblem(folder->path);
    }
    fs::remove_all(gone, code);
    if (m_index) {
        m_index->live.erase(folder->id());
        m_index->erase(folder->id());
    }
    return {};
}

Result<void> RunStore::writeNotes(const std::string& id, const std::string& key, Json value) {
    Result<RunFolder> folder = find(id);
    if (!folder) return folder.problems();
    Json notes = readNotes(*folder);
    notes[key] = std::move(value);
    return writeWhole(folder->notes(),
                      notes.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<void> RunStore::setNote(const std::string& id, const std::string& note) {
    return writeNotes(id, "note", note);
}
Result<void> RunStore::setName(const std::string& id, const std::string& name) {
    return writeNotes(id, "name", name);
}
Result<void> RunStore::setTags(const std::string& id, const std::vector<std::string>& tags) {
    return writeNotes(id, "tags", tags);
}

Result<Json> RunStore::compare(const std::vector<std::string>& ids) {
    Json runs = Json::array();
    std::vector<Json> configs;
    for (const std::string& id : ids) {
        Result<RunFolder> folder = find(id);
        if (!folder) return folder.problems();
        Result<RunSnapshot> snapshot = readRunSnapshot(folder->path);
        if (!snapshot) return snapshot.problems();
        const RunInfo info = readRunInfo(*folder, *snapshot);
        Json run = toJson(info);
        const StepSeries& steps = snapshot->steps;
        run["series"] = Json{{"step", steps.step},
                             {"epoch", numbers(steps.epoch)},
                             {"loss", numbers(steps.loss)},
                             {"learning_rate", numbers(steps.learningRate)},
                             {"grad_norm", numbers(steps.gradNorm)},
                             {"tokens", steps.tokens},
                             {"tokens_per_second", numbers(steps.tokensPerSecond)},
                             {"seconds", numbers(steps.seconds)}};
        run["evals"] = Json::array();
        for (const EvalPoint& point : snapshot->evals) {
            Json eval{{"step", point.step}};
            setNumber(eval, "loss", point.loss);
            eval["metrics"] = point.metrics;
            run["evals"].push_back(std::move(eval));
        }
        run["summary"] = snapshot->summary;
        runs.push_back(std::move(run));
        configs.push_back(snapshot->config);
    }
    Json differences = Json::array();
    for (const ConfigDifference& difference : compareConfigs(configs))
        differences.push_back({{"key", difference.key}, {"values", difference.values}});
    return Json{{"runs", std::move(runs)}, {"differences", std::move(differences)}};
}

}  // namespace luthier
