// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include "contract/problem.h"

#include <array>
#include <atomic>
#include <csignal>

namespace luthier::cli {

namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
std::atomic<bool> wasInterrupted = false;
std::array<struct sigaction, kSignals.size()> before{};

void note(int number) {
    wasInterrupted = true;
    std::signal(number, SIG_DFL);
}

}  // namespace

Interrupt::Interrupt() {
    wasInterrupted = false;
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        ::sigaction(kSignals[i], nullptr, &before[i]);
        if (before[i].sa_handler == SIG_IGN) continue;  // nohup
        struct sigaction chosen{};
        chosen.sa_handler = note;
        ::sigaction(kSignals[i], &chosen, nullptr);
    }
}

Interrupt::~Interrupt() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
}

void Interrupt::check() const {
    if (wasInterrupted)
        throw Failure(
            {"cancelled", "Interrupted; nothing was written.", "", "", ExitCode::Stopped});
}

}  // namespace luthier::cli
