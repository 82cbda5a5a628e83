// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/plot_accessible.h"

#include "plots/plot.h"

#include <QAccessible>
#include <QAccessibleWidget>

#include <map>

namespace luthier::ui {

namespace {

class PlotTable;

class PlotCell final : public QAccessibleInterface, public QAccessibleTableCellInterface {
public:
    PlotCell(PlotTable& table, int row, int column)
        : m_table(table), m_row(row), m_column(column) {}

    bool isValid() const override;
    QObject* object() const override { return nullptr; }
    QAccessibleInterface* parent() const override;
    QAccessibleInterface* child(int) const override { return nullptr; }
    int childCount() const override { return 0; }
    int indexOfChild(const QAccessibleInterface*) const override { return -1; }
    QAccessibleInterface* childAt(int, int) const override { return nullptr; }
    QString text(QAccessible::Text kind) const override;
    void setText(QAccessible::Text, const QString&) override {}
    QRect rect() const override;
    QAccessible::Role role() const override { return QAccessible::Cell; }
    QAccessible::State state() const override { return {}; }
    void* interface_cast(QAccessible::InterfaceType type) override {
        return type == QAccessible::TableCellInterface
                   ? static_cast<QAccessibleTableCellInterface*>(this)
                   : nullptr;
    }

    bool isSelected() const override { return false; }
    QList<QAccessibleInterface*> columnHeaderCells() const override { return {}; }
    QList<QAccessibleInterface*> rowHeaderCells() const override { return {}; }
    int columnIndex() const override { return m_column; }
    int rowIndex() const override { return m_row; }
    int columnExtent() const override { return 1; }
    int rowExtent() const override { return 1; }
    QAccessibleInterface* table() const override { return parent(); }

private:
    PlotTable& m_table;
    int m_row, m_column;
};

/// The chart itself is the table, so that a reader needs one step to the numbers.
class PlotTable final : public QAccessibleWidget, public QAccessibleTableInterface {
public:
    explicit PlotTable(Plot* plot)
        : QAccessibleWidget(plot, QAccessible::Chart, plot->accessibleName()) {}
    ~PlotTable() override {
        for (const auto& [place, id] : m_cells) QAccessible::deleteAccessibleInterface(id);
    }

    const Plot* plot() const { return static_cast<const Plot*>(widget()); }
    PlotNumbers numbers() const { return plot() ? plot()->numbers() : PlotNumbers{}; }

    QString text(QAccessible::Text kind) const override {
        return kind == QAccessible::Description && plot() ? plot()->summary()
                                                          : QAccessibleWidget::text(kind);
    }
    void* interface_cast(QAccessible::InterfaceType type) override {
        return type == QAccessible::TableInterface ? static_cast<QAccessibleTableInterface*>(this)
                                                   : QAccessibleWidget::interface_cast(type);
    }
    int childCount() const override { return rowCount() * columnCount(); }
    QAccessibleInterface* child(int index) const override {
        const int columns = columnCount();
        return columns > 0 ? cellAt(index / columns, index % columns) : nullptr;
    }
    int indexOfChild(const QAccessibleInterface* child) const override {
        const auto* cell = dynamic_cast<const PlotCell*>(child);
        return cell ? cell->rowIndex() * columnCount() + cell->columnIndex() : -1;
    }

    QAccessibleInterface* cellAt(int row, int column) const override {
        if (row < 0 || column < 0 || row >= rowCount() || column >= columnCount()) return nullptr;
        const auto found = m_cells.find({row, column});
        if (found != m_cells.end()) return QAccessible::accessibleInterface(found->second);
        auto* cell = new PlotCell(const_cast<PlotTable&>(*this), row, column);
        m_cells[{row, column}] = QAccessible::registerAccessibleInterface(cell);
        return cell;
    }
    int rowCount() const override { return static_cast<int>(numbers().rows.size()); }
    int columnCount() const override { return static_cast<int>(numbers().columns.size()); }
    QString columnDescription(int column) const override { return numbers().columns.value(column); }
    QString rowDescription(int row) const override {
        return row >= 0 && row < rowCount() ? numbers().rows[static_cast<std::size_t>(row)].value(0)
                                            : QString();
    }
    QAccessibleInterface* caption() const override { return nullptr; }
    QAccessibleInterface* summary() const override { return nullptr; }
    int selectedCellCount() const override { return 0; }
    int selectedColumnCount() const override { return 0; }
    int selectedRowCount() const override { return 0; }
    QList<QAccessibleInterface*> selectedCells() const override { return {}; }
    QList<int> selectedColumns() const override { return {}; }
    QList<int> selectedRows() const override { return {}; }
    bool isColumnSelected(int) const override { return false; }
    bool isRowSelected(int) const override { return false; }
    bool selectRow(int) override { return false; }
    bool selectColumn(int) override { return false; }
    bool unselectRow(int) override { return false; }
    bool unselectColumn(int) override { return false; }
    void modelChange(QAccessibleTableModelChangeEvent*) override {}

private:
    mutable std::map<std::pair<int, int>, QAccessible::Id> m_cells;
};

bool PlotCell::isValid() const {
    return m_table.isValid() && m_row < m_table.rowCount() && m_column < m_table.columnCount();
}
QAccessibleInterface* PlotCell::parent() const { return &m_table; }
QRect PlotCell::rect() const { return m_table.rect(); }

QString PlotCell::text(QAccessible::Text kind) const {
    const PlotNumbers numbers = m_table.numbers();
    if (m_row >= static_cast<int>(numbers.rows.size())) return {};
    const QString value = numbers.rows[static_cast<std::size_t>(m_row)].value(m_column);
    if (kind == QAccessible::Name) return value;
    return kind == QAccessible::Description ? numbers.columns.value(m_column) : QString();
}

QAccessibleInterface* make(const QString&, QObject* object) {
    auto* plot = qobject_cast<Plot*>(object);
    return plot ? new PlotTable(plot) : nullptr;
}

}  // namespace

void installPlotAccessibility() {
    static const bool isInstalled = [] {
        QAccessible::installFactory(make);
        return true;
    }();
    Q_UNUSED(isInstalled)
}

}  // namespace luthier::ui
