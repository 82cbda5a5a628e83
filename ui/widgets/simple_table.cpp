// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/simple_table.h"

#include "theme/icons.h"
#include "theme/theme.h"

#include <QHeaderView>
#include <QKeyEvent>
#include <QPainter>

#include <algorithm>

namespace luthier::ui {

namespace {

class CellDelegate final : public QStyledItemDelegate {
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    void paint(QPainter* painter, const QStyleOptionViewItem& option,
               const QModelIndex& index) const override {
        const Tokens& t = Theme::tokens();
        const auto* model = static_cast<const TableModel*>(index.model());
        const TableRow& row = model->row(index.row());
        const TableCell& cell = row.cells[static_cast<std::size_t>(index.column())];
        QPainter& p = *painter;
        p.save();
        const bool isSelected = option.state & QStyle::State_Selected;
        if (isSelected)
            p.fillRect(option.rect, t.soft);
        else if (option.state & QStyle::State_MouseOver)
            p.fillRect(option.rect, t.bg3);
        p.fillRect(QRect(option.rect.left(), option.rect.bottom(), option.rect.width(), 1), t.line);
        QRectF box = QRectF(option.rect).adjusted(8, 0, -8, -1);
        p.setRenderHint(QPainter::Antialiasing);
        const QColor ink = row.isDimmed ? t.t3 : cell.color.isValid() ? cell.color : t.t1;
        if (!cell.avatar.isEmpty()) {
            const QRectF square(box.left(), box.center().y() - px(10), px(20), px(20));
            p.setPen(Qt::NoPen);
            p.setBrush(isSelected ? t.fill : t.bg3);
            p.drawRoundedRect(square, 4, 4);
            p.setFont(themeFont(Type::CaptionStrong));
            p.setPen(isSelected ? QColor(Qt::white) : row.isDimmed ? t.t3 : t.t1);
            p.drawText(square, Qt::AlignCenter, cell.avatar);
            box.setLeft(square.right() + 10);
        }
        if (!cell.icon.isEmpty()) {
            drawIcon(p, cell.icon, QRectF(box.left(), box.center().y() - 7, 14, 14),
                     row.isDimmed           ? t.t3
                     : cell.color.isValid() ? cell.color
                                            : t.t2);
            box.setLeft(box.left() + 21);
        }
        if (cell.sample.isValid()) {
            QPen pen(row.isDimmed ? t.frozen : cell.sample, 2.5, Qt::SolidLine, Qt::FlatCap);
            if (!cell.dash.isEmpty()) pen.setDashPattern({cell.dash[0] / 2.5, cell.dash[1] / 2.5});
            p.setPen(pen);
            p.drawLine(QPointF(box.left(), box.center().y()),
                       QPointF(box.left() + 22, box.center().y()));
            box.setLeft(box.left() + 30);
        }
        if (!cell.sparkline.empty()) {
            const auto [low, high] =
                std::minmax_element(cell.sparkline.begin(), cell.sparkline.end());
            QPolygonF line;
            for (std::size_t i = 0; i < cell.sparkline.size(); ++i)
                line << QPointF(
                    box.left() +
                        static_cast<double>(i) /
                            std::max<double>(1, static_cast<double>(cell.sparkline.size()) - 1) *
                            std::min(86.0, box.width()),
                    box.bottom() - 8 -
                        (cell.sparkline[i] - *low) / std::max(1e-6f, *high - *low) *
                            (box.height() - 16));
            p.setPen(QPen(cell.color.isValid() ? cell.color : t.t3, 1.3));
            p.drawPolyline(line);
        }
        if (cell.share >= 0) {
            const double room = 72;
            p.setPen(Qt::NoPen);
            p.setBrush(t.acc);
            p.drawRoundedRect(QRectF(box.right() - room + 6, box.center().y() - 2,
                                     std::max(4.0, (room - 6) * cell.share), 4),
                              2, 2);
            box.setRight(box.right() - room);
        }
        QFont font = themeFont(cell.isStrong ? Type::TableStrong : Type::Table);
        p.setFont(themeFont(Type::Caption));
        const double noteWidth =
            cell.note.isEmpty() ? 0 : p.fontMetrics().horizontalAdvance(cell.note) + 8;
        if (!cell.note.isEmpty() && cell.isRight) {
            p.setPen(t.t3);
            p.drawText(box, Qt::AlignVCenter | Qt::AlignRight, cell.note);
        }
        if (cell.isRight)
            box.setRight(box.right() -
                         (cell.note.isEmpty() ? 0 : std::max(noteWidth, double(px(52)))));
        p.setFont(font);
        p.setPen(ink);
        const QString words =
            p.fontMetrics().elidedText(cell.text, Qt::ElideRight, static_cast<int>(box.width()));
        p.drawText(box, Qt::AlignVCenter | (cell.isRight ? Qt::AlignRight : Qt::AlignLeft), words);
        if (!cell.note.isEmpty() && !cell.isRight) {
            const double used = p.fontMetrics().horizontalAdvance(words) + 10;
            p.setPen(t.t3);
            p.drawText(box.adjusted(used, 0, 0, 0), Qt::AlignVCenter,
                       p.fontMetrics().elidedText(cell.note, Qt::ElideRight,
                                                  static_cast<int>(box.width() - used)));
        }
        p.restore();
    }
    QSize sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const override {
        return {80, Theme::instance().rowHeight()};
    }
};

}  // namespace

void TableModel::setRows(std::vector<TableRow> rows) {
    const bool sameShape = rows.size() == m_rows.size();
    if (!sameShape) beginResetModel();
    m_rows = std::move(rows);
    if (!sameShape) endResetModel();
    if (m_sortColumn >= 0)
        sort(m_sortColumn, m_order);
    else if (!m_rows.empty())
        emit dataChanged(index(0, 0), index(rowCount() - 1, columnCount() - 1));
}

int TableModel::find(const QString& id) const {
    for (std::size_t i = 0; i < m_rows.size(); ++i)
        if (m_rows[i].id == id) return static_cast<int>(i);
    return -1;
}

QVariant TableModel::data(const QModelIndex& index, int role) const {
    const TableCell& cell = m_rows[static_cast<std::size_t>(index.row())]
                                .cells[static_cast<std::size_t>(index.column())];
    if (role == Qt::DisplayRole || role == Qt::AccessibleTextRole) return cell.text;
    if (role == Qt::ToolTipRole)
        return cell.note.isEmpty() ? QVariant() : cell.text + "  " + cell.note;
    return {};
}

QVariant TableModel::headerData(int section, Qt::Orientation orientation, int role) const {
    if (orientation != Qt::Horizontal) return {};
    if (role == Qt::DisplayRole)
        return section != m_sortColumn ? m_headers.value(section)
                                       : m_headers.value(section) + (m_order == Qt::AscendingOrder
                                                                         ? QStringLiteral(" ↑")
                                                                         : QStringLiteral(" ↓"));
    if (role == Qt::TextAlignmentRole) {
        const bool isRight =
            !m_rows.empty() && m_rows.front().cells[static_cast<std::size_t>(section)].isRight;
        return static_cast<int>(Qt::AlignVCenter | (isRight ? Qt::AlignRight : Qt::AlignLeft));
    }
    return {};
}

void TableModel::sort(int column, Qt::SortOrder order) {
    m_sortColumn = column;
    m_order = order;
    emit layoutAboutToBeChanged();
    const auto key = [column](const TableRow& row) {
        const TableCell& cell = row.cells[static_cast<std::size_t>(column)];
        return cell.sortKey.isValid() ? cell.sortKey : QVariant(cell.text);
    };
    if (column >= 0 && column < columnCount())
        std::stable_sort(m_rows.begin(), m_rows.end(), [&](const TableRow& a, const TableRow& b) {
            if ((a.id == pinned) != (b.id == pinned)) return a.id == pinned;
            const auto c = QVariant::compare(key(a), key(b));
            return order == Qt::AscendingOrder ? c == QPartialOrdering::Less
                                               : c == QPartialOrdering::Greater;
        });
    emit layoutChanged();
}

SimpleTable::SimpleTable(const QStringList& headers, const QList<int>& widths, int stretchColumn)
    : m_widths(widths), m_stretchColumn(stretchColumn) {
    m_model = new TableModel(this);
    m_model->setHeaders(headers);
    setModel(m_model);
    setItemDelegate(new CellDelegate(this));
    setShowGrid(false);
    setWordWrap(false);
    setSelectionBehavior(SelectRows);
    setSelectionMode(SingleSelection);
    setMouseTracking(true);
    setVerticalScrollMode(ScrollPerPixel);
    setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    verticalHeader()->hide();
    verticalHeader()->setDefaultSectionSize(Theme::instance().rowHeight());
    horizontalHeader()->setHighlightSections(false);
    horizontalHeader()->setSortIndicatorShown(false);
    horizontalHeader()->setMinimumSectionSize(24);
    horizontalHeader()->setFixedHeight(px(28));
    for (int i = 0; i < widths.size(); ++i) {
        horizontalHeader()->setSectionResizeMode(
            i, i == stretchColumn ? QHeaderView::Stretch : QHeaderView::Interactive);
        setColumnWidth(i, px(widths[i]));
    }
    connect(selectionModel(), &QItemSelectionModel::currentRowChanged, this,
            [this](const QModelIndex& now) {
                if (now.isValid()) emit selected(m_model->row(now.row()).id);
            });
    connect(this, &QTableView::doubleClicked, this,
            [this](const QModelIndex& at) { emit activatedRow(m_model->row(at.row()).id); });
    connect(this, &QTableView::clicked, this, [this](const QModelIndex& at) {
        if (at.column() == 0) emit firstCellClicked(m_model->row(at.row()).id);
    });
    connect(&Theme::instance(), &Theme::changed, this,
            [this] { verticalHeader()->setDefaultSectionSize(Theme::instance().rowHeight()); });
}

void SimpleTable::setRows(std::vector<TableRow> rows) {
    const QString kept = currentId();
    m_model->setRows(std::move(rows));
    if (m_isGrowing) setFixedHeight(contentSize().height());
    if (!kept.isEmpty()) select(kept);
}

void SimpleTable::setOptional(const QList<int>& columns, int stretchMinimum) {
    m_optional = columns;
    m_stretchMinimum = stretchMinimum;
    fitColumns();
}

void SimpleTable::resizeEvent(QResizeEvent* event) {
    QTableView::resizeEvent(event);
    fitColumns();
}

void SimpleTable::fitColumns() {
    if (m_optional.isEmpty()) return;
    int needed = px(m_stretchMinimum);
    for (int i = 0; i < m_widths.size(); ++i)
        if (i != m_stretchColumn) needed += px(m_widths[i]);
    for (const int column : m_optional) {
        const bool hides = needed > viewport()->width();
        if (hides) needed -= px(m_widths[column]);
        if (isColumnHidden(column) != hides) setColumnHidden(column, hides);
    }
}

void SimpleTable::setSortable() {
    horizontalHeader()->setSectionsClickable(true);
    connect(horizontalHeader(), &QHeaderView::sectionClicked, this, [this](int column) {
        const bool turns = m_model->sortColumn() == column;
        m_model->sort(column, turns && m_model->sortOrder() == Qt::AscendingOrder
                                  ? Qt::DescendingOrder
                                  : Qt::AscendingOrder);
        horizontalHeader()->viewport()->update();
    });
}

void SimpleTable::setGrowing() {
    m_isGrowing = true;
    setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    setFixedHeight(contentSize().height());
    connect(&Theme::instance(), &Theme::changed, this,
            [this] { setFixedHeight(contentSize().height()); });
}

QString SimpleTable::currentId() const {
    const int row = currentIndex().row();
    return row >= 0 && row < m_model->rowCount() ? m_model->row(row).id : QString();
}

void SimpleTable::select(const QString& id) {
    const int row = m_model->find(id);
    if (row < 0 || currentIndex().row() == row) return;
    const QSignalBlocker block(selectionModel());
    setCurrentIndex(m_model->index(row, 0));
    selectionModel()->select(m_model->index(row, 0),
                             QItemSelectionModel::ClearAndSelect | QItemSelectionModel::Rows);
    viewport()->update();
}

QSize SimpleTable::contentSize() const {
    return {width(), px(28) + m_model->rowCount() * Theme::instance().rowHeight() + 2};
}

void SimpleTable::keyPressEvent(QKeyEvent* event) {
    const int key = event->key();
    if (key == Qt::Key_Space || key == Qt::Key_S || key == Qt::Key_B || key == Qt::Key_F2 ||
        key == Qt::Key_Delete)
        return emit keyOnRow(key, currentId());
    if (key == Qt::Key_Return || key == Qt::Key_Enter) return emit activatedRow(currentId());
    QTableView::keyPressEvent(event);
}

}  // namespace luthier::ui
