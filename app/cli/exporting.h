// SPDX-License-Identifier: Apache-2.0
#pragma once
// `export`, as the command and the window's session both do it.

#include "contract/json.h"

#include <functional>
#include <string>

namespace luthier::cli {

/// @param source a run (folder or id) or an adapter folder; of some formats also a model folder.
/// @param type of a GGUF file's values; "": usual.
///  @param model base model's folder; "" takes the run's.
/// Compared on evaluation rows of the run where its data can still be read, else on drawn token
/// ids; the certificate says which.
/// @returns {"path","files":[{"name","bytes","sha256"}],"certificate","seconds"}. Throws Failure.
Json exportResult(
    const std::string& source, const std::string& model, const std::string& format,
    const std::string& type, const std::string& out, const std::string& workspace,
    const std::function<void(const std::string&, std::int64_t, std::int64_t)>& progress);

/// {"formats":[{"format","title","summary"}]}
Json listExportFormats();

}  // namespace luthier::cli
