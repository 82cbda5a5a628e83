// SPDX-License-Identifier: Apache-2.0
#include "data/row_list.h"

#include "data/row_format.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <string>

namespace luthier {

namespace {

constexpr std::size_t kInMemory = 64u << 20;  // beyond it the bytes go to a file
constexpr std::size_t kWrittenAtOnce = 4u << 20;

enum Flag : std::uint32_t {
    kTruncated = 1,
    kRepeatsIds = 2,
    kHasTypes = 4,
    kHasCut = 8,
    kHasClass = 16,
    kHasTargets = 32,
    kHasChoices = 64
};

class Packer {
public:
    explicit Packer(std::string& bytes) : m_bytes(bytes) {}
    void number(std::uint64_t value) {
        for (; value > 0x7f; value >>= 7) m_bytes += static_cast<char>((value & 0x7f) | 0x80);
        m_bytes += static_cast<char>(value);
    }
    void list(const std::vector<std::int32_t>& values) {
        number(values.size());
        for (const std::int32_t value : values) number(static_cast<std::uint32_t>(value));
    }

private:
    std::string& m_bytes;
};

class Unpacker {
public:
    explicit Unpacker(const std::byte* at) : m_at(at) {}
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            const auto byte = static_cast<std::uint64_t>(*m_at++);
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80) return value;
        }
    }
    std::int32_t small() { return static_cast<std::int32_t>(static_cast<std::uint32_t>(number())); }
    std::vector<std::int32_t> list() {
        std::vector<std::int32_t> values(number());
        for (std::int32_t& value : values) value = small();
        return values;
    }

private:
    const std::byte* m_at;
};

/// Ends of the stretches of `labels` that repeat the ids where all others carry no loss, in turn
/// without and with loss; false where labels are of another kind.
bool stretchesOf(const DataRow& row, std::vector<std::size_t>& ends) {
    if (row.labels.size() != row.ids.size()) return false;
    bool isLearned = false;
    for (std::size_t i = 0; i < row.labels.size(); ++i) {
        if (row.labels[i] != kIgnoredLabel && row.labels[i] != row.ids[i]) return false;
        if ((row.labels[i] != kIgnoredLabel) == isLearned) continue;
        isLearned = !isLearned;
        ends.push_back(i);
    }
    return true;
}

void pack(const DataRow& row, std::string& bytes) {
    Packer out(bytes);
    std::vector<std::size_t> ends;
    const bool repeatsIds = stretchesOf(row, ends);
    out.number((row.isTruncated ? kTruncated : 0u) | (repeatsIds ? kRepeatsIds : 0u) |
               (row.types.empty() ? 0u : kHasTypes) |
               (row.cut.empty() && row.cutTokens == 0 ? 0u : kHasCut) |
               (row.classIndex < 0 ? 0u : kHasClass) | (row.targets.empty() ? 0u : kHasTargets) |
               (row.choices.empty() && row.answer < 0 ? 0u : kHasChoices));
    out.list(row.ids);
    out.number(static_cast<std::uint64_t>(row.sourceRow));
    if (repeatsIds) {
        out.number(ends.size());
        for (const std::size_t end : ends) out.number(end);
    } else {
        out.list(row.labels);
    }
    if (!row.types.empty()) out.list(row.types);
    if (!row.cut.empty() || row.cutTokens != 0) {
        out.list(row.cut);
        out.number(static_cast<std::uint64_t>(row.cutTokens));
    }
    if (row.classIndex >= 0) out.number(static_cast<std::uint32_t>(row.classIndex));
    if (!row.targets.empty()) {
        out.number(row.targets.size());
        for (const float target : row.targets) out.number(std::bit_cast<std::uint32_t>(target));
    }
    if (!row.choices.empty() || row.answer >= 0) {
        out.number(row.choices.size());
        for (const std::vector<std::int32_t>& choice : row.choices) out.list(choice);
        out.number(static_cast<std::uint32_t>(row.answer));
    }
}

DataRow unpack(const std::byte* at) {
    Unpacker in(at);
    const std::uint64_t flags = in.number();
    DataRow row;
    row.isTruncated = (flags & kTruncated) != 0;
    row.ids = in.list();
    row.sourceRow = static_cast<std::int64_t>(in.number());
    if ((flags & kRepeatsIds) != 0) {
        row.labels.assign(row.ids.size(), kIgnoredLabel);
        for (std::uint64_t left = in.number(); left > 0; left -= left > 1 ? 2 : 1) {
            const std::uint64_t begin = in.number(), end = left > 1 ? in.number() : row.ids.size();
            std::copy(row.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                      row.ids.begin() + static_cast<std::ptrdiff_t>(end),
                      row.labels.begin() + static_cast<std::ptrdiff_t>(begin));
        }
    } else {
        row.labels = in.list();
    }
    if ((flags & kHasTypes) != 0) row.types = in.list();
    if ((flags & kHasCut) != 0) {
        row.cut = in.list();
        row.cutTokens = static_cast<std::int64_t>(in.number());
    }
    if ((flags & kHasClass) != 0) row.classIndex = in.small();
    if ((flags & kHasTargets) != 0) {
        row.targets.resize(in.number());
        for (float& target : row.targets)
            target = std::bit_cast<float>(static_cast<std::uint32_t>(in.number()));
    }
    if ((flags & kHasChoices) != 0) {
        row.choices.resize(in.number());
        for (std::vector<std::int32_t>& choice : row.choices) choice = in.list();
        row.answer = in.small();
    }
    return row;
}

}  // namespace

/// Grows at its end: a string first, then a file of which what was written is mapped when it is
/// read.
class RowBytes final {
public:
    RowBytes() = default;
    RowBytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
        : m_given(bytes), m_owner(std::move(owner)) {}
    RowBytes(const RowBytes&) = delete;
    RowBytes& operator=(const RowBytes&) = delete;
    ~RowBytes() {
        unmap();
        if (m_file >= 0) ::close(m_file);
    }

    std::uint64_t size() const { return m_given.size() + m_written + m_tail.size(); }
    bool isGiven() const { return !m_given.empty(); }
    std::string& tail() { return m_tail; }

    /// After each row: keeps the part in memory small.
    void settle() {
        if (m_written == 0 && m_tail.size() < kInMemory) return;
        if (m_tail.size() >= kWrittenAtOnce) flush();
    }

    /// @returns the byte at `place`, all that follow it up to the end behind it.
    const std::byte* at(std::uint64_t place) {
        if (isGiven()) return m_given.data() + place;
        if (m_written == 0) return reinterpret_cast<const std::byte*>(m_tail.data()) + place;
        if (!m_tail.empty()) flush();
        if (m_mappedBytes < m_written) map();
        return m_mapping + place;
    }

private:
    void flush() {
        if (m_file < 0 && !m_isRefused) open();
        if (m_file < 0) return;
        std::size_t done = 0;
        while (done < m_tail.size()) {
            const ssize_t count = ::write(m_file, m_tail.data() + done, m_tail.size() - done);
            if (count <= 0)
                throw Failure(
                    {"disk_full",
                     "The tokens of the data set could not be kept: " +
                         std::string(std::strerror(errno)) + ".",
                     "Make room in " + folder() + ", or set TMPDIR to a folder with room.",
                     folder()});
            done += static_cast<std::size_t>(count);
        }
        m_written += m_tail.size();
        m_tail.clear();
    }

    static std::string folder() {
        const char* chosen = std::getenv("TMPDIR");
        return chosen != nullptr && *chosen == '/' ? chosen : "/var/tmp";  // /tmp may be memory
    }

    void open() {
        std::string name = folder() + "/luthier-rows-XXXXXX";
        m_file = ::mkstemp(name.data());
        m_isRefused = m_file < 0;  // everything then stays in memory
        if (m_file >= 0) ::unlink(name.c_str());
    }

    void map() {
        unmap();
        void* mapping = ::mmap(nullptr, m_written, PROT_READ, MAP_SHARED, m_file, 0);
        if (mapping == MAP_FAILED)
            throw Failure({"out_of_memory",
                           "The tokens of the data set could not be mapped into memory: " +
                               std::string(std::strerror(errno)) + ".",
                           "Close other programs.", ""});
        m_mapping = static_cast<const std::byte*>(mapping);
        m_mappedBytes = m_written;
    }

    void unmap() {
        if (m_mapping != nullptr) ::munmap(const_cast<std::byte*>(m_mapping), m_mappedBytes);
        m_mapping = nullptr;
        m_mappedBytes = 0;
    }

    std::span<const std::byte> m_given;
    std::shared_ptr<const void> m_owner;
    std::string m_tail;  // what is not in the file yet
    std::uint64_t m_written = 0;
    int m_file = -1;
    bool m_isRefused = false;
    const std::byte* m_mapping = nullptr;
    std::uint64_t m_mappedBytes = 0;
};

RowList::RowList() : m_bytes(std::make_shared<RowBytes>()) {}

RowList::RowList(std::initializer_list<DataRow> rows) : RowList() {
    for (const DataRow& row : rows) push_back(row);
}

RowList::RowList(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                 std::vector<std::uint64_t> begins)
    : m_bytes(std::make_shared<RowBytes>(bytes, std::move(owner))), m_begins(std::move(begins)) {}

DataRow RowList::operator[](std::size_t index) const {
    return unpack(m_bytes->at(m_begins[index]));
}

std::uint32_t RowList::tokensOf(std::size_t index) const {
    Unpacker in(m_bytes->at(m_begins[index]));
    in.number();
    return static_cast<std::uint32_t>(in.number());
}

void RowList::push_back(const DataRow& row) {
    if (m_bytes->isGiven()) transform([](DataRow&) {});  // a cache's bytes do not grow
    m_begins.push_back(m_bytes->size());
    pack(row, m_bytes->tail());
    m_bytes->settle();
}

void RowList::truncate(std::size_t count) { m_begins.resize(std::min(count, size())); }

void RowList::transform(const std::function<void(DataRow&)>& change) {
    RowList changed;
    for (std::size_t i = 0; i < size(); ++i) {
        DataRow row = (*this)[i];
        change(row);
        changed.push_back(row);
    }
    *this = std::move(changed);
}

void RowList::moveTo(RowList& other, const std::vector<bool>& isMoved) {
    if (other.empty()) other.m_bytes = m_bytes;
    std::vector<std::uint64_t> kept;
    for (std::size_t i = 0; i < size(); ++i)
        (isMoved[i] ? other.m_begins : kept).push_back(m_begins[i]);
    m_begins = std::move(kept);
}

std::span<const std::byte> RowList::bytes() const {
    const std::uint64_t size = m_bytes->size();
    return size == 0 ? std::span<const std::byte>() : std::span(m_bytes->at(0), size);
}

}  // namespace luthier
