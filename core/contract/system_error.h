// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a call that the system refused means to a person. Some reasons have nothing to do with the
// file at hand, and its permissions are no remedy for them.

#include "contract/problem.h"

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace luthier {

inline std::string systemText(int error) { return std::generic_category().message(error); }

/// `usual` where the errno is about the file itself.
inline std::string remedyFor(int error, const std::string& usual) {
    if (error == EMFILE || error == ENFILE)
        return "Too many files are open: raise the limit (ulimit -n 4096) or close other programs.";
    if (error == ENOMEM) return "Close other programs.";
    if (error == EIO)
        return "The disk reports a fault: copy what matters elsewhere, then check it.";
    if (error == ESTALE || error == ENOTCONN || error == EHOSTDOWN || error == ETIMEDOUT)
        return "The folder lies on another machine that does not answer: mount it again.";
    if (error == ENAMETOOLONG) return "Choose a shorter name.";
    if (error == ELOOP) return "A link in the path leads to itself: mend it.";
    return usual;
}

/// Of a file that could not be opened or read. Code file_unreadable; `error` is an errno, 0 when
/// none is known.
inline Problem unreadable(const std::filesystem::path& path, int error) {
    return {"file_unreadable",
            path.string() + " could not be read" + (error ? ": " + systemText(error) : "") + ".",
            remedyFor(error, "Check its permissions."), path.string()};
}

}  // namespace luthier
