// SPDX-License-Identifier: Apache-2.0
#include "export/gguf_file.h"

#include "model/gguf_values.h"
#include "io/atomic.h"
#include "io/sha256.h"

#include <optional>
#include <system_error>

namespace luthier {

namespace fs = std::filesystem;

namespace {

Problem mismatch(const ExportRequest& request, const Json& certificate) {
    return {"export_mismatch",
            "The GGUF file does not give the trained model's logits: they differ by " +
                dumpLine(certificate["max_abs_difference"]) + ", mean KL " +
                dumpLine(certificate["mean_kl"]) + ".",
            "Nothing was written. Export a merged folder instead, and please report this.",
            request.out.string(), ExitCode::RunFailed};
}

Result<ExportResult> publishGgufFile(const ExportRequest& request,
                                     const std::function<Result<Json>(const fs::path&)>& make) {
    const fs::path hidden =
        request.out.parent_path() / ("." + request.out.filename().string() + ".partial");
    std::error_code code;
    if (!request.out.parent_path().empty())
        if (Result<void> made = createFoldersDurably(request.out.parent_path()); !made)
            return made.problems();
    const auto failed = [&](Problems problems) {
        fs::remove(hidden, code);
        return problems;
    };
    Result<Json> certificate = make(hidden);
    if (!certificate) return failed(certificate.problems());
    if ((*certificate)["passed"] != true) return failed({mismatch(request, *certificate)});
    Result<std::string> hash = sha256OfFile(hidden);
    if (!hash) return failed(hash.problems());
    ExportResult result;
    result.path = request.out;
    result.files = {
        {request.out.filename().string(), static_cast<std::int64_t>(fs::file_size(hidden, code))}};
    (*certificate)["files"] = Json::array(
        {{{"name", result.files[0].name}, {"bytes", result.files[0].bytes}, {"sha256", *hash}}});
    result.certificate = *certificate;
    // The certificate last: it speaks for a file that is there.
    if (Result<void> done = publishFile(hidden, request.out); !done) return failed(done.problems());
    if (Result<void> done =
            writeJsonAtomically(request.out.string() + ".luthier-export.json", *certificate);
        !done)
        return done.problems();
    return result;
}

}  // namespace

Result<ExportResult> publishGguf(const ExportRequest& request, const std::string& name,
                                 const std::function<Result<Json>(const fs::path& file)>& make) {
    if (request.out.extension() == ".gguf") return publishGgufFile(request, make);
    Result<AtomicDir> target = AtomicDir::begin(request.out);
    if (!target) return target.problems();
    Result<Json> certificate = make(target->path() / name);
    if (!certificate) return certificate.problems();
    if ((*certificate)["passed"] != true) return mismatch(request, *certificate);
    ExportResult result;
    result.certificate = *certificate;
    Result<void> done = writeCertificate(target->path(), result.certificate);
    if (done) done = target->commit(Existing::Refuse);
    if (!done) return done.problems();
    result.path = request.out;
    result.files = filesIn(request.out);
    return result;
}

Result<GgufType> ggufTypeOf(const ExportRequest& request, GgufType usual) {
    if (request.type.empty()) return usual;
    const std::optional<GgufType> type = ggufTypeOf(request.type);
    if (!type)
        return Problem{"unknown_choice", "\"" + request.type + "\" is not a type of values.",
                       "Choose f32, f16, bf16 or q8_0.", "--type", ExitCode::BadUsage};
    return *type;
}

std::string folderName(const fs::path& folder) {
    return folder.filename().empty() ? folder.parent_path().filename().string()
                                     : folder.filename().string();
}

}  // namespace luthier
