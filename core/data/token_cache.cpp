// SPDX-License-Identifier: Apache-2.0
#include "data/token_cache.h"

#include "io/atomic.h"
#include "io/sha256.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <type_traits>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMagic{"LTHTOK1\n"};
constexpr std::size_t kHeadBytes = 16;
constexpr std::uintmax_t kWorthBytes = 1 << 20;
constexpr std::size_t kLargestBytes = std::size_t{1} << 30;
constexpr const char* kExtension = ".tokens";

/// FNV-1a over words of eight bytes: it finds damage, at the speed of memory.
std::uint64_t checksumOf(std::string_view bytes) {
    std::uint64_t hash = 1469598103934665603ull ^ bytes.size();
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
        hash = (hash ^ word) * 1099511628211ull;
        hash ^= hash >> 29;
    }
    return hash;
}

/// Stretches of `labels` that repeat the ids where all others carry no loss, as {begin, end, …}; nullopt where labels are of another kind.
std::optional<std::vector<std::uint32_t>> learnedStretches(const DataRow& row) {
    if (row.labels.size() != row.ids.size()) return std::nullopt;
    std::vector<std::uint32_t> ends;
    bool isLearned = false;
    for (std::size_t i = 0; i < row.labels.size(); ++i) {
        if (row.labels[i] != kIgnoredLabel && row.labels[i] != row.ids[i]) return std::nullopt;
        if ((row.labels[i] != kIgnoredLabel) == isLearned) continue;
        isLearned = !isLearned;
        ends.push_back(static_cast<std::uint32_t>(i));
    }
    if (isLearned) ends.push_back(static_cast<std::uint32_t>(row.labels.size()));
    return ends;
}

class Writer final {
public:
    template <typename T>
    void number(T value) {
        static_assert(std::is_trivially_copyable_v<T>);
        m_bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    template <typename T>
    void list(const std::vector<T>& values) {
        number<std::uint64_t>(values.size());
        m_bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    }
    void text(const std::string& text) {
        number<std::uint64_t>(text.size());
        m_bytes += text;
    }
    std::string take() { return std::move(m_bytes); }
    std::size_t size() const { return m_bytes.size(); }

private:
    std::string m_bytes;
};

/// Reading past the end gives zeros and isWhole() false.
class Reader final {
public:
    explicit Reader(std::string_view bytes) : m_bytes(bytes) {}

    template <typename T>
    T number() {
        T value{};
        copy(&value, sizeof value);
        return value;
    }
    template <typename T>
    std::vector<T> list() {
        const auto count = number<std::uint64_t>();
        if (count > m_bytes.size() / sizeof(T)) {
            m_isWhole = false;
            return {};
        }
        std::vector<T> values(count);
        copy(values.data(), count * sizeof(T));
        return values;
    }
    std::string text() {
        const std::vector<char> letters = list<char>();
        return {letters.begin(), letters.end()};
    }
    bool isWhole() const { return m_isWhole; }
    bool isAtEnd() const { return m_isWhole && m_bytes.empty(); }

private:
    void copy(void* to, std::size_t size) {
        if (size > m_bytes.size()) {
            m_isWhole = false;
            return;
        }
        if (size > 0) std::memcpy(to, m_bytes.data(), size);
        m_bytes.remove_prefix(size);
    }

    std::string_view m_bytes;
    bool m_isWhole = true;
};

void write(Writer& out, const DataRow& row) {
    out.list(row.ids);
    const auto stretches = learnedStretches(row);
    out.number<std::uint8_t>(stretches ? 1 : 0);
    if (stretches) out.list(*stretches);
    else out.list(row.labels);
    out.list(row.types);
    out.list(row.cut);
    out.number(row.classIndex);
    out.list(row.targets);
    out.number<std::uint64_t>(row.choices.size());
    for (const std::vector<std::int32_t>& choice : row.choices) out.list(choice);
    out.number(row.answer);
    out.number(row.sourceRow);
    out.number(row.cutTokens);
    out.number<std::uint8_t>(row.isTruncated ? 1 : 0);
}

DataRow readRow(Reader& in) {
    DataRow row;
    row.ids = in.list<std::int32_t>();
    if (in.number<std::uint8_t>() == 0) {
        row.labels = in.list<std::int32_t>();
    } else {
        row.labels.assign(row.ids.size(), kIgnoredLabel);
        const auto ends = in.list<std::uint32_t>();
        for (std::size_t i = 0; i + 1 < ends.size(); i += 2)
            for (std::size_t at = ends[i]; at < std::min<std::size_t>(ends[i + 1], row.ids.size()); ++at) row.labels[at] = row.ids[at];
    }
    row.types = in.list<std::int32_t>();
    row.cut = in.list<std::int32_t>();
    row.classIndex = in.number<std::int32_t>();
    row.targets = in.list<float>();
    for (auto left = in.number<std::uint64_t>(); left > 0 && in.isWhole(); --left) row.choices.push_back(in.list<std::int32_t>());
    row.answer = in.number<std::int32_t>();
    row.sourceRow = in.number<std::int64_t>();
    row.cutTokens = in.number<std::int64_t>();
    row.isTruncated = in.number<std::uint8_t>() != 0;
    return row;
}

/// What is not rows, as JSON.
Json aboutOf(const Dataset& dataset) {
    const DataFacts& facts = dataset.facts;
    Json problems = Json::array();
    for (const DataProblem& problem : dataset.problems) problems.push_back({static_cast<int>(problem.level), problem.code, problem.message, problem.hint, problem.rows});
    return {{"rows", facts.rows}, {"tokens", facts.tokens}, {"supervised_tokens", facts.supervisedTokens}, {"truncated_rows", facts.truncatedRows}, {"skipped_rows", facts.skippedRows},
            {"longest", facts.longest}, {"format", facts.format}, {"mapping", facts.mapping}, {"classes", dataset.classNames}, {"problems", problems}, {"max_length", dataset.maxLength},
            {"task", static_cast<int>(dataset.task)}};
}

void takeAbout(const Json& about, Dataset& dataset) {
    dataset.facts = {about.at("rows"), about.at("tokens"), about.at("supervised_tokens"), about.at("truncated_rows"), about.at("skipped_rows"), about.at("longest"), about.at("format"), about.at("mapping")};
    dataset.classNames = about.at("classes").get<std::vector<std::string>>();
    for (const Json& problem : about.at("problems"))
        dataset.problems.push_back({static_cast<DataLevel>(problem.at(0).get<int>()), problem.at(1), problem.at(2), problem.at(3), problem.at(4).get<std::vector<std::int64_t>>()});
    dataset.maxLength = about.at("max_length");
    dataset.task = static_cast<RowTask>(about.at("task").get<int>());
}

std::string bytesOf(const std::string& key, const Dataset& dataset) {
    Writer out;
    for (const char c : kMagic) out.number(c);
    out.number<std::uint64_t>(0);  // the checksum's place
    out.text(key);
    out.text(dumpLine(aboutOf(dataset)));
    out.list(dataset.lengths);
    for (const auto* rows : {&dataset.train, &dataset.eval}) {
        out.number<std::uint64_t>(rows->size());
        for (const DataRow& row : *rows) {
            write(out, row);
            if (out.size() > kLargestBytes) return {};
        }
    }
    std::string bytes = out.take();
    const std::uint64_t checksum = checksumOf(std::string_view(bytes).substr(kHeadBytes));
    std::memcpy(bytes.data() + kMagic.size(), &checksum, sizeof checksum);
    return bytes;
}

std::optional<Dataset> datasetOf(std::string_view bytes, const std::string& key) {
    if (bytes.size() < kHeadBytes || !bytes.starts_with(kMagic)) return std::nullopt;
    std::uint64_t checksum = 0;
    std::memcpy(&checksum, bytes.data() + kMagic.size(), sizeof checksum);
    if (checksumOf(bytes.substr(kHeadBytes)) != checksum) return std::nullopt;
    Reader in(bytes.substr(kHeadBytes));
    if (in.text() != key) return std::nullopt;
    Dataset dataset;
    const Result<Json> about = parseJson(in.text(), "cache");
    if (!about) return std::nullopt;
    takeAbout(*about, dataset);
    dataset.lengths = in.list<std::uint32_t>();
    for (auto* rows : {&dataset.train, &dataset.eval})
        for (auto left = in.number<std::uint64_t>(); left > 0 && in.isWhole(); --left) rows->push_back(readRow(in));
    if (!in.isAtEnd()) return std::nullopt;
    return dataset;
}

std::string readWhole(const fs::path& file) {
    std::error_code code;
    const std::uintmax_t size = fs::file_size(file, code);
    if (code || size > 2 * kLargestBytes) return {};
    std::string bytes(size, '\0');
    if (!std::ifstream(file, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(size))) return {};
    return bytes;
}

/// Another build may map rows otherwise.
std::string programOf() {
    std::error_code code;
    const fs::path self = fs::read_symlink("/proc/self/exe", code);
    return std::to_string(fs::file_size(self, code)) + ":" + std::to_string(fs::last_write_time(self, code).time_since_epoch().count());
}

std::vector<fs::path> allOf(const DataFiles& files) {
    std::vector<fs::path> all = files.train;
    all.insert(all.end(), files.eval.begin(), files.eval.end());
    return all;
}

}  // namespace

std::optional<TokenCache> TokenCache::ofUser() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    if (cache != nullptr && *cache == '/') return TokenCache(fs::path(cache) / "luthier/tokens");
    if (home != nullptr && *home == '/') return TokenCache(fs::path(home) / ".cache/luthier/tokens");
    return std::nullopt;
}

std::optional<Dataset> TokenCache::find(const std::string& key) const {
    const fs::path file = m_folder / (key + kExtension);
    std::error_code code;
    if (!fs::exists(file, code)) return std::nullopt;
    std::optional<Dataset> dataset = datasetOf(readWhole(file), key);
    if (dataset) fs::last_write_time(file, fs::file_time_type::clock::now(), code);
    else fs::remove(file, code);
    return dataset;
}

void TokenCache::store(const std::string& key, const Dataset& dataset) const {
    std::error_code code;
    fs::create_directories(m_folder, code);
    fs::permissions(m_folder, fs::perms::owner_all, code);
    const std::string bytes = bytesOf(key, dataset);
    if (bytes.empty() || static_cast<std::int64_t>(bytes.size()) > m_limitBytes / 2) return;
    static_cast<void>(writeFileAtomically(m_folder / (key + kExtension), bytes));
    makeRoom();
}

void TokenCache::makeRoom() const {
    struct Entry {
        fs::file_time_type used;
        fs::path path;
        std::int64_t bytes;
    };
    std::vector<Entry> entries;
    std::int64_t total = 0;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(m_folder, code)) {
        // What a process that was killed left half-written lies under a hidden name.
        const bool isOld = fs::file_time_type::clock::now() - entry.last_write_time(code) > std::chrono::hours(24);
        if (entry.path().extension() != kExtension && isOld && entry.is_regular_file(code)) fs::remove(entry.path(), code);
        if (entry.path().extension() != kExtension) continue;
        entries.push_back({entry.last_write_time(code), entry.path(), static_cast<std::int64_t>(entry.file_size(code))});
        total += entries.back().bytes;
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
    for (const Entry& entry : entries) {
        if (total <= m_limitBytes) break;
        if (fs::remove(entry.path, code)) total -= entry.bytes;
    }
}

std::string tokenCacheKey(const RunConfig& config, const DataFiles& files, const TextEncoder& encoder, const Dataset::Progress& progress) {
    std::error_code code;
    std::uintmax_t total = 0;
    for (const fs::path& file : allOf(files)) total += fs::file_size(file, code);
    if (code || total < kWorthBytes) return {};
    const std::string fingerprint = encoder.fingerprint();
    if (fingerprint.empty()) return {};
    Json hashes = Json::array();
    std::uint64_t before = 0;
    for (const fs::path& file : allOf(files)) {
        const Result<std::string> hash = sha256OfFile(file, [&](std::uint64_t done, std::uint64_t) {
            if (progress) progress("hashing", static_cast<std::int64_t>(before + done), static_cast<std::int64_t>(total));
            return true;
        });
        if (!hash) return {};
        before += fs::file_size(file, code);
        hashes.push_back({file.string(), *hash});
        if (const Result<std::string> info = sha256OfFile(file.parent_path() / "dataset_info.json", {})) hashes.push_back(*info);  // names of classes
    }
    const Json key{{"program", programOf()}, {"tokenizer", fingerprint}, {"files", hashes}, {"data", config.data()}, {"task", config.get<std::string>("model.task")},
                   {"seed", config.get<std::uint64_t>("train.seed")}};
    return sha256(dumpLine(key));
}

std::string stateOf(const DataFiles& files) {
    std::string state;
    std::error_code code;
    for (const fs::path& file : allOf(files)) state += std::to_string(fs::file_size(file, code)) + ":" + std::to_string(fs::last_write_time(file, code).time_since_epoch().count()) + "|";
    return state;
}

}  // namespace luthier
