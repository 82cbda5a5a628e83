// SPDX-License-Identifier: Apache-2.0
#include "data/sources/file_kind.h"

#include <algorithm>
#include <cctype>

namespace luthier {

const std::vector<FileKind>& fileKinds() {
    static const std::vector<FileKind> list = listOfFileKinds();
    return list;
}

const FileKind* fileKindOf(const std::string& ending) {
    for (const FileKind& kind : fileKinds())
        if (std::find(kind.endings.begin(), kind.endings.end(), ending) != kind.endings.end())
            return &kind;
    return nullptr;
}

std::string endingOf(const std::filesystem::path& path) {
    std::string ending = path.extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return ending;
}

std::string endingsOfRows() {
    std::vector<std::string> all;
    for (const FileKind& kind : fileKinds())
        all.insert(all.end(), kind.endings.begin(), kind.endings.end());
    std::string text;
    for (std::size_t i = 0; i < all.size(); ++i)
        text += (i == 0 ? "" : i + 1 == all.size() ? " or " : ", ") + all[i];
    return text;
}

}  // namespace luthier
