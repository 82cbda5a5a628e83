// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A read-only table over rows of cells: words, alignment, tone, icon, a line sample or a sparkline.
// One model and one delegate for all tables of the window, so that they sort, select and read aloud
// alike.

#include <QAbstractTableModel>
#include <QColor>
#include <QStyledItemDelegate>
#include <QTableView>

#include <vector>

namespace luthier::ui {

struct TableCell {
    QString text;
    QString note;      ///< t3, after the text or at the right
    QVariant sortKey;  ///< text when invalid
    QString icon;
    QColor color;  ///< of text and icon; invalid = by column
    bool isRight = false, isStrong = false;
    QColor sample;  ///< line sample before the text
    QList<qreal> dash;
    std::vector<float> sparkline;
    double share = -1;    ///< accent bar after the text, 0..1
    QString avatar = {};  ///< a letter on a small square before the text
};

struct TableRow {
    QString id;
    std::vector<TableCell> cells;
    bool isDimmed = false;
};

class TableModel final : public QAbstractTableModel {
    Q_OBJECT
public:
    using QAbstractTableModel::QAbstractTableModel;
    void setHeaders(const QStringList& headers) { m_headers = headers; }
    void setRows(std::vector<TableRow> rows);
    const TableRow& row(int index) const { return m_rows[static_cast<std::size_t>(index)]; }
    int find(const QString& id) const;
    int rowCount(const QModelIndex& = {}) const override { return static_cast<int>(m_rows.size()); }
    int columnCount(const QModelIndex& = {}) const override {
        return static_cast<int>(m_headers.size());
    }
    QVariant data(const QModelIndex& index, int role) const override;
    QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
    void sort(int column, Qt::SortOrder order) override;
    int sortColumn() const { return m_sortColumn; }
    Qt::SortOrder sortOrder() const { return m_order; }
    QString pinned;  ///< id that stays on top

private:
    QStringList m_headers;
    std::vector<TableRow> m_rows;
    int m_sortColumn = -1;
    Qt::SortOrder m_order = Qt::AscendingOrder;
};

class SimpleTable final : public QTableView {
    Q_OBJECT
public:
    SimpleTable(const QStringList& headers, const QList<int>& widths, int stretchColumn);
    TableModel* rows() { return m_model; }
    void setRows(std::vector<TableRow> rows);  ///< keeps the selection
    QString currentId() const;
    void select(const QString& id);
    QSize contentSize() const;
    /// Grows with its rows, for tables that scroll with the page around them.
    void setGrowing();
    /// A click on a header sorts by it, another turns the order; an arrow in the header says so.
    void setSortable();
    /// Columns that go, in this order, when the table is too narrow for all of them.
    void setOptional(const QList<int>& columns, int stretchMinimum = 120);

signals:
    void selected(const QString& id);
    void activatedRow(const QString& id);
    void keyOnRow(int key, const QString& id);
    void firstCellClicked(const QString& id);

protected:
    void keyPressEvent(QKeyEvent*) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    void fitColumns();
    QList<int> m_optional, m_widths;
    int m_stretchColumn, m_stretchMinimum = 0;
    TableModel* m_model;
    bool m_isGrowing = false;
};

}  // namespace luthier::ui
