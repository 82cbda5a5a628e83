// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A run that failed: what happened, the memory against the device where that was the cause, ways
// out that the engine estimated, facts and the log. One button applies the ticked change and starts
// again.

#include "client/workbench.h"

#include <QWidget>

class QLabel;
class QPushButton;
class QVBoxLayout;

namespace luthier::ui {

class LogPane;
class MemoryBar;

class FailedView final : public QWidget {
    Q_OBJECT
public:
    explicit FailedView(Workbench& bench);
    void show(const RunInfo& info, const RunFeed& feed);

signals:
    void continueWanted();  ///< take the run up from its last checkpoint

private:
    struct Fix {
        QString title, words, keys, kind;  ///< kind: "equal up to rounding" …
        std::function<void(QJsonObject&)> apply;
    };
    void addFix(const Fix& fix);
    QJsonObject fixedConfig() const;
    void askMemory(const QJsonObject& config, MemoryBar* bar, QLabel* verdict);

    Workbench& m_bench;
    QString m_id, m_key;
    bool m_canContinue = false;
    MemoryBar* m_bar;
    QLabel* m_barWords;
    QJsonObject m_config;
    std::vector<Fix> m_fixes;
    int m_chosen = 0;
    QLabel *m_title, *m_text, *m_fixTitle;
    QVBoxLayout *m_fixList, *m_facts;
    QPushButton *m_apply, *m_queue, *m_edit;
    LogPane* m_log;
    QString m_diagnostics, m_folder;
};

}  // namespace luthier::ui
