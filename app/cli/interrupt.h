// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ctrl-C (and SIGTERM, SIGHUP) as a question that long work asks, so that what it has begun is
// removed and not left half made.

namespace luthier::cli {

/// While one lives, the first such signal is only noted; the second ends the process as usual. One
/// at a time.
class Interrupt final {
public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    /// Throws the Failure "cancelled" (exit 5) once a signal came.
    void check() const;
};

}  // namespace luthier::cli
