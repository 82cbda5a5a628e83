// SPDX-License-Identifier: Apache-2.0
#include "io/recognise.h"

#include "io/file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <sys/stat.h>

namespace luthier {

namespace {

struct Magic {
    std::string_view bytes;
    std::size_t at;
    Content content;
};

using namespace std::string_view_literals;

constexpr std::array kMagics{
    Magic{"version https://git-lfs.github.com/spec/"sv, 0, Content::GitLfsPointer},
    Magic{"version https://hawser.github.com/spec/"sv, 0, Content::GitLfsPointer},
    Magic{"/annex/objects/"sv, 0, Content::GitAnnexPointer},
    Magic{"\x1f\x8b"sv, 0, Content::Gzip},
    Magic{"\x28\xb5\x2f\xfd"sv, 0, Content::Zstd},
    Magic{"BZh"sv, 0, Content::Bzip2},
    Magic{"\xfd"
          "7zXZ\0"sv,
          0, Content::Xz},
    Magic{"\x04\x22\x4d\x18"sv, 0, Content::Lz4},
    Magic{"7z\xbc\xaf\x27\x1c"sv, 0, Content::SevenZip},
    Magic{"ustar"sv, 257, Content::Tar},
    Magic{"\x89HDF\r\n\x1a\n"sv, 0, Content::Hdf5},
    Magic{"SQLite format 3\0"sv, 0, Content::Sqlite},
    Magic{"%PDF-"sv, 0, Content::Pdf},
    Magic{"\x89PNG\r\n\x1a\n"sv, 0, Content::Picture},
    Magic{"\xff\xd8\xff"sv, 0, Content::Picture},
    Magic{"GIF8"sv, 0, Content::Picture},
    Magic{"\x93NUMPY"sv, 0, Content::NumpyArray},
    Magic{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, 0, Content::Spreadsheet},
    Magic{"GGUF"sv, 0, Content::Gguf},
    Magic{"PAR1"sv, 0, Content::Parquet},
    Magic{"PARE"sv, 0, Content::Parquet},
    Magic{"ARROW1"sv, 0, Content::Arrow},
};

/// What the hub answers in place of a file, saved under the file's name.
constexpr std::array kHubMessages{"Entry not found"sv,      "Invalid username or password"sv,
                                  "Repository not found"sv, "Invalid credentials"sv,
                                  "Access to model "sv,     "Access to dataset "sv,
                                  "Unauthorized"sv,         "{\"error\":"sv,
                                  "{\"error\" :"sv,         "404: Not Found"sv,
                                  "Rate limit"sv,           "<Error>"sv};

std::string lowered(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return result;
}

bool isHtml(std::string_view head) {
    if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
    while (!head.empty() && std::isspace(static_cast<unsigned char>(head.front())))
        head.remove_prefix(1);
    const std::string begin = lowered(head.substr(0, 64));
    return begin.starts_with("<!doctype html") || begin.starts_with("<html") ||
           begin.starts_with("<head>");
}

/// Protocols 2 to 5 name themselves; what torch wrote before its zip files begins with its own
/// magic number in one.
bool isPickle(std::string_view head) {
    return head.size() >= 3 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5 &&
           (std::string_view("}]\x95(\x8a\x8e"
                             "cK\x8c\x58q")
                .find(head[2]) != std::string_view::npos);
}

Content zipKind(std::string_view head) {
    // The first member's name stands behind 30 bytes.
    const std::string_view name = head.substr(std::min<std::size_t>(head.size(), 30));
    if (name.substr(0, 200).find("/data.pkl") != std::string_view::npos ||
        name.starts_with("data.pkl") ||
        name.substr(0, 200).find("/byteorder") != std::string_view::npos)
        return Content::TorchZip;
    if (name.starts_with("[Content_Types].xml") || name.starts_with("_rels/") ||
        name.starts_with("xl/") || name.starts_with("mimetypeapplication/vnd.oasis"))
        return Content::Spreadsheet;
    return Content::Zip;
}

bool isSafetensors(std::string_view head, std::uint64_t size) {
    if (head.size() < 9 || head[8] != '{') return false;
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i)
        length = length << 8 | static_cast<unsigned char>(head[static_cast<std::size_t>(i)]);
    return length >= 2 && length <= 100'000'000 && length < size + 100'000'000;
}

/// What a kind is called, what to do about it, and the endings it is right under (none: it is never
/// right).
struct Line {
    Content content;
    const char* code;
    const char* is;  ///< "FILE …"
    const char* hint;
    std::span<const std::string_view> endings = {};
};

constexpr std::array kWeightEndings{".safetensors"sv};
constexpr std::array kGgufEndings{".gguf"sv};
constexpr std::array kParquetEndings{".parquet"sv};
constexpr std::array kArrowEndings{".arrow"sv, ".feather"sv};

const std::array kLines{
    Line{Content::Empty, "file_empty", "is empty: it has no bytes",
         "Fetch or write the file again."},
    Line{Content::Zeros, "file_download",
         "begins with nothing but zero bytes, as half a download or a copy that broke off does",
         "Fetch the file again."},
    Line{Content::GitLfsPointer, "git_lfs_pointer",
         "is a Git LFS pointer: three lines that stand for the file, which was not fetched",
         "Run \"git lfs pull\" in its repository (after \"git lfs install\"), or download the file "
         "itself."},
    Line{Content::GitAnnexPointer, "git_lfs_pointer",
         "is a git-annex pointer that stands for the file, which was not fetched",
         "Run \"git annex get\" on it in its repository."},
    Line{Content::HubMessage, "file_download",
         "holds a server's error message in place of the file",
         "Log in if the repository asks for it, and download the file again."},
    Line{Content::Html, "file_web_page",
         "is a web page (HTML): the address of the file's page was saved in place of the file",
         "Download the file itself, on Hugging Face and GitHub by the address with /resolve/ or "
         "/raw/ in place of /blob/."},
    Line{Content::Gzip, "file_compressed", "is compressed with gzip",
         "Unpack it first: gunzip, or tar xzf for a .tar.gz."},
    Line{Content::Zstd, "file_compressed", "is compressed with zstd", "Unpack it first: unzstd."},
    Line{Content::Bzip2, "file_compressed", "is compressed with bzip2",
         "Unpack it first: bunzip2."},
    Line{Content::Xz, "file_compressed", "is compressed with xz", "Unpack it first: unxz."},
    Line{Content::Lz4, "file_compressed", "is compressed with lz4", "Unpack it first: unlz4."},
    Line{Content::SevenZip, "file_archive", "is a 7z archive", "Unpack it first: 7z x."},
    Line{Content::Tar, "file_archive", "is a tar archive", "Unpack it first: tar xf."},
    Line{Content::Zip, "file_archive", "is a zip archive", "Unpack it first: unzip."},
    Line{Content::TorchZip, "file_pickle",
         "is a file of torch.save (a zip with a pickle), which can run code when it is opened",
         "Convert it with Python: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
         "\"model.safetensors\")."},
    Line{Content::Pickle, "file_pickle", "is a Python pickle, which can run code when it is opened",
         "Convert it with Python: weights to .safetensors, rows to .jsonl or .parquet."},
    Line{Content::Spreadsheet, "file_kind", "is an office document (a spreadsheet)",
         "Save it as CSV in UTF-8."},
    Line{Content::Hdf5, "file_kind", "is an HDF5 file",
         "Convert it with Python: weights to .safetensors, rows to .jsonl or .parquet."},
    Line{Content::Sqlite, "file_kind", "is an SQLite database",
         "Export its table as CSV or JSON lines."},
    Line{Content::Pdf, "file_kind", "is a PDF document", "Extract its text first."},
    Line{Content::Picture, "file_kind", "is a picture", "Choose another file."},
    Line{Content::NumpyArray, "file_kind", "is a NumPy array", "Convert it with Python."},
    Line{Content::Safetensors, "file_kind", "holds safetensors weights",
         "Give it the ending .safetensors, or choose another file.", kWeightEndings},
    Line{Content::Gguf, "file_kind", "is a GGUF model",
         "Give it the ending .gguf, or choose another file.", kGgufEndings},
    Line{Content::Parquet, "file_kind", "is a Parquet table",
         "Give it the ending .parquet, or choose another file.", kParquetEndings},
    Line{Content::Arrow, "file_kind", "is an Arrow table",
         "Give it the ending .arrow, or choose another file.", kArrowEndings},
};

constexpr std::array kOtherEndings{".json"sv, ".jsonl"sv, ".ndjson"sv, ".csv"sv,  ".tsv"sv,
                                   ".txt"sv,  ".jinja"sv, ".model"sv,  ".yaml"sv, ".yml"sv};

/// Whether the ending belongs to a kind, and to another one than `line`'s.
bool isUnderAnotherEnding(const Line& line, const std::filesystem::path& path) {
    const std::string ending = lowered(path.extension().string());
    const auto holds = [&ending](std::span<const std::string_view> endings) {
        return std::find(endings.begin(), endings.end(), ending) != endings.end();
    };
    if (line.endings.empty()) return true;
    if (holds(line.endings)) return false;
    return holds(kOtherEndings) ||
           std::any_of(kLines.begin(), kLines.end(),
                       [&](const Line& other) { return holds(other.endings); });
}

}  // namespace

Content contentOf(std::string_view head, std::uint64_t size) {
    if (size == 0 || head.empty()) return Content::Empty;
    if (head.starts_with("PK\x03\x04")) return zipKind(head);
    for (const Magic& magic : kMagics)
        if (head.size() > magic.at && head.substr(magic.at).starts_with(magic.bytes))
            return magic.content;
    if (isPickle(head)) return Content::Pickle;
    if (isHtml(head)) return Content::Html;
    if (size < 2048 && std::any_of(
                           kHubMessages.begin(), kHubMessages.end(),
                           [head](std::string_view text) { return head.starts_with(text); }))
        return Content::HubMessage;
    if (isSafetensors(head, size)) return Content::Safetensors;
    if (head.size() >= 64 && head.find_first_not_of('\0') == std::string_view::npos)
        return Content::Zeros;
    return Content::Unknown;
}

Result<Content> contentOfFile(const std::filesystem::path& path) {
    Result<ReadableFile> file = openForReading(path);
    if (!file) return file.problems();
    std::string head(std::min<std::uint64_t>(kHeadBytes, file->bytes), '\0');
    const Result<std::size_t> got = readSome(*file, head.data(), head.size(), path);
    if (!got) return got.problems();
    head.resize(*got);
    return contentOf(head, file->bytes);
}

std::optional<Problem> looksLike(const std::filesystem::path& path, const std::string& purpose) {
    struct stat state{};
    if (::stat(path.c_str(), &state) != 0 || S_ISDIR(state.st_mode)) return std::nullopt;
    if (!S_ISREG(state.st_mode))
        return Problem{"not_plain_file",
                       path.string() + " is a " +
                           (S_ISFIFO(state.st_mode)   ? "pipe"
                            : S_ISSOCK(state.st_mode) ? "socket"
                                                      : "device") +
                           ", where " + purpose + " should be; only plain files are opened.",
                       "Write what it gives into a file, and choose that.", path.string()};
    const Result<Content> content = contentOfFile(path);
    if (!content) return content.problem();
    std::error_code code;
    if (std::filesystem::exists(path.string() + ".aria2", code))
        return Problem{"file_download",
                       path.string() + " is half a download: " + path.filename().string() +
                           ".aria2 beside it says that it is not finished.",
                       "Let aria2 finish it, or download the file again.", path.string()};
    return looksLike(*content, path, purpose);
}

std::optional<Problem> looksLike(Content content, const std::filesystem::path& path,
                                 const std::string& purpose) {
    for (const Line& line : kLines)
        if (line.content == content && isUnderAnotherEnding(line, path))
            return Problem{line.code,
                           path.string() + " " + line.is + "; " + purpose + " should be there.",
                           line.hint, path.string()};
    return std::nullopt;
}

}  // namespace luthier
