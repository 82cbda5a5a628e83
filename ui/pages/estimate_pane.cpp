// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/estimate_pane.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QGridLayout>
#include <QPainter>
#include <QScrollArea>

#include <cmath>

namespace luthier::ui {

namespace {

/// A legend entry: square, name, bytes.
class LegendRow final : public QWidget {
public:
    LegendRow(MemoryPart part, const QString& name) : m_part(part), m_name(name) {
        setFixedHeight(px(20));
    }
    void set(double bytes) {
        m_words = bytes <= 0 ? QStringLiteral("0") : format::bytes(bytes);
        setAccessibleName(m_name + " " + m_words);
        update();
    }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        const QRectF square(0, height() / 2.0 - 4, 8, 8);
        if (m_part == MemoryPart::Other)
            p.fillRect(square, QBrush(t.t3, Qt::BDiagPattern));
        else
            p.fillRect(square, memoryColor(m_part));
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        p.drawText(QRectF(15, 0, width() - 15, height()), Qt::AlignVCenter, m_name);
        p.setPen(t.t1);
        p.drawText(rect(), Qt::AlignVCenter | Qt::AlignRight, m_words);
    }

private:
    MemoryPart m_part;
    QString m_name, m_words;
};

}  // namespace

EstimatePane::EstimatePane() {
    auto* column = makeColumn(0);
    m_header = new PaneHeader(tr("Estimate"));
    m_verdictIcon = new QLabel;
    m_verdict = makeLabel({}, "table", "ok");
    m_header->addRight(m_verdictIcon);
    m_header->addRight(m_verdict);
    column->addWidget(m_header);
    column->addWidget(makeRule());

    m_body = new QWidget;
    auto* body = makeColumn(0);
    body->setContentsMargins(16, 8, 16, 8);
    auto* top = makeRow(8);
    m_count = makeLabel(QStringLiteral("–"), "hero", "acc");
    m_percent = makeLabel({}, "strong");
    top->addWidget(m_count, 0, Qt::AlignBaseline);
    top->addWidget(makeLabel(tr("trainable"), "body", "t2"), 0, Qt::AlignBaseline);
    top->addStretch(1);
    top->addWidget(m_percent, 0, Qt::AlignBaseline);
    body->addLayout(top);
    body->addSpacing(4);
    m_share = new ParameterBar;
    body->addWidget(m_share);
    body->addSpacing(14);
    auto* stats = makeRow(12);
    m_file = new StatTile(tr("Adapter file"));
    m_steps = new StatTile(tr("Steps, rows"));
    m_time = new StatTile(tr("Time"));
    for (StatTile* tile : {m_file, m_steps, m_time}) {
        tile->setProperty("compact", true);
        for (QLabel* label : tile->findChildren<QLabel*>())
            if (label->property("type").toString() == "title") setLook(label, "type", "name");
        stats->addWidget(tile, 1);
    }
    body->addLayout(stats);
    body->addSpacing(14);
    auto* memory = makeRow(6);
    m_memoryTotal = makeLabel({}, "strong");
    memory->addWidget(makeLabel(tr("Memory"), "strong"));
    memory->addStretch(1);
    memory->addWidget(m_memoryTotal);
    body->addLayout(memory);
    m_device = makeLabel({}, "caption", "t2");
    m_device->setAlignment(Qt::AlignRight);
    body->addWidget(m_device);
    m_bar = new MemoryBar(16);
    body->addWidget(m_bar);
    body->addSpacing(8);
    m_legend = new QWidget;
    auto* grid = new QGridLayout;
    grid->setContentsMargins(0, 0, 0, 0);
    grid->setHorizontalSpacing(16);
    grid->setVerticalSpacing(0);
    const struct {
        MemoryPart part;
        QString name;
        const char* key;
    } entries[] = {{MemoryPart::Frozen, tr("Weights"), "weights"},
                   {MemoryPart::Trained, tr("Adapter"), "adapter"},
                   {MemoryPart::Trained, tr("Gradients"), "gradients"},
                   {MemoryPart::Trained, tr("Optimiser"), "optimizer"},
                   {MemoryPart::Activations, tr("Activations"), "activations"},
                   {MemoryPart::Logits, tr("Logits"), "logits"},
                   {MemoryPart::Other, tr("Runtime"), "runtime"}};
    int index = 0;
    for (const auto& entry : entries) {
        auto* row = new LegendRow(entry.part, entry.name);
        row->setObjectName(entry.key);
        grid->addWidget(row, index % 4, index / 4);
        ++index;
    }
    m_legend->setLayout(grid);
    body->addWidget(m_legend);
    body->addSpacing(8);
    m_evaluation = makeLabel({}, "table", "t2");
    m_evaluation->setWordWrap(true);
    body->addWidget(m_evaluation);
    m_note = makeLabel({}, "table", "t3");
    m_note->setWordWrap(true);
    body->addWidget(m_note);
    body->addStretch(1);
    m_body->setLayout(body);
    m_problem = new Banner;
    auto* problemRow = makeRow(0);
    problemRow->setContentsMargins(16, 12, 16, 0);
    problemRow->addWidget(m_problem);
    column->addLayout(problemRow);
    column->addWidget(makeScroll(m_body), 1);

    auto* foot = makeColumn(8);
    foot->setContentsMargins(16, 8, 16, 12);
    m_start = makeButton(tr("Start run"), "primary", 36, "play");
    m_queue = makeButton(tr("Add to queue"), "plain", 28);
    m_compare = makeButton(tr("Compare methods…"), "plain", 28);
    m_compare->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    auto* row = makeRow(8);
    m_start->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    m_queue->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    m_start->setToolTip(tr("Ctrl+Return"));
    foot->addWidget(m_start);
    row->addWidget(m_queue);
    row->addWidget(m_compare);
    foot->addLayout(row);
    column->addLayout(foot);
    setLayout(column);
    connect(m_start, &QPushButton::clicked, this, &EstimatePane::startClicked);
    connect(m_queue, &QPushButton::clicked, this, &EstimatePane::queueClicked);
    connect(m_compare, &QPushButton::clicked, this, &EstimatePane::compareClicked);
    showWaiting(tr("Choose a model and data to see what the run will cost."));
}

void EstimatePane::showEstimate(const QJsonObject& e, double secondsPerStep) {
    showWarnings(e["warnings"].toArray());
    m_body->setEnabled(true);
    const QJsonObject evaluation = e["evaluation"].toObject();
    const auto measured = static_cast<std::int64_t>(evaluation["rows"].toDouble()),
               there = static_cast<std::int64_t>(evaluation["of_rows"].toDouble());
    const int times = evaluation["times"].toInt();
    m_evaluation->setText(
        times == 0
            ? QString()
            : tr("Evaluating takes about %1 of the run: %2 rows, %n time(s).", nullptr, times)
                  .arg(tr("%1 %").arg(qRound(100 * evaluation["share"].toDouble())),
                       measured < there
                           ? tr("%1 of %2").arg(format::count(measured), format::count(there))
                           : format::count(measured)));
    const auto trainable = static_cast<std::int64_t>(e["trainable"].toDouble());
    const double total = e["total"].toDouble();
    const double share = total > 0 ? static_cast<double>(trainable) / total : 0;
    m_count->setText(format::count(trainable));
    m_percent->setText(format::percent(share));
    m_share->set(share);
    m_file->set(format::bytes(e["adapter_bytes"].toDouble()));
    const auto steps = static_cast<std::int64_t>(e["steps"].toDouble()),
               rows = static_cast<std::int64_t>(e["rows"].toDouble());
    m_steps->set(steps > 0 ? format::count(steps) : QStringLiteral("–"),
                 rows > 0 ? "· " + format::count(rows) : QString());
    m_time->set(std::isnan(secondsPerStep) || steps <= 0
                    ? QStringLiteral("–")
                    : QStringLiteral("≈ ") +
                          format::roughDuration(secondsPerStep * static_cast<double>(steps)));
    m_time->setToolTip(std::isnan(secondsPerStep)
                           ? tr("Known after the first run with this model.")
                           : tr("From the speed of your last run with this model."));

    const QJsonObject memory = e["memory"].toObject();
    const auto part = [&](const char* key) { return memory[QLatin1String(key)].toDouble(); };
    std::vector<MemoryShare> shares = {
        {MemoryPart::Frozen, part("weights")},
        {MemoryPart::Trained, part("adapter") + part("gradients") + part("optimizer")},
        {MemoryPart::Activations, part("activations")},
        {MemoryPart::Logits, part("logits")},
        {MemoryPart::Other, part("runtime")}};
    double sum = 0;
    for (const MemoryShare& s : shares) sum += s.bytes;
    const QJsonObject device = e["device"].toObject();
    const double capacity = device["total_bytes"].toDouble();
    // On a large machine a small run would be a hair's breadth: the scale then follows the run, and
    // the capacity is told in words.
    const bool isTiny = capacity > 0 && sum < capacity * 0.12;
    m_bar->set(shares, isTiny ? 0 : capacity);
    m_memoryTotal->setText(format::bytes(sum));
    m_device->setText(tr("%1, %2").arg(device["name"].toString(device["kind"].toString()),
                                       format::bytes(capacity)));
    for (QWidget* row : m_legend->findChildren<QWidget*>())
        if (!row->objectName().isEmpty())
            static_cast<LegendRow*>(row)->set(part(row->objectName().toLatin1().constData()));
    const bool fits = capacity <= 0 || sum <= capacity,
               tight = fits && capacity > 0 && sum > capacity * 0.9;
    const Tokens& t = Theme::tokens();
    m_verdictIcon->setPixmap(iconPixmap(!fits   ? "error"
                                        : tight ? "warning"
                                                : "ok",
                                        !fits   ? t.err
                                        : tight ? t.warn
                                                : t.ok));
    m_verdict->setText(!fits   ? tr("%1 too much").arg(format::bytes(sum - capacity))
                       : tight ? tr("Tight, %1 spare").arg(format::bytes(capacity - sum))
                               : tr("Fits, %1 spare").arg(format::bytes(capacity - sum)));
    setTone(m_verdict, !fits ? "err" : tight ? "warn" : "ok");
    m_verdictIcon->show();
    m_note->setText(isTiny ? tr("The bar shows this run alone; it takes %1 of the device.")
                                 .arg(format::percent(sum / capacity))
                           : QString());
}

void EstimatePane::showWarnings(const QJsonArray& warnings) {
    if (warnings.isEmpty()) return m_problem->hide();
    QStringList words;
    for (const QJsonValue& warning : warnings)
        words << warning["message"].toString() + " " + warning["hint"].toString();
    m_problem->show("warn", words.join(" "));
}

void EstimatePane::showProblem(const QString& message, const QString& hint) {
    m_problem->show("err", hint.isEmpty() ? message : message + " " + hint);
    m_verdict->setText({});
    m_verdictIcon->hide();
    m_body->setEnabled(false);
}

void EstimatePane::showWaiting(const QString& words) {
    m_problem->hide();
    m_verdict->setText({});
    m_verdictIcon->hide();
    m_count->setText(QStringLiteral("–"));
    m_percent->setText({});
    m_share->set(0);
    m_memoryTotal->setText({});
    m_device->setText({});
    m_bar->set({}, 0);
    m_evaluation->setText({});
    m_note->setText(words);
}

void EstimatePane::setStart(bool enabled, const QString& tip, const QString& words) {
    m_start->setEnabled(enabled);
    m_queue->setEnabled(enabled);
    m_compare->setEnabled(enabled);
    m_start->setToolTip(tip.isEmpty() ? tr("Ctrl+Return") : tip);
    m_start->setText(" " + words);
    m_start->setAccessibleName(words);
}

}  // namespace luthier::ui
