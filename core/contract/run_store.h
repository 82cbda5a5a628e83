// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where runs live: WORKSPACE/runs/RUN_ID/. The folders are the
// truth. WORKSPACE/index.sqlite only makes listing thousands of them quick: every row carries the
// size and time of the files it was derived from and is derived again when they differ; a missing
// or damaged index is rebuilt. Notes and tags are the user's and live in the folder.

#include "contract/json.h"
#include "contract/problem.h"
#include "contract/run_snapshot.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace luthier {

/// A workspace folder: the argument, else LUTHIER_WORKSPACE, else $XDG_DATA_HOME/luthier, else
/// ~/.local/share/luthier.
struct Workspace {
    std::filesystem::path root;

    static Workspace choose(const std::filesystem::path& argument = {});
    std::filesystem::path runs() const { return root / "runs"; }
    std::filesystem::path index() const { return root / "index.sqlite"; }
    std::filesystem::path models() const { return root / "models"; }
    std::filesystem::path data() const { return root / "data"; }
};

/// Names of the files in a run folder, in one place.
struct RunFolder {
    std::filesystem::path path;

    std::string id() const { return path.filename().string(); }
    std::filesystem::path config() const { return path / "run.json"; }
    std::filesystem::path events() const { return path / "events.jsonl"; }
    std::filesystem::path summary() const { return path / "summary.json"; }
    std::filesystem::path log() const { return path / "log.txt"; }
    std::filesystem::path notes() const {
        return path / "notes.json";
    }  ///< {"note", "tags", "name"}: what the user wrote
    std::filesystem::path adapter() const { return path / "adapter"; }
    std::filesystem::path model() const { return path / "model"; }
    std::filesystem::path checkpoints() const { return path / "checkpoints"; }
    std::filesystem::path checkpoint(std::int64_t step) const;  ///< checkpoints/step-000123
    std::filesystem::path worker() const { return path / "worker.json"; }
    std::filesystem::path lock() const { return path / "worker.lock"; }
    std::filesystem::path socket() const { return path / "worker.sock"; }

    /// Steps of the checkpoints on disk, ascending. Folders with other names (unfinished writes)
    /// are not checkpoints.
    std::vector<std::int64_t> checkpointSteps() const;
    /// True while a process holds worker.lock.
    bool isLocked() const;
};

/// worker.lock held by this process; released when it dies or this value goes.
class RunLock final {
public:
    static Result<RunLock> acquire(
        const RunFolder& folder);  ///< problem run_locked when another process has it
    RunLock(RunLock&& other) noexcept;
    RunLock& operator=(RunLock&& other) noexcept;
    ~RunLock();

private:
    explicit RunLock(int descriptor) : m_descriptor(descriptor) {}
    int m_descriptor = -1;
};

/// "20261124-041530-poems-lora-3f9a": sorts by time, readable, unique. `timeSeconds` since the
/// epoch, UTC.
std::string makeRunId(const std::string& name, double timeSeconds);

/// What the run list shows (one element of `runs list --json`).
struct RunInfo {
    std::string id;
    std::string name;
    std::string group;
    RunStatus status = RunStatus::Queued;
    std::string method;
    std::string model;   ///< last part of the model's path
    double created = 0;  ///< seconds since the epoch
    std::int64_t steps = 0;
    std::int64_t maxSteps = 0;
    double loss = 0;          ///< last; NaN without
    double evalLoss = 0;      ///< last; NaN without
    double bestEvalLoss = 0;  ///< NaN without
    std::int64_t bestEvalStep = 0;
    std::int64_t trainable = 0;
    std::int64_t total = 0;
    std::int64_t adapterBytes = 0;
    double seconds = 0;
    double tokensPerSecond = 0;
    std::int64_t peakBytes = 0;
    std::vector<std::string> tags;
    std::string note;
    std::string failure;           ///< message of `failed`; empty when the run did not fail
    std::vector<float> lossCurve;  ///< at most 80 means over equal stretches of the loss, for a
                                   ///< small drawing; not in toJson()
    std::filesystem::path folder;
};

Json toJson(const RunInfo& info);
/// Derives the facts of one run from its folder, without the index.
RunInfo readRunInfo(const RunFolder& folder);
/// The same of a snapshot that was read from it already.
RunInfo readRunInfo(const RunFolder& folder, const RunSnapshot& snapshot);

/// One dotted key in which configurations differ; `values` has one entry a run, null where the key
/// is absent.
struct ConfigDifference {
    std::string key;
    std::vector<Json> values;
};

/// Differences of resolved configurations in document order. Keys that name a run rather than
/// describe it (name, versions, hardware, inputs) are left out.
std::vector<ConfigDifference> compareConfigs(const std::vector<Json>& documents);

/// One thread at a time; several processes may use the same workspace.
class RunStore final {
public:
    explicit RunStore(Workspace workspace);
    RunStore(RunStore&&) noexcept;
    RunStore& operator=(RunStore&&) noexcept;
    ~RunStore();

    const Workspace& workspace() const { return m_workspace; }

    /// Makes the folder of a new run; `id` chosen by the caller, or "" for one made from `name` and
    /// the clock.
    Result<RunFolder> create(const std::string& name, const std::string& id = "");

    /// All runs, newest first. Reads only the folders that changed since the index saw them.
    Result<std::vector<RunInfo>> list();

    /// A run by id, by unique prefix of its id, by unique name, or "latest".
    /// Problems: run_not_found, run_ambiguous.
    Result<RunFolder> find(const std::string& text);

    /// Deletes the folder and its row. Problem run_active while its worker lives.
    Result<void> remove(const std::string& id);

    Result<void> setNote(const std::string& id, const std::string& note);
    /// Another name than that of the configuration; empty restores it.
    Result<void> setName(const std::string& id, const std::string& name);
    Result<void> setTags(const std::string& id, const std::vector<std::string>& tags);

    /// {"runs":[{…list entry…, "series":{"step","loss",…}, "evals":[…]}],
    /// "differences":[{"key","values"}]}
    Result<Json> compare(const std::vector<std::string>& ids);

private:
    class Index;
    Result<void> writeNotes(const std::string& id, const std::string& key, Json value);
    Workspace m_workspace;
    std::unique_ptr<Index> m_index;  ///< opened on first use; null when it cannot be opened, then
                                     ///< folders are read each time
};

}  // namespace luthier
