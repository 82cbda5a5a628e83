// SPDX-License-Identifier: Apache-2.0
#include "io/gguf.h"

#include "io/file.h"

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

namespace luthier {

namespace {

constexpr std::uint64_t kAlignment = 32;
constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kString = 8, kArray = 9;
constexpr std::uint32_t kUint8 = 0, kInt8 = 1, kUint16 = 2, kInt16 = 3, kUint64 = 10, kInt64 = 11, kFloat64 = 12;  // read only
constexpr std::uint64_t kBlock = 32;                 // values of a Q8_0 block
constexpr std::uint64_t kMaxEntries = 1'000'000;     // keys, tensors
constexpr std::uint64_t kMaxArray = 16'000'000;      // elements of one array
constexpr std::uint32_t kMaxDimensions = 4;          // ggml's own limit

std::uint64_t padded(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

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
        return {reinterpret_cast<const char*>(m_data + m_at - size), static_cast<std::size_t>(size)};
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
            case kInt32: return many<std::int32_t>(count, [this] { return number<std::int32_t>(); });
            case kFloat32: return many<float>(count, [this] { return number<float>(); });
            case kString: return many<std::string>(count, [this] { return string(); });
            case kBool: return many<bool>(count, [this] { return number<std::uint8_t>() != 0; });
            case kUint8: return many<std::int32_t>(count, [this] { return std::int32_t{number<std::uint8_t>()}; });
            case kInt8: return many<std::int32_t>(count, [this] { return std::int32_t{number<std::int8_t>()}; });
            case kUint16: return many<std::int32_t>(count, [this] { return std::int32_t{number<std::uint16_t>()}; });
            case kInt16: return many<std::int32_t>(count, [this] { return std::int32_t{number<std::int16_t>()}; });
            case kUint32: return many<float>(count, [this] { return static_cast<float>(number<std::uint32_t>()); });
            case kUint64: return many<float>(count, [this] { return static_cast<float>(number<std::uint64_t>()); });
            case kInt64: return many<float>(count, [this] { return static_cast<float>(number<std::int64_t>()); });
            case kFloat64: return many<float>(count, [this] { return static_cast<float>(number<double>()); });
            default: return {};
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
            case kUint32: return GgufValue(number<std::uint32_t>());
            case kInt32: return GgufValue(number<std::int32_t>());
            case kFloat32: return GgufValue(number<float>());
            case kBool: return GgufValue(number<std::uint8_t>() != 0);
            case kString: return GgufValue(string());
            case kUint8: return GgufValue(std::uint32_t{number<std::uint8_t>()});
            case kInt8: return GgufValue(std::int32_t{number<std::int8_t>()});
            case kUint16: return GgufValue(std::uint32_t{number<std::uint16_t>()});
            case kInt16: return GgufValue(std::int32_t{number<std::int16_t>()});
            case kUint64: return narrow<std::uint32_t>(number<std::uint64_t>());
            case kInt64: return narrow<std::int32_t>(number<std::int64_t>());
            case kFloat64: return GgufValue(static_cast<float>(number<double>()));
            default: return {};
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

bool isKnown(GgufType type) { return type == GgufType::F32 || type == GgufType::F16 || type == GgufType::Q8_0 || type == GgufType::BF16; }

struct Info {
    GgufTensor tensor;
    std::uint64_t offset = 0;
};

/// One entry of the tensor table; empty when it is damaged.
std::optional<Info> readInfo(Cursor& cursor) {
    Info info;
    info.tensor.name = cursor.string();
    const auto dimensions = cursor.number<std::uint32_t>();
    if (dimensions > kMaxDimensions) return {};
    for (std::uint32_t i = 0; i < dimensions; ++i) {
        const auto size = cursor.number<std::uint64_t>();
        if (size > (std::uint64_t{1} << 31)) return {};
        info.tensor.shape.insert(info.tensor.shape.begin(), static_cast<std::int64_t>(size));
    }
    const auto type = cursor.number<std::uint32_t>();
    info.offset = cursor.number<std::uint64_t>();
    info.tensor.type = static_cast<GgufType>(type);
    return info;
}

}  // namespace

const char* name(GgufType type) {
    switch (type) {
        case GgufType::F32: return "f32";
        case GgufType::F16: return "f16";
        case GgufType::Q8_0: return "q8_0";
        case GgufType::BF16: return "bf16";
    }
    return "f32";
}

std::uint64_t bytesOf(GgufType type, std::uint64_t count) {
    if (type == GgufType::Q8_0) return count / kBlock * (kBlock + 2);
    return count * (type == GgufType::F32 ? 4 : 2);
}

Result<std::uint64_t> writeGguf(const std::filesystem::path& file, const GgufKeys& keys, const std::vector<GgufSource>& tensors) {
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
        for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) header.number<std::uint64_t>(static_cast<std::uint64_t>(*size));
        header.number<std::uint32_t>(static_cast<std::uint32_t>(tensor.type));
        header.number<std::uint64_t>(offset);
        offset += padded(bytesOf(tensor.type, countOf(tensor.shape)));
    }
    header.bytes().resize(padded(header.bytes().size()), '\0');
    Result<FileWriter> writer = FileWriter::create(file);
    if (!writer) return writer.problems();
    if (Result<void> done = writer->write(header.bytes().data(), header.bytes().size()); !done) return done.problems();
    for (const GgufSource& tensor : tensors) {
        std::vector<std::byte> bytes = tensor.bytes();
        if (bytes.size() != bytesOf(tensor.type, countOf(tensor.shape)))
            return Problem{"internal", tensor.name + " has " + std::to_string(bytes.size()) + " bytes, not those of its shape.", "", file.string(), ExitCode::Internal};
        bytes.resize(padded(bytes.size()));
        if (Result<void> done = writer->write(bytes.data(), bytes.size()); !done) return done.problems();
    }
    if (Result<void> done = writer->publish(); !done) return done.problems();
    return header.bytes().size() + offset;
}

bool isGguf(const std::filesystem::path& path) {
    std::array<char, 4> begin{};
    std::ifstream file(path, std::ios::binary);
    return file.read(begin.data(), begin.size()) && std::string_view(begin.data(), begin.size()) == "GGUF";
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
    const auto damaged = [&](const std::string& why) {
        return Problem{"gguf_damaged", path.string() + " is no whole GGUF file: " + why + ".", "Copy or export it again.", path.string()};
    };
    Result<std::shared_ptr<const MappedFile>> mapped = MappedFile::open(path);
    if (!mapped) return mapped.problems();
    const std::span<const std::byte> all = (*mapped)->bytes();
    if (all.size() < 24) return damaged("it has " + std::to_string(all.size()) + " bytes");
    std::shared_ptr<GgufFile> opened(new GgufFile);
    opened->m_file = *mapped;
    Cursor cursor(all.data(), all.size());
    if (cursor.number<std::uint32_t>() != 0x46554747u) return damaged("it does not begin with \"GGUF\"");
    if (const auto version = cursor.number<std::uint32_t>(); version != kVersion)
        return Problem{"gguf_unsupported", path.string() + " has version " + std::to_string(version) + " of GGUF; Luthier reads version 3.", "Convert it anew.", path.string()};
    const auto tensors = cursor.number<std::uint64_t>();
    const auto keys = cursor.number<std::uint64_t>();
    if (tensors > kMaxEntries || keys > kMaxEntries) return damaged("it claims to hold " + std::to_string(tensors) + " tensors");
    for (std::uint64_t i = 0; i < keys; ++i) {
        std::string key = cursor.string();
        std::optional<GgufValue> value = cursor.value();
        if (!cursor.isGood() || !value) return damaged("the value of the key \"" + key + "\" cannot be read");
        opened->m_keys.emplace_back(std::move(key), std::move(*value));
    }
    std::vector<Info> infos;
    for (std::uint64_t i = 0; i < tensors; ++i) {
        std::optional<Info> info = readInfo(cursor);
        if (!cursor.isGood() || !info) return damaged("its table of tensors cannot be read at entry " + std::to_string(i));
        if (!isKnown(info->tensor.type))
            return Problem{"gguf_unsupported", path.string() + ": " + info->tensor.name + " has values of the type " + std::to_string(static_cast<std::uint32_t>(info->tensor.type)) + "; Luthier reads F32, F16, BF16 and Q8_0.",
                           "Take the F16, BF16 or Q8_0 file of the model.", path.string()};
        infos.push_back(std::move(*info));
    }
    const std::uint64_t start = padded(cursor.place());
    for (Info& info : infos) {
        const std::uint64_t bytes = bytesOf(info.tensor.type, countOf(info.tensor.shape));
        if (start > all.size() || info.offset > all.size() - start || bytes > all.size() - start - info.offset)
            return damaged(info.tensor.name + " lies beyond its end");
        info.tensor.data = all.subspan(start + info.offset, bytes);
        opened->m_tensors.push_back(std::move(info.tensor));
    }
    return std::shared_ptr<const GgufFile>(std::move(opened));
}

const GgufTensor* GgufFile::find(std::string_view name) const {
    for (const GgufTensor& tensor : m_tensors)
        if (tensor.name == name) return &tensor;
    return nullptr;
}

}  // namespace luthier
