// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include "io/file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <regex>
#include <utility>

namespace luthier {

namespace {

constexpr std::uint64_t kAlignment = 32;  // as written, and of files that do not say
constexpr std::uint32_t kVersion = 3, kOldestVersion = 2;
constexpr std::uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9;
constexpr std::uint32_t kUint8 = 0, kInt8 = 1, kUint16 = 2, kInt16 = 3, kUint64 = 10, kInt64 = 11,
                        kFloat64 = 12;            // read only
constexpr std::uint64_t kMaxEntries = 1'000'000;  // keys, tensors
constexpr std::uint64_t kMaxArray = 16'000'000;   // elements of one array
constexpr std::uint32_t kMaxDimensions = 4;       // ggml's own limit

constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 48;  // of one tensor

std::uint64_t padded(std::uint64_t bytes, std::uint64_t alignment = kAlignment) {
    return (bytes + alignment - 1) / alignment * alignment;
}

/// Appends values as they stand in the file.
class Buffer {
public:
    template <class T>
    void number(T value) {
        m_bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void string(const std::string& text) {
        number<std::uint64_t>(text.size());
        m_bytes += text;
    }
    void value(const GgufValue& value) {
        std::visit([this](const auto& held) { typed(held); }, value);
    }
    std::string& bytes() { return m_bytes; }

private:
    void plain(std::uint32_t value) { number(value); }
    void plain(std::int32_t value) { number(value); }
    void plain(float value) { number(value); }
    void plain(bool value) { number<std::uint8_t>(value ? 1 : 0); }
    void plain(const std::string& value) { string(value); }

    static std::uint32_t typeOf(std::uint32_t) { return kUint32; }
    static std::uint32_t typeOf(std::int32_t) { return kInt32; }
    static std::uint32_t typeOf(float) { return kFloat32; }
    static std::uint32_t typeOf(bool) { return kBool; }
    static std::uint32_t typeOf(const std::string&) { return kString; }

    template <class T>
    void typed(const T& value) {
        number(typeOf(value));
        plain(value);
    }
    template <class T>
    void typed(const std::vector<T>& values) {
        number(kArray);
        number(typeOf(T{}));
        number<std::uint64_t>(values.size());
        for (const auto& value : values) plain(static_cast<T>(value));
    }

    std::string m_bytes;
};

/// Reads forward; once something does not fit, everything else is empty.
class Cursor {
public:
    Cursor(const std::byte* data, std::uint64_t size) : m_data(data), m_size(size) {}

    template <class T>
    T number() {
        T value{};
        if (!take(sizeof value)) return value;
        std::memcpy(&value, m_data + m_at - sizeof value, sizeof value);
        return value;
    }
    std::string string() {
        const auto size = number<std::uint64_t>();
        if (!take(size)) return {};
        return {reinterpret_cast<const char*>(m_data + m_at - size),
                static_cast<std::size_t>(size)};
    }
    bool isGood() const { return m_isGood; }
    std::uint64_t place() const { return m_at; }

    std::optional<GgufValue> value() {
        const auto type = number<std::uint32_t>();
        if (type != kArray) return single(type);
        const auto element = number<std::uint32_t>();
        const auto count = number<std::uint64_t>();
        if (count > kMaxArray) return {};
        switch (element) {
            case kInt32:
                return many<std::int32_t>(count, [this] { return number<std::int32_t>(); });
            case kFloat32:
                return many<float>(count, [this] { return number<float>(); });
            case kString:
                return many<std::string>(count, [this] { return string(); });
            case kBool:
                return many<bool>(count, [this] { return number<std::uint8_t>() != 0; });
            case kUint8:
                return many<std::int32_t>(count,
                                          [this] { return std::int32_t{number<std::uint8_t>()}; });
            case kInt8:
                return many<std::int32_t>(count,
                                          [this] { return std::int32_t{number<std::int8_t>()}; });
            case kUint16:
                return many<std::int32_t>(count,
                                          [this] { return std::int32_t{number<std::uint16_t>()}; });
            case kInt16:
                return many<std::int32_t>(count,
                                          [this] { return std::int32_t{number<std::int16_t>()}; });
            case kUint32:
                return wholes<std::uint32_t>(count);
            case kUint64:
                return wholes<std::uint64_t>(count);
            case kInt64:
                return wholes<std::int64_t>(count);
            case kFloat64:
                return many<float>(count, [this] { return static_cast<float>(number<double>()); });
            default:
                return {};
        }
    }

private:
    bool take(std::uint64_t size) {
        m_isGood = m_isGood && size <= m_size - m_at;
        if (m_isGood) m_at += size;
        return m_isGood;
    }
    std::optional<GgufValue> single(std::uint32_t type) {
        switch (type) {
            case kUint32:
                return GgufValue(number<std::uint32_t>());
            case kInt32:
                return GgufValue(number<std::int32_t>());
            case kFloat32:
                return GgufValue(number<float>());
            case kBool:
                return GgufValue(number<std::uint8_t>() != 0);
            case kString:
                return GgufValue(string());
            case kUint8:
                return GgufValue(std::uint32_t{number<std::uint8_t>()});
            case kInt8:
                return GgufValue(std::int32_t{number<std::int8_t>()});
            case kUint16:
                return GgufValue(std::uint32_t{number<std::uint16_t>()});
            case kInt16:
                return GgufValue(std::int32_t{number<std::int16_t>()});
            case kUint64:
                return narrow<std::uint32_t>(number<std::uint64_t>());
            case kInt64:
                return narrow<std::int32_t>(number<std::int64_t>());
            case kFloat64:
                return GgufValue(static_cast<float>(number<double>()));
            default:
                return {};
        }
    }
    template <class Narrow, class Wide>
    static GgufValue narrow(Wide value) {
        if (std::in_range<Narrow>(value)) return static_cast<Narrow>(value);
        return static_cast<float>(value);
    }
    template <class T, class Read>
    std::optional<GgufValue> many(std::uint64_t count, Read read) {
        std::vector<T> values;
        for (std::uint64_t i = 0; i < count && m_isGood; ++i) values.push_back(read());
        return GgufValue(std::move(values));
    }

    /// Of 32 bits where all fit.
    template <class Wide>
    std::optional<GgufValue> wholes(std::uint64_t count) {
        std::vector<Wide> values;
        bool fit = true;
        for (std::uint64_t i = 0; i < count && m_isGood; ++i) {
            values.push_back(number<Wide>());
            fit = fit && std::in_range<std::int32_t>(values.back());
        }
        if (fit) return GgufValue(std::vector<std::int32_t>(values.begin(), values.end()));
        return GgufValue(std::vector<float>(values.begin(), values.end()));
    }

    const std::byte* m_data;
    std::uint64_t m_size;
    std::uint64_t m_at = 0;
    bool m_isGood = true;
};

std::uint64_t countOf(const std::vector<std::int64_t>& shape) {
    std::uint64_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::uint64_t>(size);
    return count;
}

std::string shapeText(const std::vector<std::int64_t>& shape) {
    std::string text;
    for (const std::int64_t size : shape)
        text += (text.empty() ? "" : " x ") + std::to_string(size);
    return text;
}

struct Info {
    GgufTensor tensor;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;

    std::string text() const {
        return tensor.name + " (" + ggufTypeName(type) + ", " + shapeText(tensor.shape) + ")";
    }
};

/// One entry of the tensor table; empty when it is damaged.
std::optional<Info> readInfo(Cursor& cursor) {
    Info info;
    info.tensor.name = cursor.string();
    const auto dimensions = cursor.number<std::uint32_t>();
    if (dimensions > kMaxDimensions) return {};
    std::uint64_t values = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
        const auto size = cursor.number<std::uint64_t>();
        if (size > (std::uint64_t{1} << 31)) return {};
        // A tensor without values has parts of its other sizes: they count too. Divided, since the
        // product of three sizes can come to 0 again.
        const std::uint64_t factor = std::max<std::uint64_t>(1, size);
        if (values > kMaxValues / factor) return {};
        values *= factor;
        info.tensor.shape.insert(info.tensor.shape.begin(), static_cast<std::int64_t>(size));
    }
    info.type = cursor.number<std::uint32_t>();
    info.offset = cursor.number<std::uint64_t>();
    return info;
}

/// One file as it stands.
struct Part {
    std::shared_ptr<const MappedFile> file;
    GgufKeys keys;
    std::vector<GgufTensor> tensors;

    std::int64_t whole(std::string_view key, std::int64_t fallback) const {
        for (const auto& [name, value] : keys)
            if (name == key) {
                if (const auto* number = std::get_if<std::uint32_t>(&value)) return *number;
                if (const auto* number = std::get_if<std::int32_t>(&value)) return *number;
            }
        return fallback;
    }
};

Problem damaged(const std::filesystem::path& path, const std::string& why,
                const std::string& remedy = "Copy or download it again.") {
    return {"gguf_damaged", path.string() + " is no whole GGUF file: " + why + ".", remedy,
            path.string()};
}

/// The version, when it is one that Luthier reads.
Result<void> checkVersion(const std::filesystem::path& path, std::uint32_t version) {
    if (version >= kOldestVersion && version <= kVersion) return {};
    if (version != 0 && (version & 0xffffu) == 0)
        return Problem{"gguf_unsupported",
                       path.string() + " has its numbers in the order of big-endian machines.",
                       "Take the usual (little-endian) file of the model.", path.string()};
    return Problem{"gguf_unsupported",
                   path.string() + " has version " + std::to_string(version) +
                       " of GGUF; Luthier reads versions 2 and 3.",
                   version < kOldestVersion ? "Convert it anew with today's llama.cpp."
                                            : "Take a newer Luthier.",
                   path.string()};
}

Result<Part> readPart(const std::filesystem::path& path) {
    Result<std::shared_ptr<const MappedFile>> mapped = MappedFile::open(path);
    if (!mapped) return mapped.problems();
    const std::span<const std::byte> all = (*mapped)->bytes();
    if (all.size() < 24) return damaged(path, "it has " + std::to_string(all.size()) + " bytes");
    Part part;
    part.file = *mapped;
    Cursor cursor(all.data(), all.size());
    if (cursor.number<std::uint32_t>() != 0x46554747u)
        return damaged(path, "it does not begin with \"GGUF\"");
    if (Result<void> known = checkVersion(path, cursor.number<std::uint32_t>()); !known)
        return known.problems();
    const auto tensors = cursor.number<std::uint64_t>();
    const auto keys = cursor.number<std::uint64_t>();
    if (tensors > kMaxEntries || keys > kMaxEntries)
        return damaged(path, "it claims to hold " + std::to_string(tensors) + " tensors");
    for (std::uint64_t i = 0; i < keys; ++i) {
        std::string key = cursor.string();
        std::optional<GgufValue> value = cursor.value();
        if (!cursor.isGood() || !value)
            return damaged(path, "the value of the key \"" + key + "\" cannot be read");
        part.keys.emplace_back(std::move(key), std::move(*value));
    }
    const std::int64_t alignment = part.whole("general.alignment", kAlignment);
    if (alignment <= 0 || (alignment & (alignment - 1)) != 0)
        return damaged(path, "its general.alignment is " + std::to_string(alignment) +
                                 ", which is no power of two");
    std::vector<Info> infos;
    for (std::uint64_t i = 0; i < tensors; ++i) {
        std::optional<Info> info = readInfo(cursor);
        if (!cursor.isGood() || !info)
            return damaged(path,
                           "its table of tensors cannot be read at entry " + std::to_string(i));
        const GgufTypeInfo* type = findGgufType(info->type);
        if (type == nullptr)
            return Problem{"gguf_unsupported",
                           path.string() + ": " + info->text() +
                               " has values of a type that Luthier does not read.",
                           "Luthier reads " + ggufTypeNames() +
                               ": take such a file of the model (Q4_K_M, Q8_0 or F16, say), or "
                               "convert this one with llama-quantize --allow-requantize.",
                           path.string()};
        if (type->isBlocks() &&
            (info->tensor.shape.empty() || info->tensor.shape.back() % type->values != 0))
            return damaged(path, info->text() + " has rows that are no whole blocks of " +
                                     std::to_string(type->values) + " values");
        info->tensor.type = type->type;
        infos.push_back(std::move(*info));
    }
    const std::uint64_t start = padded(cursor.place(), static_cast<std::uint64_t>(alignment));
    for (Info& info : infos) {
        const std::uint64_t bytes = bytesOf(info.tensor.type, info.tensor.count());
        if (start > all.size() || info.offset > all.size() - start ||
            bytes > all.size() - start - info.offset)
            return damaged(path,
                           info.text() + " lies beyond its end: the file has " +
                               std::to_string(all.size()) + " bytes, " + info.tensor.name +
                               " alone takes " + std::to_string(bytes) + " behind byte " +
                               std::to_string(start + std::min(info.offset, kMaxValues)),
                           "It was cut short: copy or download it again. Pieces of one file "
                           "(…split-a, …part1of2) are joined first: cat PIECES… > MODEL.gguf.");
        info.tensor.data = all.subspan(start + info.offset, bytes);
        part.tensors.push_back(std::move(info.tensor));
    }
    return part;
}

/// What stands between the name and the ending of one of several files: "-00002-of-00003".
struct Numbering {
    std::string name;
    std::int64_t number = 0, count = 0;
};

std::optional<Numbering> numberingOf(const std::filesystem::path& path) {
    static const std::regex pattern(R"((.*)-(\d{5})-of-(\d{5})\.gguf)");
    const std::string name = path.filename().string();
    std::smatch found;
    if (!std::regex_match(name, found, pattern)) return {};
    return Numbering{found[1], std::stoll(found[2]), std::stoll(found[3])};
}

std::string fiveDigits(std::int64_t number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

}  // namespace

std::uint64_t GgufTensor::count() const { return countOf(shape); }

GgufTensor GgufTensor::at(std::size_t index) const {
    GgufTensor part{name, type, {shape.begin() + 1, shape.end()}, {}};
    const std::size_t bytes = bytesOf(type, part.count());
    part.data = data.subspan(index * bytes, bytes);
    return part;
}

std::string GgufTensor::text() const {
    return name + " (" + ggufTypeName(static_cast<std::uint32_t>(type)) + ", " + shapeText(shape) +
           ")";
}

Result<std::uint64_t> writeGguf(const std::filesystem::path& file, const GgufKeys& keys,
                                const std::vector<GgufSource>& tensors) {
    Buffer header;
    header.bytes() = "GGUF";
    header.number(kVersion);
    header.number<std::uint64_t>(tensors.size());
    header.number<std::uint64_t>(keys.size());
    for (const auto& [key, value] : keys) {
        header.string(key);
        header.value(value);
    }
    std::uint64_t offset = 0;
    for (const GgufSource& tensor : tensors) {
        header.string(tensor.name);
        header.number<std::uint32_t>(static_cast<std::uint32_t>(tensor.shape.size()));
        for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
            header.number<std::uint64_t>(static_cast<std::uint64_t>(*size));
        header.number<std::uint32_t>(static_cast<std::uint32_t>(tensor.type));
        header.number<std::uint64_t>(offset);
        offset += padded(bytesOf(tensor.type, countOf(tensor.shape)));
    }
    header.bytes().resize(padded(header.bytes().size()), '\0');
    Result<FileWriter> writer = FileWriter::create(file);
    if (!writer) return writer.problems();
    if (Result<void> done = writer->write(header.bytes().data(), header.bytes().size()); !done)
        return done.problems();
    for (const GgufSource& tensor : tensors) {
        std::vector<std::byte> bytes = tensor.bytes();
        if (bytes.size() != bytesOf(tensor.type, countOf(tensor.shape)))
            return Problem{"internal",
                           tensor.name + " has " + std::to_string(bytes.size()) +
                               " bytes, not those of its shape.",
                           "", file.string(), ExitCode::Internal};
        bytes.resize(padded(bytes.size()));
        if (Result<void> done = writer->write(bytes.data(), bytes.size()); !done)
            return done.problems();
    }
    if (Result<void> done = writer->publish(); !done) return done.problems();
    return header.bytes().size() + offset;
}

bool isGguf(const std::filesystem::path& path) {
    std::error_code code;
    if (!std::filesystem::is_regular_file(path, code))
        return false;  // to open a pipe would wait for ever
    std::array<char, 4> begin{};
    std::ifstream file(path, std::ios::binary);
    return file.read(begin.data(), begin.size()) &&
           std::string_view(begin.data(), begin.size()) == "GGUF";
}

std::vector<std::filesystem::path> ggufParts(const std::filesystem::path& path) {
    const std::optional<Numbering> numbering = numberingOf(path);
    if (!numbering || numbering->count < 1 || numbering->number < 1 ||
        numbering->number > numbering->count)
        return {path};
    std::vector<std::filesystem::path> files;
    for (std::int64_t i = 1; i <= numbering->count; ++i)
        files.push_back(path.parent_path() / (numbering->name + "-" + fiveDigits(i) + "-of-" +
                                              fiveDigits(numbering->count) + ".gguf"));
    return files;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
    Result<Part> given = readPart(path);
    if (!given) return given.problems();
    const std::int64_t count = given->whole("split.count", 1),
                       number = given->whole("split.no", 0) + 1;
    std::vector<Part> parts;
    if (count <= 1) {
        parts.push_back(std::move(*given));
    } else {
        const std::vector<std::filesystem::path> files = ggufParts(path);
        const std::string place =
            path.string() + " is part " + std::to_string(number) + " of " + std::to_string(count);
        if (files.size() != static_cast<std::size_t>(count))
            return Problem{"gguf_part_missing",
                           place + ", and its name does not say where the others are.",
                           "Name the parts NAME-00001-of-" + fiveDigits(count) +
                               ".gguf and so on, in one folder.",
                           path.string()};
        for (std::size_t i = 0; i < files.size(); ++i) {
            std::error_code code;
            if (!std::filesystem::exists(files[i], code))
                return Problem{"gguf_part_missing",
                               place + "; " + files[i].string() + " is not there.",
                               "Put all " + std::to_string(count) + " parts into one folder.",
                               files[i].string()};
            Result<Part> part = readPart(files[i]);
            if (!part) return part.problems();
            if (part->whole("split.count", 1) != count ||
                part->whole("split.no", 0) != static_cast<std::int64_t>(i))
                return damaged(files[i],
                               "it says that it is part " +
                                   std::to_string(part->whole("split.no", 0) + 1) + " of " +
                                   std::to_string(part->whole("split.count", 1)),
                               "Download the parts of one model again, under their own names.");
            parts.push_back(std::move(*part));
        }
    }
    std::shared_ptr<GgufFile> opened(new GgufFile);
    for (Part& part : parts) {
        opened->m_files.push_back(std::move(part.file));
        if (opened->m_keys.empty()) opened->m_keys = std::move(part.keys);
        for (GgufTensor& tensor : part.tensors) {
            if (!opened->m_places.emplace(tensor.name, opened->m_tensors.size()).second)
                return damaged(path, tensor.name + " is in it twice");
            opened->m_tensors.push_back(std::move(tensor));
        }
    }
    return std::shared_ptr<const GgufFile>(std::move(opened));
}

const GgufTensor* GgufFile::find(std::string_view name) const {
    const auto place = m_places.find(name);
    return place == m_places.end() ? nullptr : &m_tensors[place->second];
}

std::uint64_t GgufFile::bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& file : m_files) bytes += file->bytes().size();
    return bytes;
}

}  // namespace luthier
