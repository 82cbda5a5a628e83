// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the two GGUF exporters share: where the file and its certificate go, and the keys every file
// has.

#include "export/exporter.h"
#include "io/gguf.h"

#include <filesystem>
#include <functional>
#include <string>

namespace luthier {

/// Runs `make`, which writes the given file, reads it back and returns the certificate; then
/// publishes both, or leaves nothing. A request whose `out` ends in .gguf gets that file and
/// `<out>.luthier-export.json`; any other gets a folder with `name` in it.
Result<ExportResult> publishGguf(
    const ExportRequest& request, const std::string& name,
    const std::function<Result<Json>(const std::filesystem::path& file)>& make);

/// The value type of the request; `usual` when it names none. Problem code: unknown_choice.
Result<GgufType> ggufTypeOf(const ExportRequest& request, GgufType usual);

/// A name for general.name: the folder's, without a trailing slash.
std::string folderName(const std::filesystem::path& folder);

}  // namespace luthier
