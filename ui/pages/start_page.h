// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Start: three ways in with a drawing of what lies behind each, the first steps, the recent runs,
// this computer and the workspace.

#include "pages/page.h"

class QBoxLayout;
class QPushButton;

namespace luthier::ui {

class ComputerCard;
class EntryCard;
class EmptyState;
class FirstSteps;
class SimpleTable;
class WorkspaceCard;

class StartPage final : public Page {
    Q_OBJECT
public:
    explicit StartPage(Workbench& bench);
    QString title() const override { return tr("Start"); }
    QString context() const override {
        return tr("Fit a language model to your own work, on this computer");
    }
    void enter() override;
    bool isSettled() const override {
        return m_bench.runs.isLoaded() && m_bench.catalogue.modelsLoaded() &&
               m_bench.probe.reading().memoryTotal > 0;
    }

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    QWidget* buildEntries();
    QWidget* buildRecent();
    void drawCurve(QPainter& p, const QRectF& area) const;
    void drawBars(QPainter& p, const QRectF& area) const;
    void fill();
    QList<EntryCard*> m_entries;
    FirstSteps* m_steps;
    SimpleTable* m_table;
    EmptyState* m_empty;
    QPushButton* m_all;
    WorkspaceCard* m_workspace;
    QBoxLayout* m_row;
    QWidget* m_side;
};

}  // namespace luthier::ui
