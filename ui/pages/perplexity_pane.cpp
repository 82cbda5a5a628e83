// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/perplexity_pane.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/heat_text.h"

#include <QJsonArray>
#include <QPainter>
#include <QPlainTextEdit>
#include <QScrollArea>
#include <QStackedWidget>

#include <algorithm>

namespace luthier::ui {

/// One bar a column and the key to the underlines.
class PerplexityBars final : public QWidget {
public:
    PerplexityBars() { setAccessibleName(tr("Perplexity by column")); }
    void set(const std::vector<PerplexityColumn>& columns) {
        m_columns = columns;
        QStringList words;
        for (const PerplexityColumn& column : columns) words << column.name + " " + valueOf(column);
        setAccessibleDescription(words.join("; "));
        setMinimumHeight(px(28) * static_cast<int>(columns.size()) + px(36));
        update();
    }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        double largest = 0, best = 1e300;
        for (const PerplexityColumn& column : m_columns) {
            largest = std::max(largest, column.perplexity);
            if (column.perplexity > 0) best = std::min(best, column.perplexity);
        }
        const double nameWidth = std::min(px(150), width() / 2), valueWidth = px(64);
        double y = 0;
        for (const PerplexityColumn& column : m_columns) {
            const QRectF line(0, y, width(), px(28));
            paintDot(p, column, line);
            p.setFont(themeFont(Type::Table));
            p.setPen(t.t1);
            p.drawText(line.adjusted(px(18), 0, nameWidth - width(), 0), Qt::AlignVCenter,
                       p.fontMetrics().elidedText(column.name, Qt::ElideRight,
                                                  static_cast<int>(nameWidth - px(20))));
            const double left = nameWidth + 8, room = width() - left - valueWidth;
            if (column.perplexity > 0 && room > 8)
                paintBar(p, column,
                         QRectF(left, line.center().y() - 3.5,
                                std::max(4.0, room * column.perplexity / largest), 7));
            p.setFont(themeFont(column.perplexity == best ? Type::Strong : Type::Body));
            p.setPen(column.problem.isEmpty() ? t.t1 : t.err);
            p.drawText(line, Qt::AlignVCenter | Qt::AlignRight, valueOf(column));
            y += px(28);
        }
        paintKey(p, y + px(8));
    }

private:
    static QString valueOf(const PerplexityColumn& column) {
        if (!column.problem.isEmpty()) return tr("failed");
        if (column.perplexity <= 0) return QStringLiteral("–");
        return column.perplexity >= 1000
                   ? format::count(std::llround(column.perplexity))
                   : QString::number(column.perplexity, 'f', column.perplexity >= 100 ? 1 : 2);
    }
    static QColor shade(const PerplexityColumn& column, qsizetype i) {
        return column.colors.isEmpty() ? Theme::tokens().t2 : column.colors[i];
    }
    void paintDot(QPainter& p, const PerplexityColumn& column, const QRectF& line) const {
        p.setPen(Qt::NoPen);
        const qsizetype count = std::max<qsizetype>(1, column.colors.size());
        for (qsizetype i = 0; i < count; ++i) {
            p.setBrush(shade(column, i));
            p.drawRect(QRectF(1 + 8.0 * static_cast<double>(i) / static_cast<double>(count),
                              line.center().y() - 4, 8.0 / static_cast<double>(count), 8));
        }
    }
    void paintBar(QPainter& p, const PerplexityColumn& column, const QRectF& bar) const {
        p.setPen(Qt::NoPen);
        p.save();
        const qsizetype count = std::max<qsizetype>(1, column.colors.size());
        for (qsizetype i = 0; i < count; ++i) {
            const double from = static_cast<double>(i) / static_cast<double>(count);
            p.setClipRect(QRectF(bar.left() + bar.width() * from, bar.top() - 1,
                                 bar.width() / static_cast<double>(count) + 0.5, bar.height() + 2));
            p.setBrush(shade(column, i));
            p.drawRoundedRect(bar, 3.5, 3.5);
        }
        p.restore();
    }
    void paintKey(QPainter& p, double y) const {
        const Tokens& t = Theme::tokens();
        p.setFont(themeFont(Type::Table));
        double x = 0;
        const struct {
            QString words;
            double p;
        } keys[] = {{tr("p ≥ 0.8 none"), 1}, {"≥ 0.4", 0.5}, {"≥ 0.1", 0.2}, {tr("below"), 0.01}};
        for (const auto& key : keys) {
            const double w = p.fontMetrics().horizontalAdvance(key.words);
            if (x + w > width()) return;
            p.setPen(t.t2);
            p.drawText(QRectF(x, y, w + 2, px(18)), Qt::AlignVCenter, key.words);
            const HeatLevel level = heatLevel(key.p);
            if (level.pixels > 0)
                p.fillRect(QRectF(x - 4, y + px(20), w + 8, level.pixels),
                           mix(t.bg1, t.warn, level.strength));
            x += w + 24;
        }
    }
    std::vector<PerplexityColumn> m_columns;
};

PerplexityPane::PerplexityPane() {
    auto* row = makeRow(0);
    auto* left = makeColumn(0);
    m_note = new ElidedLabel({}, "table", "t2");
    m_choice = new SegmentedControl({}, 24);
    m_choice->setAccessibleName(tr("Whose surprise is underlined"));
    m_button = makeButton(tr("Measure"), "plain", 24);
    auto* headRow = makeRow(8);
    headRow->setContentsMargins(16, 0, 16, 0);
    headRow->addWidget(makeLabel(tr("Perplexity of a text"), "strong"));
    headRow->addWidget(m_note, 1);
    headRow->addWidget(m_choice);
    headRow->addWidget(m_button);
    auto* head = new QWidget;
    head->setFixedHeight(px(40));
    head->setLayout(headRow);
    left->addWidget(head);
    m_stack = new QStackedWidget;
    m_edit = new QPlainTextEdit;
    m_edit->setAccessibleName(tr("Text to measure"));
    m_edit->setPlaceholderText(tr("Any text. Each column says how surprised it is by it."));
    auto* editBox = new QWidget;
    auto* editColumn = makeColumn(0);
    editColumn->setContentsMargins(16, 0, 16, 12);
    editColumn->addWidget(m_edit);
    editBox->setLayout(editColumn);
    m_heat = new HeatText(tr("Measured text"));
    m_stack->addWidget(editBox);
    m_stack->addWidget(m_heat);
    left->addWidget(m_stack, 1);
    row->addLayout(left, 2);
    row->addWidget(makeRule(Qt::Vertical));
    auto* right = makeColumn(0);
    auto* rightHead = new PaneHeader(tr("Perplexity"));
    rightHead->addRight(makeLabel(tr("lower is better"), "table", "t2"));
    right->addWidget(rightHead);
    m_bars = new PerplexityBars;
    auto* barBox = new QWidget;
    auto* barColumn = makeColumn(0);
    barColumn->setContentsMargins(16, 4, 16, 8);
    barColumn->addWidget(m_bars);
    barColumn->addStretch(1);
    barBox->setLayout(barColumn);
    right->addWidget(makeScroll(barBox), 1);
    row->addLayout(right, 1);
    setLayout(row);
    connect(m_choice, &SegmentedControl::changed, this, &PerplexityPane::showColumn);
    connect(m_edit, &QPlainTextEdit::textChanged, this, &PerplexityPane::textEdited);
    connect(m_button, &QPushButton::clicked, this, [this] {
        if (m_isBusy)
            emit cancelWanted();
        else if (m_stack->currentIndex() == 1)
            edit();
        else
            emit measureWanted();
    });
    edit();
}

QString PerplexityPane::text() const { return m_edit->toPlainText(); }

void PerplexityPane::setText(const QString& text) { m_edit->setPlainText(text); }

void PerplexityPane::edit() {
    m_stack->setCurrentIndex(0);
    m_button->setText(tr("Measure"));
    m_choice->hide();
    m_note->setWhole({});
    setTone(m_note, "t2");
    m_edit->setFocus();
}

void PerplexityPane::setBusy(bool isBusy) {
    m_isBusy = isBusy;
    m_button->setText(isBusy                         ? tr("Cancel")
                      : m_stack->currentIndex() == 1 ? tr("Edit text")
                                                     : tr("Measure"));
    if (isBusy)
        m_note->setWhole(tr("measuring"));
    else if (m_stack->currentIndex() == 0)
        m_note->setWhole({});
}

void PerplexityPane::setColumns(const std::vector<PerplexityColumn>& columns) {
    bool isSame = columns.size() == m_columns.size();
    for (std::size_t i = 0; isSame && i < columns.size(); ++i)
        isSame = columns[i].key == m_columns[i].key;
    if (isSame) {
        for (std::size_t i = 0; i < columns.size(); ++i) {
            m_columns[i].name = columns[i].name;
            m_columns[i].colors = columns[i].colors;
        }
        return m_bars->set(m_columns);
    }
    m_columns = columns;
    m_bars->set(m_columns);
    if (m_stack->currentIndex() == 1) edit();  // what was measured belonged to other columns
}

void PerplexityPane::take(const QJsonObject& value) {
    m_tokens.clear();
    for (const QJsonValue& token : value["tokens"].toArray()) m_tokens << token["text"].toString();
    const QJsonArray columns = value["columns"].toArray();
    QStringList names;
    for (std::size_t i = 0; i < m_columns.size() && static_cast<qsizetype>(i) < columns.size();
         ++i) {
        const QJsonObject document = columns[static_cast<qsizetype>(i)].toObject();
        m_columns[i].perplexity = document["perplexity"].toDouble(-1);
        m_columns[i].problem = document["problem"]["message"].toString();
        m_columns[i].probabilities.clear();
        for (const QJsonValue& p : document["probabilities"].toArray())
            m_columns[i].probabilities.push_back(p.isDouble() ? p.toDouble() : -1);
    }
    for (const PerplexityColumn& column : m_columns)
        names << format::middleCut(column.name, m_columns.size() > 3 ? 9 : 13);
    m_bars->set(m_columns);
    m_choice->setItems(names);
    m_choice->show();
    m_stack->setCurrentIndex(1);
    m_heat->setFocus();
    m_button->setText(tr("Edit text"));
    showColumn(std::clamp(m_choice->current(), 0, static_cast<int>(m_columns.size()) - 1));
}

void PerplexityPane::showColumn(int index) {
    if (index < 0 || index >= static_cast<int>(m_columns.size())) return;
    const PerplexityColumn& column = m_columns[static_cast<std::size_t>(index)];
    std::vector<HeatToken> tokens;
    for (qsizetype i = 0; i < m_tokens.size(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        HeatToken token{
            m_tokens[i], at < column.probabilities.size() ? column.probabilities[at] : -1, -1, {}};
        if (!m_columns.front().probabilities.empty() && m_columns.front().colors.isEmpty() &&
            index > 0 && at < m_columns.front().probabilities.size())
            token.baseProbability = m_columns.front().probabilities[at];
        tokens.push_back(std::move(token));
    }
    m_heat->setTokenColor(column.colors.isEmpty() ? Theme::tokens().t2 : column.colors.first());
    m_heat->setTokens(std::move(tokens));
    m_note->setWhole(column.problem.isEmpty() ? tr("%n token(s), underlined where %1 is surprised",
                                                   nullptr, static_cast<int>(m_tokens.size()))
                                                    .arg(column.name)
                                              : column.problem);
    setTone(m_note, column.problem.isEmpty() ? "t2" : "err");
}

void PerplexityPane::showProblem(const QString& sentence) {
    m_note->setWhole(sentence);
    setTone(m_note, "err");
}

}  // namespace luthier::ui
