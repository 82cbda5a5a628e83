// SPDX-License-Identifier: Apache-2.0
#pragma once
// System calls that fail on demand. faults.cpp defines fsync, write, rename and renameat2 for the
// whole test program; each call is counted while a Fault lives, and the chosen one fails with the
// chosen errno.

namespace luthier::test {

class Fault final {
public:
    /// Plain: renameat2 knows no flags, as on file systems that can neither exchange names nor
    /// refuse to replace.
    enum class Renames { WithFlags, Plain };
    static constexpr int kNever = -1;

    /// The `call`-th of the watched calls from now on (0 is the first) fails with `error`.
    Fault(int call, int error, Renames renames = Renames::WithFlags);
    Fault(const Fault&) = delete;
    Fault& operator=(const Fault&) = delete;
    ~Fault();
    /// Whether the chosen call was reached.
    static bool happened();
    static bool happenedInFsync();
};

}  // namespace luthier::test
