// SPDX-License-Identifier: Apache-2.0
#pragma once
// A run as a person follows it in a terminal: its events become the bar of Progress and the few
// lines that stay.

#include "progress.h"

#include "contract/run_snapshot.h"

#include <string>

namespace luthier::cli {

/// One run's events in their order. Not for several threads.
class RunProgress final {
public:
    explicit RunProgress(Progress& progress) : m_progress(progress) {}

    /// What is known before the first event: a run that is taken up again sends no `run_started`.
    void begin(const std::string& id, const Json& config);
    void apply(const Json& event);
    const RunSnapshot& run() const { return m_run; }

private:
    void tell();

    Progress& m_progress;
    RunSnapshot m_run;
    std::size_t m_toldWarnings = 0;
    std::size_t m_toldEvals = 0;
    std::size_t m_toldSamples = 0;
    std::size_t m_toldRates = 0;
};

/// The bar of a run as it stands: paused, in a phase, or training. `position`: before it, may be
/// empty.
void showRun(Progress& progress, const RunSnapshot& run, const std::string& position);

/// What a run came to, for the end of `train`: losses, best evaluation, time, peak memory, size,
/// and the two commands that one would type next.
/// @param summary of `finished`; @param wallSeconds of this process; @param workspace as given, ""
/// for the default
std::string runEndText(const RunSnapshot& run, const Json& summary, const std::string& folder,
                       double wallSeconds, const std::string& workspace);

}  // namespace luthier::cli
