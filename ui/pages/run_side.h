// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Middle column of a run: parameters by part, samples while it learns, log.

#include "client/run_feed.h"
#include "client/run_library.h"

#include <QWidget>

class QLabel;
class QListView;
class QPlainTextEdit;
class QPushButton;

namespace luthier::ui {

class CountBars;
class ElidedLabel;
class ParameterBar;
class SegmentedControl;

class ParametersPane final : public QWidget {
    Q_OBJECT
public:
    ParametersPane();
    void show(const RunRecord& record);

private:
    QLabel *m_total, *m_count, *m_share;
    ParameterBar* m_bar;
    CountBars* m_parts;
};

/// One prompt at a time, its texts at each step from top to bottom, newest strongest.
class SamplesPane final : public QWidget {
    Q_OBJECT
public:
    SamplesPane();
    void show(const RunRecord& record);
    void clear();

private:
    void render();
    std::vector<SamplePoint> m_samples;
    QStringList m_prompts;
    int m_prompt = 0;
    QLabel* m_which;
    ElidedLabel* m_promptText;
    QWidget* m_list;
    QPushButton *m_back, *m_next;
    QLabel* m_empty;
};

class LogPane final : public QWidget {
    Q_OBJECT
public:
    LogPane();
    void show(const RunFeed& feed);
    void clear();

private:
    void renderWorker(const QString& folder, const QString& errors);
    QPlainTextEdit* m_text;
    SegmentedControl* m_which;
    std::int64_t m_shown =
        0;  ///< lines of the record's log that were shown or skipped, dropped ones included
    QString m_folder;
};

}  // namespace luthier::ui
