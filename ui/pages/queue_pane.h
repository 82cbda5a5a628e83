// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Queue and finished runs at the right of Live: what trains, what waits (move, remove), what is
// done.

#include "client/workbench.h"

#include <QAbstractButton>
#include <QWidget>

class QVBoxLayout;
class QPushButton;

namespace luthier::ui {

class Chip;
class PaneHeader;

class QueueRow final : public QAbstractButton {
    Q_OBJECT
public:
    QueueRow(const QString& id, const QString& icon, const QString& name, const QString& words,
             const QString& note);
    void setState(bool isSelected, double progress) {
        m_isSelected = isSelected;
        m_progress = progress;
        update();
    }
    void setWords(const QString& words, const QString& note) {
        m_words = words;
        m_note = note;
        update();
    }
    const QString& id() const { return m_id; }
    void setDimmed(bool on) { m_isDimmed = on; }
    QSize sizeHint() const override;

signals:
    void removeWanted();
    void moveWanted(int delta);

protected:
    void paintEvent(QPaintEvent*) override;
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }
    void contextMenuEvent(QContextMenuEvent*) override;
    void keyPressEvent(QKeyEvent*) override;
    void mousePressEvent(QMouseEvent*) override;
    void mouseMoveEvent(QMouseEvent*) override;
    void mouseReleaseEvent(QMouseEvent*) override;

private:
    QString m_id, m_icon, m_name, m_words, m_note;
    bool isOnGrip(QPointF position) const {
        return m_icon == "circle" && position.x() > width() - 30;
    }
    double m_progress = -1, m_dragFrom = -1;
    bool m_isSelected = false, m_isDimmed = false;
};

class QueuePane final : public QWidget {
    Q_OBJECT
public:
    explicit QueuePane(Workbench& bench);
    void setSelected(const QString& id);
    void showProgress(const QString& id, double share, const QString& words);

signals:
    void chosen(const QString& id);

private:
    void rebuild();
    QString nameOf(const QString& id) const;
    Workbench& m_bench;
    void showActive();
    QString m_selected, m_signature;
    std::shared_ptr<RunFeed> m_feed;  ///< of the run that trains
    QVBoxLayout* m_list;
    Chip* m_count;
    QPushButton* m_hold;
    QList<QueueRow*> m_rows;
};

}  // namespace luthier::ui
