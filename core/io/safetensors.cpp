// SPDX-License-Identifier: Apache-2.0
//
//     byte 0        8                8 + N                                     end of file
//          | u64 N | JSON, N bytes   | data: every byte belongs to one tensor |
//
// JSON: name -> {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, offsets relative
// to the data; optionally
// "__metadata__": string -> string. Invariants of an opened file:
//   1. 8 + N <= file size, N <= 100,000,000, the JSON starts with '{' and has no key twice.
//   2. end - begin = product(shape) * size of dtype, computed without overflow.
//   3. sorted by begin, the ranges cover the data without hole, overlap or rest.
#include "io/safetensors.h"

#include "io/file.h"
#include "io/mapped_file.h"
#include "io/recognise.h"
#include "io/safetensors_stream.h"
#include "io/json_events.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>
#include <unordered_set>
#include <utility>

namespace luthier {

static_assert(std::endian::native == std::endian::little, "safetensors data are used in place");

namespace {

using Limits = SafetensorsLimits;

constexpr std::uint64_t kLengthBytes = 8;
constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kDamagedHint =
    "The file is damaged or was cut short; download or write it again.";
constexpr const char* kToolHint = "Write the file again with a current version of safetensors.";

struct Entry {
    std::string name;
    std::optional<DType> dtype;
    std::optional<std::vector<std::int64_t>> shape;
    std::vector<std::uint64_t> offsets;  // begin, end
    std::uint64_t begin() const { return offsets[0]; }
    std::uint64_t end() const { return offsets[1]; }
};

Problem problemOf(const char* code, const std::string& file, const std::string& name,
                  const std::string& what, const char* hint) {
    return Problem{code, file + ": tensor " + shownName(name) + " " + what + ".", hint, file};
}

std::string textOf(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t dimension : shape)
        text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
    return text + "]";
}

/// product(shape) * size, or nothing on overflow. Zeros count as ones for the overflow: [2^62, 4,
/// 0] holds no byte, but its strides would not fit either.
std::optional<std::uint64_t> bytesOf(const std::vector<std::int64_t>& shape, DType dtype) {
    std::int64_t product = static_cast<std::int64_t>(sizeOf(dtype));
    bool isEmpty = false;
    for (const std::int64_t dimension : shape) {
        if (dimension == 0)
            isEmpty = true;
        else if (__builtin_mul_overflow(product, dimension, &product))
            return std::nullopt;
    }
    return isEmpty ? 0 : static_cast<std::uint64_t>(product);
}

/// Rank, sign, overflow and size; the same for what is read and what is to be written.
std::optional<Problem> checkExtent(const std::string& file, const std::string& name, DType dtype,
                                   const std::vector<std::int64_t>& shape, std::uint64_t bytes) {
    if (shape.size() > Limits::kRank) {
        return problemOf("safetensors_shape", file, name,
                         "has " + std::to_string(shape.size()) + " dimensions; at most " +
                             std::to_string(Limits::kRank) + " are accepted",
                         kToolHint);
    }
    if (std::any_of(shape.begin(), shape.end(),
                    [](std::int64_t dimension) { return dimension < 0; })) {
        return problemOf("safetensors_shape", file, name,
                         "has the shape " + textOf(shape) + " with a negative dimension",
                         kToolHint);
    }
    const std::optional<std::uint64_t> expected = bytesOf(shape, dtype);
    if (!expected) {
        return problemOf("safetensors_shape", file, name,
                         "has the shape " + textOf(shape) + ", more than 2^63 bytes", kToolHint);
    }
    if (*expected != bytes) {
        return problemOf("safetensors_size", file, name,
                         std::string("of ") + luthier::name(dtype) + " " + textOf(shape) +
                             " needs " + std::to_string(*expected) + " bytes, but " +
                             std::to_string(bytes) + " were found",
                         kToolHint);
    }
    return std::nullopt;
}

/// Turns the events of a header into entries. Depth 1 holds tensor names, depth 2 the fields of one
/// (or the metadata), depth 3 the numbers of a list; keys the format does not know are passed over
/// whatever they hold.
class HeaderReader final : public JsonEvents {
public:
    explicit HeaderReader(std::string file) : m_file(std::move(file)) {}

    std::vector<Entry> entries;
    std::map<std::string, std::string> metadata;

private:
    enum class Field { DType, Shape, Offsets, Other };

    Stop onKey(std::size_t depth, const std::string& key) override {
        if (depth == 1) return beginName(key);
        if (depth != 2) return std::nullopt;
        if (m_inMetadata) return beginMetadata(key);
        m_field = key == "dtype"          ? Field::DType
                  : key == "shape"        ? Field::Shape
                  : key == "data_offsets" ? Field::Offsets
                                          : Field::Other;
        const Entry& entry = entries.back();
        const bool seen = (m_field == Field::DType && entry.dtype) ||
                          (m_field == Field::Shape && entry.shape) ||
                          (m_field == Field::Offsets && !entry.offsets.empty());
        if (seen)
            return problemOf("safetensors_duplicate", m_file, entry.name,
                             "has \"" + key + "\" twice", kToolHint);
        return std::nullopt;
    }

    Stop onValue(std::size_t depth, JsonKind kind, std::uint64_t number,
                 const std::string& text) override {
        if (depth == 0)
            return kind == JsonKind::Object ? Stop() : bad("the header is not an object");
        if (depth == 1) return openEntry(kind);
        if (m_inMetadata) {
            if (kind != JsonKind::String)
                return bad("the metadata value of " + shownName(m_metadataKey) +
                           " is not a string");
            metadata.emplace(m_metadataKey, text);
            return std::nullopt;
        }
        if (m_field == Field::Other) return std::nullopt;
        return depth == 2 ? fieldValue(kind, text) : listValue(kind, number);
    }

    Stop onClose(std::size_t depth) override {
        if (depth == 1 && m_inMetadata) {
            m_inMetadata = false;
            return std::nullopt;
        }
        if (depth == 2 && !m_inMetadata && m_field == Field::Offsets &&
            entries.back().offsets.size() != 2) {
            return badEntry("has " + std::to_string(entries.back().offsets.size()) +
                            " data_offsets instead of 2");
        }
        if (depth != 1) return std::nullopt;
        const Entry& entry = entries.back();
        if (!entry.dtype) return badEntry("has no dtype");
        if (!entry.shape) return badEntry("has no shape");
        if (entry.offsets.size() != 2) return badEntry("has no data_offsets");
        return std::nullopt;
    }

    Stop beginName(const std::string& key) {
        if (key.size() > Limits::kNameBytes) {
            return problemOf("safetensors_limit", m_file, key,
                             "has a name of " + std::to_string(key.size()) + " bytes; at most " +
                                 std::to_string(Limits::kNameBytes) + " are accepted",
                             kToolHint);
        }
        if (!m_names.insert(key).second) {
            return problemOf("safetensors_duplicate", m_file, key,
                             "is there twice, so it is not clear which one is meant", kToolHint);
        }
        m_name = key;
        return std::nullopt;
    }

    Stop beginMetadata(const std::string& key) {
        if (metadata.count(key) != 0) {
            return Problem{"safetensors_duplicate",
                           m_file + ": the metadata key " + shownName(key) + " is there twice.",
                           kToolHint, m_file};
        }
        if (metadata.size() == Limits::kTensors) {
            return Problem{
                "safetensors_limit",
                m_file + " has more than " + std::to_string(Limits::kTensors) + " metadata keys.",
                kToolHint, m_file};
        }
        m_metadataKey = key;
        return std::nullopt;
    }

    Stop openEntry(JsonKind kind) {
        if (m_name == kMetadataKey) {
            if (kind == JsonKind::Null) return std::nullopt;
            if (kind != JsonKind::Object) return bad("the metadata are not an object");
            m_inMetadata = true;
            return std::nullopt;
        }
        if (kind != JsonKind::Object)
            return bad("the entry of tensor " + shownName(m_name) + " is not an object");
        if (entries.size() == Limits::kTensors) {
            return Problem{
                "safetensors_limit",
                m_file + " has more than " + std::to_string(Limits::kTensors) + " tensors.",
                kToolHint, m_file};
        }
        entries.emplace_back();
        entries.back().name = m_name;
        m_field = Field::Other;
        return std::nullopt;
    }

    Stop fieldValue(JsonKind kind, const std::string& text) {
        Entry& entry = entries.back();
        if (m_field == Field::DType) {
            if (kind != JsonKind::String) return badEntry("has a dtype that is not a string");
            entry.dtype = dtypeFromName(text);
            if (entry.dtype) return std::nullopt;
            return problemOf("safetensors_dtype", m_file, entry.name,
                             "has the element type " + shownName(text) + ", which is not supported",
                             "Convert the model to BF16, F16 or F32.");
        }
        if (kind != JsonKind::Array) {
            return badEntry(m_field == Field::Shape ? "has a shape that is not a list"
                                                    : "has data_offsets that are not a list");
        }
        if (m_field == Field::Shape) entry.shape.emplace();
        return std::nullopt;
    }

    Stop listValue(JsonKind kind, std::uint64_t number) {
        Entry& entry = entries.back();
        if (m_field == Field::Offsets) {
            if (kind != JsonKind::Unsigned)
                return badEntry("has data_offsets that are not whole numbers");
            if (entry.offsets.size() == 2) return badEntry("has more than 2 data_offsets");
            entry.offsets.push_back(number);
            return std::nullopt;
        }
        if (kind == JsonKind::Negative)
            return problemOf("safetensors_shape", m_file, entry.name, "has a negative dimension",
                             kToolHint);
        // A whole number beyond 64 bits arrives as Float, so it is a shape problem too.
        if (kind == JsonKind::Float || (kind == JsonKind::Unsigned && number > INT64_MAX)) {
            return problemOf("safetensors_shape", m_file, entry.name,
                             "has a dimension that is not a whole number below 2^63", kToolHint);
        }
        if (kind != JsonKind::Unsigned)
            return badEntry("has a shape that is not a list of numbers");
        if (entry.shape->size() == Limits::kRank) {
            return problemOf("safetensors_shape", m_file, entry.name,
                             "has more than " + std::to_string(Limits::kRank) + " dimensions",
                             kToolHint);
        }
        entry.shape->push_back(static_cast<std::int64_t>(number));
        return std::nullopt;
    }

    Stop bad(const std::string& what) const {
        return Problem{"safetensors_header", m_file + ": " + what + ".", kToolHint, m_file};
    }
    Stop badEntry(const std::string& what) const {
        return problemOf("safetensors_header", m_file, entries.back().name, what, kToolHint);
    }

    std::string m_file;
    std::unordered_set<std::string> m_names;
    std::string m_name;
    std::string m_metadataKey;
    bool m_inMetadata = false;
    Field m_field = Field::Other;
};

/// Invariants 2 and 3; sorts the entries by their place in the data.
std::optional<Problem> checkLayout(std::vector<Entry>& entries, std::uint64_t dataBytes,
                                   const std::string& file) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::tuple(a.begin(), a.end(), std::string_view(a.name)) <
               std::tuple(b.begin(), b.end(), std::string_view(b.name));
    });
    for (const Entry& entry : entries) {
        const std::string offsets =
            std::to_string(entry.begin()) + " to " + std::to_string(entry.end());
        if (entry.begin() > entry.end()) {
            return problemOf("safetensors_size", file, entry.name,
                             "has data_offsets that run backwards, " + offsets, kToolHint);
        }
        if (auto problem = checkExtent(file, entry.name, *entry.dtype, *entry.shape,
                                       entry.end() - entry.begin()))
            return problem;
        if (entry.end() > dataBytes) {
            return problemOf("safetensors_truncated", file, entry.name,
                             "lies at bytes " + offsets + " of the data, but the file holds only " +
                                 std::to_string(dataBytes),
                             kDamagedHint);
        }
    }
    std::uint64_t covered = 0;
    for (const Entry& entry : entries) {
        if (entry.begin() != covered) {
            return problemOf("safetensors_layout", file, entry.name,
                             std::string(entry.begin() > covered ? "leaves a hole before it"
                                                                 : "overlaps the one before it") +
                                 ": it should begin at byte " + std::to_string(covered) +
                                 " of the data, but begins at " + std::to_string(entry.begin()),
                             kToolHint);
        }
        covered = entry.end();
    }
    if (covered != dataBytes) {
        return Problem{"safetensors_layout",
                       file + ": the tensors end at byte " + std::to_string(covered) +
                           " of the data, but " + std::to_string(dataBytes) + " bytes are there.",
                       kToolHint, file};
    }
    return std::nullopt;
}

/// The JSON between the length and the data, once its bounds are known to be good.
Result<std::string_view> headerOf(const std::byte* mapping, std::uint64_t fileBytes,
                                  const std::string& file) {
    std::uint64_t headerBytes = 0;
    std::memcpy(&headerBytes, mapping, sizeof headerBytes);
    if (headerBytes > Limits::kHeaderBytes) {
        return Problem{"safetensors_header",
                       file + " announces a header of " + std::to_string(headerBytes) +
                           " bytes; at most " + std::to_string(Limits::kHeaderBytes) +
                           " are allowed.",
                       "This is probably not a safetensors file.", file};
    }
    if (headerBytes > fileBytes - kLengthBytes) {
        return Problem{"safetensors_header",
                       file + " announces a header of " + std::to_string(headerBytes) +
                           " bytes, but only " + std::to_string(fileBytes - kLengthBytes) +
                           " follow.",
                       kDamagedHint, file};
    }
    const std::string_view header(reinterpret_cast<const char*>(mapping) + kLengthBytes,
                                  static_cast<std::size_t>(headerBytes));
    if (header.empty() || header.front() != '{') {
        return Problem{"safetensors_header", file + " has a header that does not start with '{'.",
                       "This is probably not a safetensors file.", file};
    }
    return header;
}

/// Everything open() would refuse, before the first byte is written.
std::optional<Problem> checkForWriting(const std::vector<const TensorView*>& tensors,
                                       const std::string& file) {
    if (tensors.size() > Limits::kTensors) {
        return Problem{"safetensors_limit",
                       file + " would hold " + std::to_string(tensors.size()) +
                           " tensors; at most " + std::to_string(Limits::kTensors) +
                           " are allowed.",
                       "", file, ExitCode::Internal};
    }
    std::unordered_set<std::string_view> names;
    for (const TensorView* tensor : tensors) {
        if (tensor->name.size() > Limits::kNameBytes || tensor->name == kMetadataKey) {
            return problemOf("safetensors_limit", file, tensor->name,
                             "has a name that is too long or reserved", "");
        }
        if (!names.insert(tensor->name).second)
            return problemOf("safetensors_duplicate", file, tensor->name, "is to be written twice",
                             "");
        if (auto problem =
                checkExtent(file, tensor->name, tensor->dtype, tensor->shape, tensor->bytes))
            return problem;
    }
    return std::nullopt;
}

/// Length and JSON, padded. Entries are dumped one by one: an ordered object of 200,000 keys would
/// take quadratic time.
Result<std::string> headerFor(const std::vector<const TensorView*>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              const std::string& file) {
    using Object = nlohmann::ordered_json;
    std::string json = "{";
    try {
        if (!metadata.empty())
            json +=
                "\"" + std::string(kMetadataKey) + "\":" + nlohmann::json(metadata).dump() + ",";
        std::uint64_t begin = 0;
        for (const TensorView* tensor : tensors) {
            const std::uint64_t end = begin + tensor->bytes;
            const Object entry = {{"dtype", name(tensor->dtype)},
                                  {"shape", tensor->shape},
                                  {"data_offsets", {begin, end}}};
            json += Object(tensor->name).dump() + ":" + entry.dump() + ",";
            begin = end;
        }
    } catch (const nlohmann::json::type_error&) {
        return Problem{
            "safetensors_header",
            file + " cannot be written: a tensor name or metadata text is not valid UTF-8.", "",
            file};
    }
    if (json.back() == ',') json.pop_back();
    json += "}";
    json.append((8 - json.size() % 8) % 8, ' ');
    if (json.size() > Limits::kHeaderBytes) {
        return Problem{"safetensors_header",
                       file + " would need a header of " + std::to_string(json.size()) +
                           " bytes; at most " + std::to_string(Limits::kHeaderBytes) +
                           " are allowed.",
                       "", file};
    }
    std::string header(kLengthBytes, '\0');
    const std::uint64_t length = json.size();
    std::memcpy(header.data(), &length, sizeof length);
    return header + json;
}

}  // namespace

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::open(
    const std::filesystem::path& path) {
    const std::string name = path.string();
    if (std::optional<Problem> other = looksLike(path, "weights")) return *std::move(other);
    Result<ReadableFile> file = openForReading(path);
    if (!file) return file.problems();
    if (file->bytes < kLengthBytes) {
        return Problem{"safetensors_truncated",
                       name + " has " + std::to_string(file->bytes) +
                           " bytes; a safetensors file has at least " +
                           std::to_string(kLengthBytes) + ".",
                       kDamagedHint, name};
    }

    std::shared_ptr<SafetensorsFile> opened(new SafetensorsFile);
    void* mapping = ::mmap(nullptr, static_cast<std::size_t>(file->bytes), PROT_READ, MAP_PRIVATE,
                           file->descriptor.get(), 0);
    if (mapping == MAP_FAILED) {
        return notMapped(path, errno);
    }
    opened->m_path = path;
    opened->m_mapping = static_cast<const std::byte*>(mapping);
    opened->m_fileBytes = file->bytes;

    const Result<std::string_view> header = headerOf(opened->m_mapping, file->bytes, name);
    if (!header) return header.problems();
    HeaderReader reader(name);
    if (Result<void> read = reader.read(*header, name, "safetensors_header"); !read)
        return read.problems();
    const std::uint64_t dataBytes = file->bytes - kLengthBytes - header->size();
    if (auto problem = checkLayout(reader.entries, dataBytes, name)) return *std::move(problem);

    const std::byte* data = opened->m_mapping + kLengthBytes + header->size();
    opened->m_metadata = std::move(reader.metadata);
    opened->m_tensors.reserve(reader.entries.size());
    for (Entry& entry : reader.entries) {
        opened->m_tensors.push_back({std::move(entry.name), *entry.dtype, *std::move(entry.shape),
                                     data + entry.begin(),
                                     static_cast<std::size_t>(entry.end() - entry.begin())});
    }
    for (std::size_t i = 0; i < opened->m_tensors.size(); ++i)
        opened->m_index.emplace(opened->m_tensors[i].name, i);
    return std::shared_ptr<const SafetensorsFile>(std::move(opened));
}

SafetensorsFile::~SafetensorsFile() {
    if (m_mapping != nullptr)
        ::munmap(const_cast<std::byte*>(m_mapping), static_cast<std::size_t>(m_fileBytes));
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
    const auto found = m_index.find(name);
    return found == m_index.end() ? nullptr : &m_tensors[found->second];
}

Result<std::uint64_t> streamSafetensors(const std::filesystem::path& file,
                                        const std::vector<TensorView>& tensors,
                                        const std::map<std::string, std::string>& metadata,
                                        const TensorBytes& bytes) {
    std::vector<const TensorView*> ordered;
    for (const TensorView& tensor : tensors) ordered.push_back(&tensor);
    std::sort(ordered.begin(), ordered.end(), [](const TensorView* a, const TensorView* b) {
        return std::tuple(sizeOf(b->dtype), std::string_view(a->name)) <
               std::tuple(sizeOf(a->dtype), std::string_view(b->name));
    });
    if (auto problem = checkForWriting(ordered, file.string())) return *std::move(problem);
    const Result<std::string> header = headerFor(ordered, metadata, file.string());
    if (!header) return header.problems();

    Result<FileWriter> writer = FileWriter::create(file);
    if (!writer) return writer.problems();
    if (Result<void> written = writer->write(header->data(), header->size()); !written)
        return written.problems();
    std::uint64_t total = header->size();
    for (const TensorView* tensor : ordered) {
        const std::byte* data = bytes(static_cast<std::size_t>(tensor - tensors.data()));
        if (Result<void> written = writer->write(data, tensor->bytes); !written)
            return written.problems();
        total += tensor->bytes;
    }
    if (Result<void> published = writer->publish(); !published) return published.problems();
    return total;
}

Result<std::uint64_t> writeSafetensors(const std::filesystem::path& file,
                                       const std::vector<TensorView>& tensors,
                                       const std::map<std::string, std::string>& metadata) {
    return streamSafetensors(file, tensors, metadata,
                             [&](std::size_t index) { return tensors[index].data; });
}

}  // namespace luthier
