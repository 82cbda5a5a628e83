// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Top bar (title, context, running run, search, page actions) and status bar (this computer;
// workspace, queue, version).

#include "client/workbench.h"
#include "widgets/basics.h"

#include <QAbstractButton>

namespace luthier::ui {

class SearchButton;

/// The run that trains now: dot, name, thin progress, time left.
class RunPill final : public QAbstractButton {
    Q_OBJECT
public:
    RunPill();
    void set(const QString& name, double share, const QString& note);
    QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QString m_name, m_note;
    double m_share = 0;
};

class TopBar final : public QWidget {
    Q_OBJECT
public:
    TopBar();
    void setTitle(const QString& title, const QString& context);
    void setActions(const QList<QWidget*>& actions);
    RunPill* pill() { return m_pill; }
    QAbstractButton* search();

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QLabel* m_title;
    ElidedLabel* m_context;
    RunPill* m_pill;
    QAbstractButton* m_search;
    QHBoxLayout* m_actions;
    QList<QWidget*> m_current;
};

class StatusBar final : public QWidget {
    Q_OBJECT
public:
    explicit StatusBar(Workbench& bench);

protected:
    void paintEvent(QPaintEvent*) override;

private:
    Workbench& m_bench;
};

}  // namespace luthier::ui
