// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/start_page.h"

#include "pages/start_cards.h"
#include "settings/settings.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/entry_card.h"
#include "widgets/simple_table.h"

#include <QFileDialog>
#include <QPainter>
#include <QPainterPath>
#include <QScrollArea>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

namespace {

constexpr std::size_t kRecent = 10;

/// A residual block with the bow tie of a low-rank pair on its first box: what the map of New run
/// shows.
void drawBlocks(QPainter& p, const QRectF& area) {
    const Tokens& t = Theme::tokens();
    const double boxWidth = std::min(48.0, area.width() / 5), boxHeight = 14,
                 first = area.center().x() - boxWidth * 1.4,
                 second = area.center().x() + boxWidth * 0.35;
    const double base = area.bottom() - 2;
    p.setRenderHint(QPainter::Antialiasing, false);
    const auto line = [&](double x1, double y1, double x2, double y2) {
        p.setPen(QPen(t.frozen, 1));
        p.drawLine(QPointF(x1, y1), QPointF(x2, y2));
    };
    p.fillRect(QRectF(area.left() + area.width() * 0.12, base, area.width() * 0.76, 2), t.frozen);
    const auto column = [&](double x, int count, double top) {
        const double step = (base - 10 - boxHeight - top) / std::max(1, count - 1);
        line(x - 14, base, x - 14, top + boxHeight / 2);
        line(x + boxWidth + 14, base, x + boxWidth + 14, top + boxHeight / 2);
        for (int i = 0; i < count; ++i) {
            const double y = top + i * step;
            line(x - 14, y + boxHeight / 2, x, y + boxHeight / 2);
            line(x + boxWidth, y + boxHeight / 2, x + boxWidth + 14, y + boxHeight / 2);
            p.setRenderHint(QPainter::Antialiasing);
            const bool isTrained = i == 0;
            p.setPen(QPen(isTrained ? t.acc : t.frozen, 1));
            p.setBrush(isTrained ? t.soft : t.frozensoft);
            p.drawRoundedRect(QRectF(x + 0.5, y + 0.5, boxWidth - 1, boxHeight - 1), 3, 3);
            if (isTrained) {
                const double cx = x + boxWidth - 11, cy = y + boxHeight / 2;
                QPainterPath tie;
                tie.addPolygon(QPolygonF{{cx, cy}, {cx - 5, cy - 4}, {cx - 5, cy + 4}});
                tie.addPolygon(QPolygonF{{cx, cy}, {cx + 5, cy - 4}, {cx + 5, cy + 4}});
                p.setPen(Qt::NoPen);
                p.setBrush(t.acc);
                p.drawPath(tie);
            }
            p.setRenderHint(QPainter::Antialiasing, false);
        }
    };
    column(first, 3, area.top());
    column(second, 2, area.top() + 10);
    p.setRenderHint(QPainter::Antialiasing);
}

}  // namespace

StartPage::StartPage(Workbench& bench) : Page(bench) {
    auto* content = new QWidget;
    auto* row = makeRow(24);
    row->setContentsMargins(24, 24, 24, 24);
    auto* main = new QWidget;
    auto* left = makeColumn(16);
    left->addWidget(buildEntries());
    m_steps = new FirstSteps(bench);
    left->addWidget(m_steps);
    left->addWidget(buildRecent());
    left->addStretch(1);
    main->setLayout(left);
    main->setMaximumWidth(px(1280));
    auto* side = new QWidget;
    auto* right = makeColumn(16);
    m_workspace = new WorkspaceCard(bench);
    right->addWidget(new ComputerCard(bench));
    right->addWidget(m_workspace);
    right->addStretch(1);
    side->setLayout(right);
    row->addWidget(main, 1);
    row->addWidget(side);
    m_row = row;
    m_side = side;
    auto* capped = makeRow(0);
    auto* inner = new QWidget;
    inner->setLayout(row);
    inner->setMaximumWidth(px(1680));
    capped->addStretch(1);
    capped->addWidget(inner, 1000);
    capped->addStretch(1);
    content->setLayout(capped);
    auto* outer = makeColumn(0);
    outer->addWidget(makeScroll(content));
    setLayout(outer);
    connect(&bench.runs, &RunLibrary::changed, this, &StartPage::fill);
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, &StartPage::fill);
    connect(&bench, &Workbench::workspaceChanged, this, &StartPage::fill);
    connect(&Theme::instance(), &Theme::changed, this, &StartPage::fill);
    fill();
}

QWidget* StartPage::buildEntries() {
    auto* box = new QWidget;
    auto* row = makeRow(16);
    const auto add = [&](EntryCard* card, std::function<void()> run) {
        connect(card, &QAbstractButton::clicked, this, run);
        row->addWidget(card, 1);
        m_entries << card;
    };
    if (!m_bench.demoConfig().isEmpty())
        add(new EntryCard("play", tr("Open the demo"), "Ctrl D",
                          [this](QPainter& p, const QRectF& area) { drawCurve(p, area); }),
            [this] {
                Settings::set("firstSteps/opened", true);
                m_bench.editAsNewRun(m_bench.demoConfig(), tr("the demo"));
            });
    add(new EntryCard("plus", tr("New run"), "Ctrl N", drawBlocks),
        [this] { m_bench.goTo(PageId::NewRun); });
    add(new EntryCard("folder", tr("Open workspace"), "Ctrl O",
                      [this](QPainter& p, const QRectF& area) { drawBars(p, area); }),
        [this] {
            const QString folder =
                QFileDialog::getExistingDirectory(this, tr("Open workspace"), m_bench.workspace());
            if (folder.isEmpty()) return;
            m_bench.setWorkspace(folder);
            m_bench.catalogue.refreshModels();
            Settings::set("window/workspace", folder);
        });
    box->setLayout(row);
    return box;
}

QWidget* StartPage::buildRecent() {
    auto* card = new QFrame;
    card->setProperty("card", "true");
    auto* column = makeColumn(0);
    column->setContentsMargins(1, 1, 1, 1);
    auto* head = makeRow(8);
    head->setContentsMargins(16, 8, 12, 8);
    m_all = makeButton(tr("All runs"), "ghost", 24);
    head->addWidget(makeLabel(tr("Recent runs"), "strong"));
    head->addStretch(1);
    head->addWidget(m_all);
    column->addLayout(head);
    column->addWidget(makeRule());
    m_table = new SimpleTable({QString(), tr("Run"), tr("Method"), tr("Model"), tr("Loss"),
                               tr("Best evaluation"), tr("When")},
                              {40, 190, 170, 120, 110, 120, 90}, 1);
    m_table->setGrowing();
    m_table->setOptional({3, 4, 2});
    m_table->setAccessibleName(tr("Recent runs"));
    m_empty = new EmptyState("runs", tr("No runs yet"),
                             tr("Every run of this workspace appears here with its curve, whether "
                                "it was started here or by luthier-cli."),
                             tr("Open the demo"));
    m_empty->setMinimumHeight(px(220));
    column->addWidget(m_table);
    column->addWidget(m_empty);
    card->setLayout(column);
    connect(m_all, &QPushButton::clicked, this, [this] { m_bench.goTo(PageId::Compare); });
    connect(m_empty, &EmptyState::triggered, this,
            [this] { m_bench.editAsNewRun(m_bench.demoConfig(), tr("the demo")); });
    connect(m_table, &SimpleTable::activatedRow, &m_bench, &Workbench::openRun);
    connect(m_table, &QTableView::clicked, this,
            [this](const QModelIndex& at) { m_bench.openRun(m_table->rows()->row(at.row()).id); });
    return card;
}

/// The newest run's loss; before there is one, the shape such a curve has, without numbers.
void StartPage::drawCurve(QPainter& p, const QRectF& area) const {
    const Tokens& t = Theme::tokens();
    for (const double share : {0.0, 0.5, 1.0})
        p.fillRect(
            QRectF(area.left(), std::round(area.top() + area.height() * share), area.width(), 1),
            t.line);
    const std::vector<float>* values = nullptr;
    QColor color = t.frozen;
    for (const RunInfo& run : m_bench.runs.runs())
        if (!values && run.sparkline.size() > 4) {
            values = &run.sparkline;
            color = Theme::instance().runColor(run.color);
        }
    std::vector<float> shape;
    if (!values) {
        for (int i = 0; i < 60; ++i) shape.push_back(static_cast<float>(std::exp(-i / 12.0)));
        values = &shape;
    }
    const auto [low, high] = std::minmax_element(values->begin(), values->end());
    QPolygonF line;
    for (std::size_t i = 0; i < values->size(); ++i)
        line << QPointF(
            area.left() +
                area.width() * static_cast<double>(i) / static_cast<double>(values->size() - 1),
            area.bottom() - 3 -
                (area.height() - 6) * ((*values)[i] - *low) / std::max(1e-6f, *high - *low));
    p.setPen(QPen(color, 2, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    p.setBrush(Qt::NoBrush);
    p.drawPolyline(line);
    p.setPen(Qt::NoPen);
    p.setBrush(color);
    p.drawEllipse(line.last(), 3.5, 3.5);
}

/// The newest runs by their best evaluation loss: shorter is better.
void StartPage::drawBars(QPainter& p, const QRectF& area) const {
    const Tokens& t = Theme::tokens();
    std::vector<std::pair<QColor, double>> rows;
    double largest = 0;
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (rows.size() == 4) break;
        if (std::isnan(run.bestEval)) continue;
        rows.emplace_back(Theme::instance().runColor(run.color), run.bestEval);
        largest = std::max(largest, run.bestEval);
    }
    while (rows.size() < 4) rows.emplace_back(t.frozen, 0);
    const double step = area.height() / 4;
    p.setPen(Qt::NoPen);
    for (std::size_t i = 0; i < 4; ++i) {
        const double y = area.top() + step * (static_cast<double>(i) + 0.5);
        p.setBrush(rows[i].first);
        p.drawRoundedRect(QRectF(area.left(), y - 4, 9, 9), 2, 2);
        p.setBrush(t.bg3);
        p.drawRoundedRect(QRectF(area.left() + 22, y - 2, area.width() * 0.24, 5), 2, 2);
        const double left = area.left() + 22 + area.width() * 0.3, room = area.right() - left;
        p.drawRoundedRect(QRectF(left, y - 2, room, 5), 2, 2);
        p.setBrush(rows[i].first);
        if (largest > 0 && rows[i].second > 0)
            p.drawRoundedRect(
                QRectF(left, y - 2, std::max(5.0, room * rows[i].second / largest), 5), 2, 2);
    }
}

void StartPage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    const bool isNarrow = width() < px(1000);
    m_row->setDirection(isNarrow ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
    m_side->setMinimumWidth(isNarrow ? 0 : px(320));
    m_side->setMaximumWidth(isNarrow ? QWIDGETSIZE_MAX : px(320));
}

void StartPage::enter() {
    fill();
    m_workspace->refresh();
    m_bench.probe.refresh();
}

void StartPage::fill() {
    const Tokens& t = Theme::tokens();
    const auto& runs = m_bench.runs.runs();
    const bool hasDemo = m_entries.size() == 3;
    const RunInfo* demo = nullptr;
    const QString demoData =
        m_bench.demoConfig()["data"].toObject()["train"].toObject()["path"].toString();
    std::vector<TableRow> rows;
    for (const RunInfo& run : runs) {
        if (!demo && run.status == "finished" && run.dataPath == demoData &&
            !std::isnan(run.seconds))
            demo = &run;
        if (rows.size() >= kRecent) continue;
        TableCell state;
        state.icon = statusLook(run.status).icon;
        state.color = run.status == "finished" ? t.ok
                      : run.status == "failed" ? t.err
                      : run.isActive()         ? t.acc
                                               : t.t3;
        state.note = {};
        TableCell name{run.name};
        name.isStrong = true;
        TableCell curve;
        curve.sparkline = run.sparkline;
        if (run.isActive()) curve.color = Theme::instance().runColor(run.color);
        TableCell best{run.status == "failed" ? tr("failed") : format::loss(run.bestEval)},
            when{run.isActive() ? statusLook(run.status).words : format::moment(run.created)};
        if (run.status == "failed") best.color = t.err;
        best.isRight = when.isRight = true;
        when.color = t.t2;
        rows.push_back(
            {run.id, {state, name, {run.methodWords()}, {run.modelName()}, curve, best, when}});
    }
    if (hasDemo) {
        m_entries[0]->setWords(
            demo
                ? tr("A small story model and poems, included. The last run on them took %1.")
                      .arg(format::roughDuration(demo->seconds))
                : tr("A small story model and 480 poems, included. It trains in a minute or two."));
        m_entries[0]->setLeading(demo == nullptr);
    }
    m_entries[hasDemo ? 1 : 0]->setWords(
        tr("Choose a model, a method and data. You see what it costs before you start."));
    m_entries[hasDemo ? 1 : 0]->setLeading(demo != nullptr || !hasDemo);
    m_entries.last()->setWords(tr("A folder with models, data and every run you have made."));
    for (EntryCard* card : m_entries) card->update();
    const bool isEmpty = rows.empty();
    m_table->setVisible(!isEmpty);
    m_empty->setVisible(isEmpty && m_bench.runs.isLoaded());
    m_table->setRows(std::move(rows));
    m_table->clearSelection();
    m_all->setText(tr("All %n run(s)", nullptr, static_cast<int>(runs.size())));
    m_all->setVisible(runs.size() > 1);
    m_steps->refresh();
    if (isVisible()) m_workspace->refresh();
}

}  // namespace luthier::ui
