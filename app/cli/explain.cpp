// SPDX-License-Identifier: Apache-2.0
#include "explain.h"

#include "contract/number_text.h"

#include <c10/util/Exception.h>

#include <cerrno>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

namespace luthier::cli {

namespace {

Problem outOfMemory(const std::string& what) {
    return {
        "out_of_memory",
        "There is not enough memory for this" + (what.empty() ? std::string() : ": " + what) + ".",
        "Lower train.batch_size or data.max_length, choose a smaller model, or close other "
        "programs.",
        "train.batch_size", ExitCode::OutOfMemory};
}

Problem internal(const std::string& what) {
    return {"internal", "An internal step failed: " + what,
            "This is a fault of Luthier; please report it with this message.", "",
            ExitCode::Internal};
}

/// torch tells a refused allocation by the words of its allocator.
Problem fromTorch(const std::string& text) {
    const std::string first = text.substr(0, text.find('\n'));
    for (const char* sign :
         {"DefaultCPUAllocator", "out of memory", "bad_alloc", "not enough memory",
          "Cannot allocate memory", "can't allocate memory"})
        if (text.find(sign) != std::string::npos) {
            const std::size_t tried = first.find("you tried to allocate ");
            return outOfMemory(
                tried == std::string::npos
                    ? ""
                    : first.substr(tried + 4, first.find(" bytes", tried) - tried + 2));
        }
    return internal(first);
}

}  // namespace

Problem explain(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const Failure& failure) {
        return failure.problem();
    } catch (const std::bad_alloc&) {
        return outOfMemory("");
    } catch (const c10::Error& torchError) {
        return fromTorch(torchError.what_without_backtrace());
    } catch (const std::filesystem::filesystem_error&
                 refused) {  // a name longer than the system takes, say
        const std::string path = printable(refused.path1().string());
        return {"path_unusable",
                path.substr(0, 200) + (path.size() > 200 ? "…" : "") +
                    " cannot be opened: " + refused.code().message() + ".",
                "Check the path.", path.substr(0, 200), ExitCode::BadInput};
    } catch (const std::system_error& refused) {  // a thread that could not be started
        if (refused.code().value() == EAGAIN || refused.code().value() == ENOMEM)
            return outOfMemory("no thread could be started");
        return internal(refused.what());
    } catch (const std::length_error&) {
        return outOfMemory("");
    } catch (const std::exception& other) {
        return fromTorch(other.what());
    } catch (...) {
        return internal("of an unknown kind");
    }
}

}  // namespace luthier::cli
