// SPDX-License-Identifier: Apache-2.0
#pragma once
// The user's own folder, also where HOME is not set (services, containers): a folder that others
// can foresee, as one in /tmp, is never a stand-in.

#include <cstdlib>
#include <filesystem>
#include <pwd.h>
#include <unistd.h>

namespace luthier {

/// HOME, else what the user database says; empty where neither names a folder.
inline std::filesystem::path homeFolder() {
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') return home;
    char buffer[4096];
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwuid_r(::getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr &&
        found->pw_dir != nullptr && *found->pw_dir == '/')
        return found->pw_dir;
    return {};
}

}  // namespace luthier
