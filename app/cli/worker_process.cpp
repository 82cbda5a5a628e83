// SPDX-License-Identifier: Apache-2.0
#include "worker_process.h"

#include "io/atomic.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace luthier::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kPaceSteps = 6;

/// A folder that goes with this value.
class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (fs::temp_directory_path() / "luthier-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            throw Failure({"folder_not_writable",
                           "No folder could be made in " + fs::temp_directory_path().string() + ".",
                           "Set TMPDIR to a folder of yours.", ""});
        m_path = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        fs::remove_all(m_path, ignored);
    }
    const fs::path& path() const { return m_path; }

private:
    fs::path m_path;
};

class Worker {
public:
    Worker(const fs::path& config, const fs::path& workspace) {
        int input[2] = {-1, -1}, output[2] = {-1, -1};
        if (::pipe2(input, O_CLOEXEC) == 0 && ::pipe2(output, O_CLOEXEC) == 0) m_process = ::fork();
        if (m_process < 0) {
            for (const int end : {input[0], input[1], output[0], output[1]}) ::close(end);
            throw Failure({"no_process", "No worker could be started.", "Close other programs.", "",
                           ExitCode::RunFailed});
        }
        if (m_process == 0) {
            ::dup2(input[0], 0);
            ::dup2(output[1], 1);
            std::signal(SIGINT, SIG_DFL);  // what this process ignores, its worker would too
            ::execl("/proc/self/exe", "luthier-cli", "train", config.c_str(), "--workspace",
                    workspace.c_str(), "--events", "-", static_cast<char*>(nullptr));
            ::_exit(127);
        }
        ::close(input[0]);
        ::close(output[1]);
        m_input = input[1];
        m_output = ::fdopen(output[0], "r");
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() {
        closeInput();
        std::fclose(m_output);
        if (m_process > 0) ::waitpid(m_process, nullptr, 0);
    }

    /// It checkpoints and stops.
    void closeInput() {
        if (m_input >= 0) ::close(std::exchange(m_input, -1));
    }

    /// The next line of its events; nullopt at their end.
    std::optional<std::string> nextLine() {
        char* line = nullptr;
        std::size_t room = 0;
        const ssize_t length = ::getline(&line, &room, m_output);
        std::optional<std::string> text;
        if (length >= 0) text.emplace(line, static_cast<std::size_t>(length));
        std::free(line);
        return text;
    }

    /// Its exit code, 128 and more for a signal.
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(m_process, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

private:
    pid_t m_process = -1;
    int m_input = -1;
    std::FILE* m_output = nullptr;
};

}  // namespace

WorkerOutcome trainInProcess(const Json& config, const fs::path& workspace,
                             const std::function<bool(const RunSnapshot&)>& goOn) {
    const TemporaryFolder folder;
    const fs::path file = folder.path() / "run.json";
    writeJsonAtomically(file, config).orThrow();
    WorkerOutcome outcome;
    Worker worker(file, workspace);
    while (const std::optional<std::string> line = worker.nextLine()) {
        outcome.run.applyLine(*line);
        if (!goOn(outcome.run)) worker.closeInput();
    }
    const int code = worker.wait();
    outcome.isStopped = code == static_cast<int>(ExitCode::Stopped);
    if (code != 0 && !outcome.isStopped && !outcome.run.failure)
        outcome.run.failure = Problem{
            "worker_ended", "Its process ended with " + std::to_string(code) + ".",
            "Its messages stand above, and in log.txt of its run folder.", "", ExitCode::RunFailed};
    return outcome;
}

Result<Pace> measurePace(const Json& config, const std::function<bool(const RunSnapshot&)>& goOn) {
    Json few = config;
    few["train"]["max_steps"] = kPaceSteps;
    few["train"]["epochs"] = nullptr;
    few["train"]["eval_every"] = kPaceSteps;
    few["train"]["save_every"] = kPaceSteps;
    few["train"]["sample_prompts"] = Json::array();
    const TemporaryFolder workspace;
    const WorkerOutcome outcome = trainInProcess(few, workspace.path(), goOn);
    if (outcome.run.failure) return *outcome.run.failure;
    std::vector<double> times = outcome.run.steps.stepSeconds;
    if (outcome.isStopped || times.size() < 3)
        return Problem{"cancelled", "The measurement was cancelled.", "", ""};
    times.erase(times.begin(), times.begin() + 2);
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return Pace{*middle, outcome.run.peakBytes()};
}

}  // namespace luthier::cli
