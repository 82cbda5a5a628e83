// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A list of two-line entries, each with its colour, for picking one run: name over a line of facts,
// a mark at the right.

#include <QColor>
#include <QListWidget>

#include <vector>

namespace luthier::ui {

struct RunListEntry {
    QString id, name, note;
    QColor color;
    bool isMarked = false;  ///< a check in ok at the right
};

class RunList final : public QListWidget {
    Q_OBJECT
public:
    explicit RunList(const QString& accessibleName);
    void setEntries(const std::vector<RunListEntry>& entries);  ///< keeps the selection
    void setFilter(const QString& text);
    QString currentId() const;
    void select(const QString& id);

signals:
    void chosen(const QString& id);

private:
    QString m_filter;
};

}  // namespace luthier::ui
