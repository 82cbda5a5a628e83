// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Export: a finished run as a PEFT folder or a merged model; the certificate is what the reload test measured.

#include "pages/page.h"

class QLabel;
class QProgressBar;
class QPushButton;

namespace luthier::ui {

class Banner;
class SimpleTable;

class ExportPage final : public Page {
    Q_OBJECT
public:
    explicit ExportPage(Workbench& bench);
    QString title() const override { return tr("Export"); }
    QString context() const override { return tr("Files that other tools load"); }
    void enter() override { fill(); }
    void select(const QString& runId);
    bool isSettled() const override { return m_bench.runs.isLoaded(); }

private:
    void fill();
    void write(const QString& format);
    SimpleTable* m_table;
    QLabel *m_result, *m_phase;
    QProgressBar* m_bar;
    Banner* m_banner;
    QPushButton *m_peft, *m_merged;
};

}  // namespace luthier::ui
