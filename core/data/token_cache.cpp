// SPDX-License-Identifier: Apache-2.0
#include "data/token_cache.h"

#include "contract/home_folder.h"
#include "io/atomic.h"
#include "io/mapped_file.h"
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

constexpr std::string_view kMagic{"LTHTOK3\n"};
constexpr std::size_t kHeadBytes = 16;
constexpr std::uintmax_t kWorthBytes = 1 << 20;
constexpr const char* kExtension = ".tokens";

constexpr std::size_t wholeWords(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

/// FNV-1a over words of eight bytes: it finds damage, at the speed of memory.
class Checksum final {
public:
    explicit Checksum(std::uint64_t totalBytes) : m_hash(1469598103934665603ull ^ totalBytes) {}
    /// A part that is not the last is followed by zeros up to a whole word.
    void add(std::string_view bytes) {
        for (std::size_t at = 0; at < bytes.size(); at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
            m_hash = (m_hash ^ word) * 1099511628211ull;
            m_hash ^= m_hash >> 29;
        }
    }
    std::uint64_t value() const { return m_hash; }

private:
    std::uint64_t m_hash;
};

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

/// What is not rows, as JSON.
Json aboutOf(const Dataset& dataset) {
    const DataFacts& facts = dataset.facts;
    Json problems = Json::array();
    for (const DataProblem& problem : dataset.problems)
        problems.push_back({static_cast<int>(problem.level), problem.code, problem.message,
                            problem.hint, problem.rows});
    return {{"rows", facts.rows},
            {"tokens", facts.tokens},
            {"supervised_tokens", facts.supervisedTokens},
            {"truncated_rows", facts.truncatedRows},
            {"skipped_rows", facts.skippedRows},
            {"longest", facts.longest},
            {"format", facts.format},
            {"mapping", facts.mapping},
            {"classes", dataset.classNames},
            {"problems", problems},
            {"max_length", dataset.maxLength},
            {"task", static_cast<int>(dataset.task)},
            {"unusable_rows", facts.unusableRows},
            {"left_out", facts.leftOut},
            {"unused_columns", facts.unusedColumns}};
}

void takeAbout(const Json& about, Dataset& dataset) {
    dataset.facts = {about.at("rows"),
                     about.at("tokens"),
                     about.at("supervised_tokens"),
                     about.at("truncated_rows"),
                     about.at("skipped_rows"),
                     about.at("longest"),
                     about.at("format"),
                     about.at("mapping"),
                     about.at("unusable_rows"),
                     about.at("left_out").get<std::map<std::string, std::int64_t>>(),
                     about.at("unused_columns").get<std::map<std::string, std::int64_t>>()};
    dataset.classNames = about.at("classes").get<std::vector<std::string>>();
    for (const Json& problem : about.at("problems"))
        dataset.problems.push_back({static_cast<DataLevel>(problem.at(0).get<int>()), problem.at(1),
                                    problem.at(2), problem.at(3),
                                    problem.at(4).get<std::vector<std::int64_t>>()});
    dataset.maxLength = about.at("max_length");
    dataset.task = static_cast<RowTask>(about.at("task").get<int>());
}

/// All but the rows: 16 bytes of magic and checksum, then what describes them, filled up to whole
/// words.
std::string headOf(const std::string& key, const Dataset& dataset) {
    const bool isShared = dataset.eval.empty() || dataset.eval.sharesBytesWith(dataset.train);
    Writer out;
    for (const char c : kMagic) out.number(c);
    out.number<std::uint64_t>(0);  // the checksum's place
    out.number<std::uint64_t>(0);  // the head's size
    out.text(key);
    out.text(dumpLine(aboutOf(dataset)));
    out.list(dataset.lengths);
    out.list(dataset.train.begins());
    out.list(dataset.eval.begins());
    out.number<std::uint64_t>(dataset.train.bytes().size());
    out.number<std::uint64_t>(isShared ? 0 : dataset.eval.bytes().size());
    std::string head = out.take();
    head.resize(wholeWords(head.size()), '\0');
    const std::uint64_t size = head.size();
    std::memcpy(head.data() + kHeadBytes, &size, sizeof size);
    return head;
}

std::string_view lettersOf(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<Dataset> datasetOf(const std::shared_ptr<const MappedFile>& file,
                                 const std::string& key) {
    const std::span<const std::byte> all = file->bytes();
    const std::string_view bytes = lettersOf(all);
    if (bytes.size() < kHeadBytes + 8 || !bytes.starts_with(kMagic)) return std::nullopt;
    std::uint64_t checksum = 0, headSize = 0;
    std::memcpy(&checksum, bytes.data() + kMagic.size(), sizeof checksum);
    std::memcpy(&headSize, bytes.data() + kHeadBytes, sizeof headSize);
    Checksum found(bytes.size());
    found.add(bytes.substr(kHeadBytes));
    if (found.value() != checksum || headSize < kHeadBytes + 8 || headSize > bytes.size())
        return std::nullopt;
    Reader in(bytes.substr(kHeadBytes + 8, headSize - kHeadBytes - 8));
    if (in.text() != key) return std::nullopt;
    Dataset dataset;
    const Result<Json> about = parseJson(in.text(), "cache");
    if (!about) return std::nullopt;
    takeAbout(*about, dataset);
    dataset.lengths = in.list<std::uint32_t>();
    auto train = in.list<std::uint64_t>();
    auto eval = in.list<std::uint64_t>();
    const auto trainBytes = in.number<std::uint64_t>();
    const auto evalBytes = in.number<std::uint64_t>();
    if (!in.isWhole() || headSize + wholeWords(trainBytes) + evalBytes != bytes.size())
        return std::nullopt;
    const std::span<const std::byte> rows = all.subspan(headSize, trainBytes);
    dataset.train = RowList(rows, file, std::move(train));
    dataset.eval = RowList(evalBytes == 0 ? rows : all.subspan(headSize + wholeWords(trainBytes)),
                           file, std::move(eval));
    return dataset;
}

/// Another build may map rows otherwise.
std::string programOf() {
    std::error_code code;
    const fs::path self = fs::read_symlink("/proc/self/exe", code);
    return std::to_string(fs::file_size(self, code)) + ":" +
           std::to_string(fs::last_write_time(self, code).time_since_epoch().count());
}

std::vector<fs::path> allOf(const DataFiles& files) {
    std::vector<fs::path> all = files.train;
    all.insert(all.end(), files.eval.begin(), files.eval.end());
    return all;
}

}  // namespace

std::optional<TokenCache> TokenCache::ofUser() {
    const char* chosen = std::getenv("LUTHIER_TOKEN_CACHE");
    if (chosen != nullptr && std::string_view(chosen) == "off") return std::nullopt;
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache != nullptr && *cache == '/') return TokenCache(fs::path(cache) / "luthier/tokens");
    if (const fs::path home = homeFolder(); !home.empty())
        return TokenCache(home / ".cache/luthier/tokens");
    return std::nullopt;
}

std::optional<Dataset> TokenCache::find(const std::string& key) const {
    const fs::path file = m_folder / (key + kExtension);
    std::error_code code;
    if (!fs::exists(file, code)) return std::nullopt;
    const Result<std::shared_ptr<const MappedFile>> mapped = MappedFile::open(file);
    std::optional<Dataset> dataset = mapped ? datasetOf(*mapped, key) : std::nullopt;
    if (dataset)
        fs::last_write_time(file, fs::file_time_type::clock::now(), code);
    else
        fs::remove(file, code);
    return dataset;
}

void TokenCache::store(const std::string& key, const Dataset& dataset) const {
    std::error_code code;
    fs::create_directories(m_folder, code);
    fs::permissions(m_folder, fs::perms::owner_all, code);
    std::string head = headOf(key, dataset);
    const std::string_view train = lettersOf(dataset.train.bytes());
    const std::string_view eval =
        dataset.eval.empty() || dataset.eval.sharesBytesWith(dataset.train)
            ? std::string_view()
            : lettersOf(dataset.eval.bytes());
    const std::string filling(wholeWords(train.size()) - train.size(), '\0');
    const std::size_t total = head.size() + train.size() + filling.size() + eval.size();
    if (static_cast<std::int64_t>(total) > m_limitBytes / 2) return;
    Checksum checksum(total);
    for (const std::string_view part : {std::string_view(head).substr(kHeadBytes), train, eval})
        checksum.add(part);
    const std::uint64_t value = checksum.value();
    std::memcpy(head.data() + kMagic.size(), &value, sizeof value);
    const std::string_view parts[] = {head, train, filling, eval};
    static_cast<void>(writePartsAtomically(m_folder / (key + kExtension), parts));
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
        const bool isOld =
            fs::file_time_type::clock::now() - entry.last_write_time(code) > std::chrono::hours(24);
        if (entry.path().extension() != kExtension && isOld && entry.is_regular_file(code))
            fs::remove(entry.path(), code);
        if (entry.path().extension() != kExtension) continue;
        entries.push_back({entry.last_write_time(code), entry.path(),
                           static_cast<std::int64_t>(entry.file_size(code))});
        total += entries.back().bytes;
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.used < b.used; });
    for (const Entry& entry : entries) {
        if (total <= m_limitBytes) break;
        if (fs::remove(entry.path, code)) total -= entry.bytes;
    }
}

std::string tokenCacheKey(const RunConfig& config, const DataFiles& files,
                          const TextEncoder& encoder, const Dataset::Progress& progress) {
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
            if (progress)
                progress("hashing", static_cast<std::int64_t>(before + done),
                         static_cast<std::int64_t>(total));
            return true;
        });
        if (!hash) return {};
        before += fs::file_size(file, code);
        hashes.push_back({file.string(), *hash});
        if (const Result<std::string> info =
                sha256OfFile(file.parent_path() / "dataset_info.json", {}))
            hashes.push_back(*info);  // names of classes
    }
    Json left = Json::array();  // they are named among the problems
    for (const fs::path& file : files.left) left.push_back(file.string());
    const Json key{{"left", left},
                   {"num_labels", config.optional<std::int64_t>("model.num_labels").value_or(0)},
                   {"program", programOf()},
                   {"tokenizer", fingerprint},
                   {"files", hashes},
                   {"data", config.data()},
                   {"task", config.get<std::string>("model.task")},
                   {"seed", config.get<std::uint64_t>("train.seed")},
                   {"first", config.learnsFirstToken}};
    return sha256(dumpLine(key));
}

std::string stateOf(const DataFiles& files) {
    std::string state;
    std::error_code code;
    for (const fs::path& file : allOf(files))
        state += std::to_string(fs::file_size(file, code)) + ":" +
                 std::to_string(fs::last_write_time(file, code).time_since_epoch().count()) + "|";
    return state;
}

}  // namespace luthier
