// SPDX-License-Identifier: Apache-2.0
#include "run_progress.h"

#include "contract/number_text.h"
#include "export/exporter.h"
#include "contract/schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>

namespace luthier::cli {

namespace {

constexpr std::size_t kWindow = 20;        // steps that a mean is taken over
constexpr std::size_t kShownSample = 160;  // bytes of a sample

std::string lossText(double loss) {
    if (!std::isfinite(loss)) return std::isnan(loss) ? "not a number" : "infinite";
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), loss >= 0.01 ? "%.4f" : "%.3g", loss);
    return text.data();
}

/// Lines with " / " between, as verse is quoted; the beginning of a long text.
std::string onOneLine(const std::string& text) {
    std::string line;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '\n') {
            if (!line.empty() && at + 1 < text.size() && text[at + 1] != '\n') line += " / ";
            continue;
        }
        const bool beginsCharacter = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
        if (beginsCharacter && line.size() >= kShownSample) return line + " …";
        line += text[at];
    }
    return line;
}

/// Mean of the finite losses in [from, to); NaN without any.
double meanLoss(const std::vector<double>& losses, std::size_t from, std::size_t to) {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = from; i < to; ++i)
        if (std::isfinite(losses[i])) {
            sum += losses[i];
            ++count;
        }
    return count > 0 ? sum / static_cast<double>(count) : std::nan("");
}

/// Where the loss of the last steps goes, held against as many before them.
const char* trendOf(const std::vector<double>& losses) {
    const std::size_t window = std::min(kWindow, losses.size() / 2);
    if (window < 2) return "";
    const double now = meanLoss(losses, losses.size() - window, losses.size());
    const double earlier = meanLoss(losses, losses.size() - 2 * window, losses.size() - window);
    if (!std::isfinite(now) || !std::isfinite(earlier)) return "";
    const double change = (now - earlier) / std::max(std::abs(earlier), 1e-12);
    return change < -0.005 ? " falling" : change > 0.005 ? " rising" : " level";
}

/// Training time that is left, by the mean step of late.
double secondsLeft(const RunSnapshot& run) {
    const std::size_t count = run.steps.size();
    if (count < 2 || run.maxSteps <= 0) return -1;
    const std::size_t window = std::min(kWindow, count - 1);  // the first step warms up
    double sum = 0;
    for (std::size_t i = count - window; i < count; ++i) sum += run.steps.stepSeconds[i];
    return sum / static_cast<double>(window) * static_cast<double>(run.maxSteps - run.lastStep());
}

std::string shellWord(const std::string& text) {
    const bool isPlain =
        !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
            return std::isalnum(c) != 0 ||
                   std::string_view("_-./:=@%+,").find(static_cast<char>(c)) !=
                       std::string_view::npos;
        });
    if (isPlain) return text;
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

std::string row(const std::string& name, const std::string& value) {
    return "  " + name + std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') + value + "\n";
}

double numberIn(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

}  // namespace

void RunProgress::begin(const std::string& id, const Json& config) {
    m_run.id = id;
    m_run.applyConfig(config);
}

void RunProgress::apply(const Json& event) {
    m_run.apply(event);
    tell();
}

void RunProgress::tell() {
    for (; m_toldWarnings < m_run.warnings.size(); ++m_toldWarnings) {
        const WarningPoint& warning = m_run.warnings[m_toldWarnings];
        m_progress.say("warning: " + warning.message +
                       (warning.hint.empty() ? "" : " " + warning.hint));
    }
    for (; m_toldEvals < m_run.evals.size(); ++m_toldEvals) {
        const EvalPoint& eval = m_run.evals[m_toldEvals];
        const std::optional<std::size_t> best = m_run.bestEval();
        const std::string rows =
            eval.ofRows > 0
                ? " over " + withThousands(eval.rows) +
                      (eval.rows < eval.ofRows ? " of " + withThousands(eval.ofRows) : "") + " rows"
                : "";
        m_progress.say((eval.step == 0 ? "before training" : "step " + withThousands(eval.step)) +
                       ": evaluation loss " + lossText(eval.loss) + rows +
                       (eval.step > 0 && best && *best == m_toldEvals ? ", the best so far" : ""));
    }
    for (; m_toldSamples < m_run.samples.size(); ++m_toldSamples) {
        const SamplePoint& sample = m_run.samples[m_toldSamples];
        m_progress.say(
            (sample.step == 0 ? "before training" : "step " + withThousands(sample.step)) +
            " it writes: " + onOneLine(sample.text));
    }
    for (; m_toldRates < m_run.rateChanges.size(); ++m_toldRates)
        m_progress.say("step " + withThousands(m_run.rateChanges[m_toldRates].step) +
                       ": learning rate set to " +
                       dumpLine(m_run.rateChanges[m_toldRates].learningRate));
    showRun(m_progress, m_run, {});
}

void showRun(Progress& progress, const RunSnapshot& run, const std::string& position) {
    const std::string title = position.empty() ? "" : position + "  ";
    if (run.isOver()) return progress.clear();
    if (run.status == RunStatus::Paused)
        return progress.show({title + "paused at step " + withThousands(run.lastStep())});
    if (!run.phase.name.empty())
        return progress.show({title + run.phase.name, run.phase.done, run.phase.total});
    const std::vector<double>& losses = run.steps.loss;
    if (losses.empty()) return progress.show({title + "starting"});
    const std::size_t window = std::min(kWindow, losses.size());
    std::string detail = "loss " +
                         lossText(meanLoss(losses, losses.size() - window, losses.size())) +
                         trendOf(losses);
    detail += "  " +
              withThousands(static_cast<std::int64_t>(std::llround(run.recentTokensPerSecond()))) +
              " tokens/s";
    progress.show({title + "training", run.lastStep(), run.maxSteps, detail, secondsLeft(run)});
}

std::string runEndText(const RunSnapshot& run, const Json& summary, const std::string& folder,
                       double wallSeconds, const std::string& workspace) {
    const std::string status = summary.value("status", "finished");
    const std::int64_t steps = summary.value("steps", run.lastStep());
    std::string text = status + " after " + withThousands(steps) +
                       (run.maxSteps > steps ? " of " + withThousands(run.maxSteps) : "") +
                       (steps == 1 ? " step, " : " steps, ") + durationText(wallSeconds) + "\n";
    if (const double first = numberIn(summary, "first_loss"), last = numberIn(summary, "loss");
        !std::isnan(last))
        text += row("loss", lossText(first) + " at first, " + lossText(last) + " at last");
    if (const double best = numberIn(summary, "best_eval_loss"); !std::isnan(best))
        text +=
            row("evaluation", lossText(best) + " at best, step " +
                                  withThousands(summary.value("best_eval_step", std::int64_t{0})));
    text +=
        row("speed", withThousands(static_cast<std::int64_t>(
                         std::llround(std::max(0.0, numberIn(summary, "tokens_per_second"))))) +
                         " tokens/s, " + durationText(numberIn(summary, "seconds")) + " in steps");
    text += row("peak memory", bytesText(summary.value("peak_bytes", std::int64_t{0})));
    const std::string kind = summary.value("result", "adapter");
    const std::string result = folder + "/" + kind;
    text += row(kind, bytesText(summary.value("adapter_bytes", std::int64_t{0})) + ", " +
                          withThousands(summary.value("trainable", std::int64_t{0})) +
                          " trained parameters");
    const std::string in = workspace.empty() ? "" : " --workspace " + shellWord(workspace);
    const std::string model = kind == "model"
                                  ? shellWord(result)
                                  : shellWord(run.modelPath) + " --adapter " + shellWord(result);
    const bool isClassifier = run.config.is_object() && run.config.contains("model") &&
                              run.config["model"].value("task", "") == "sequence_classification";
    const Json* rows = run.config.is_object() ? findDotted(run.config, "data.train.path") : nullptr;
    text += "next\n";
    if (status == "stopped")
        text += "  luthier-cli train --resume " + shellWord(run.id) + in + "\n";
    if (isClassifier)
        text += "  luthier-cli eval " + model + " --data " +
                (rows != nullptr && rows->is_string() ? shellWord(rows->get<std::string>())
                                                      : "ROWS.jsonl") +
                "\n";
    else
        text += "  luthier-cli generate " + model + " --prompt \"…\"\n";
    if (status != "stopped")
        text += "  luthier-cli export " + shellWord(run.id) + in + " --format " +
                usualExporter(kind == "model").format + " --out " +
                usualExporter(kind == "model").exampleOut + "\n";
    return text;
}

}  // namespace luthier::cli
