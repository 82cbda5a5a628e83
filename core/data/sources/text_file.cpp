// SPDX-License-Identifier: Apache-2.0
#include "data/sources/text_file.h"

#include "io/file.h"
#include "io/recognise.h"
#include "text/bridge/luthier_text.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <fcntl.h>
#include <unistd.h>

namespace luthier {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMostUnpacked =
    std::uint64_t{1} << 40;  // a file that unpacks to more was made to fill disks

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

fs::path temporaryFolder() {
    const char* chosen = std::getenv("TMPDIR");
    return chosen != nullptr && *chosen == '/' ? chosen : "/var/tmp";  // /tmp may be memory
}

Result<TextFile> unpacked(const fs::path& path) {
    const fs::path folder = temporaryFolder();
    std::string name = folder / "luthier-unpacked-XXXXXX";
    const auto target = std::make_shared<Descriptor>(::mkostemp(name.data(), O_CLOEXEC));
    if (!target->isOpen())
        return Problem{"disk_full",
                       path.string() + " could not be unpacked into " + folder.string() + ": " +
                           std::strerror(errno) + ".",
                       "Set TMPDIR to a folder with room.", path.string()};
    ::unlink(name.c_str());
    const std::string source = path.string();
    const LuthierBuffer answer =
        luthier_unpack(reinterpret_cast<const std::uint8_t*>(source.data()), source.size(),
                       target->get(), kMostUnpacked);
    const std::string words(reinterpret_cast<const char*>(answer.data), answer.size);
    luthier_buffer_free(answer);
    if (answer.status != LUTHIER_TEXT_OK)
        return Problem{
            "data_unpack", source + " could not be unpacked: " + words + ".",
            "Fetch the file again; unpacking needs room in " + folder.string() + " (TMPDIR).",
            source};
    return TextFile{path, "/proc/self/fd/" + std::to_string(target->get()), path,
                    static_cast<std::int64_t>(std::strtoll(words.c_str(), nullptr, 10)), target};
}

}  // namespace

Result<TextFile> openTextFile(const fs::path& path) {
    const Result<Content> content = contentOfFile(path);
    if (!content) return content.problems();
    if (*content != Content::Gzip && *content != Content::Zstd) {
        if (std::optional<Problem> foreign = looksLike(path, "rows")) return *foreign;
        std::error_code code;
        return TextFile{path, path, path, static_cast<std::int64_t>(fs::file_size(path, code))};
    }
    Result<TextFile> file = unpacked(path);
    if (!file) return file.problems();
    const std::string ending = lower(path.extension().string());
    if (ending == ".gz" || ending == ".zst") file->name = path.parent_path() / path.stem();
    const Result<Content> inner = contentOfFile(file->content);
    if (!inner) return inner.problems();
    if (std::optional<Problem> foreign = looksLike(*inner, file->name, "rows")) {
        foreign->message = path.string() + ", unpacked: " + foreign->message;
        return *foreign;
    }
    return file;
}

}  // namespace luthier
