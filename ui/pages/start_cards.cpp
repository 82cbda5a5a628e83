// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/start_cards.h"

#include "settings/settings.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/fact_rows.h"

#include <QApplication>
#include <QDir>
#include <QDirIterator>
#include <QFileInfo>
#include <QPainter>
#include <QtConcurrentRun>

#include <cmath>

namespace luthier::ui {

namespace {

QPixmap stepMark(int number, bool isDone, bool isNext) {
    const Tokens& t = Theme::tokens();
    const int size = px(24);
    const qreal ratio = qApp->devicePixelRatio();
    QPixmap pixmap(QSize(size, size) * ratio);
    pixmap.setDevicePixelRatio(ratio);
    pixmap.fill(Qt::transparent);
    QPainter p(&pixmap);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(Qt::NoPen);
    p.setBrush(isDone ? t.oksoft : isNext ? t.fill : t.bg3);
    p.drawEllipse(QRectF(0, 0, size, size));
    if (isDone) {
        drawIcon(p, "check", QRectF((size - 14) / 2.0, (size - 14) / 2.0, 14, 14), t.ok);
    } else {
        p.setFont(themeFont(Type::TableStrong));
        p.setPen(isNext ? QColor(Qt::white) : t.t2);
        p.drawText(QRectF(0, 0, size, size), Qt::AlignCenter, QString::number(number));
    }
    return pixmap;
}

double bytesIn(const QString& folder, int* files = nullptr) {
    double bytes = 0;
    for (QDirIterator it(folder, QDir::Files | QDir::Hidden, QDirIterator::Subdirectories);
         it.hasNext();) {
        it.next();
        bytes += static_cast<double>(it.fileInfo().size());
        if (files) ++*files;
    }
    return bytes;
}

}  // namespace

FirstSteps::FirstSteps(Workbench& bench) : m_bench(bench) {
    setProperty("card", "true");
    setAccessibleName(tr("First steps"));
    auto* row = makeRow(16);
    row->setContentsMargins(16, 14, 12, 14);
    auto* lead = makeColumn(2);
    lead->addWidget(makeLabel(tr("Your first adapter"), "name"));
    m_words = makeLabel({}, "table", "t2");
    m_words->setWordWrap(true);
    lead->addWidget(m_words);
    lead->addStretch(1);
    row->addLayout(lead, 5);
    const QString titles[] = {tr("Open the demo"), tr("Start its run"), tr("Try it"),
                              tr("Export it")};
    const QString notes[] = {tr("A small model and poems"), tr("A minute or two"),
                             tr("Base and tuned, side by side"), tr("Load it in another tool")};
    for (int i = 0; i < 4; ++i) {
        auto* step = makeRow(10);
        m_marks[i] = new QLabel;
        m_titles[i] = makeLabel(titles[i], "name");
        m_notes[i] = makeLabel(notes[i], "table", "t2");
        m_notes[i]->setWordWrap(true);
        auto* words = makeColumn(2);
        words->addWidget(m_titles[i]);
        words->addWidget(m_notes[i]);
        words->addStretch(1);
        step->addWidget(m_marks[i], 0, Qt::AlignTop);
        step->addLayout(words, 1);
        row->addLayout(step, 6);
    }
    auto* close = makeIconButton("close", tr("Close the first steps"), 24);
    row->addWidget(close, 0, Qt::AlignTop);
    setLayout(row);
    connect(close, &QPushButton::clicked, this, [this] {
        Settings::set("firstSteps/closed", true);
        hide();
        m_bench.say(tr("First steps closed"), tr("Undo"), [this] {
            Settings::set("firstSteps/closed", false);
            refresh();
        });
    });
}

void FirstSteps::refresh() {
    const auto& runs = m_bench.runs.runs();
    const bool hasResult = std::any_of(runs.begin(), runs.end(), [](const RunInfo& run) {
        return run.hasAdapter || run.hasFullModel;
    });
    const bool done[4] = {Settings::value("firstSteps/opened").toBool() || !runs.empty(), hasResult,
                          Settings::value("firstSteps/tried").toBool(),
                          Settings::value("firstSteps/exported").toBool()};
    int count = 0, next = -1;
    for (int i = 0; i < 4; ++i) {
        count += done[i];
        if (!done[i] && next < 0) next = i;
    }
    for (int i = 0; i < 4; ++i) {
        m_marks[i]->setPixmap(stepMark(i + 1, done[i], i == next));
        m_marks[i]->setAccessibleName(done[i] ? tr("done") : i == next ? tr("next") : tr("later"));
        setTone(m_titles[i], done[i] ? "t2" : "t1");
    }
    m_words->setText(count == 0 ? tr("Four steps, about five minutes.")
                                : tr("Four steps, %1 done.").arg(count));
    setVisible(count < 4 && !Settings::value("firstSteps/closed").toBool());
}

ComputerCard::ComputerCard(Workbench& bench) : m_bench(bench) {
    setProperty("card", "true");
    setAccessibleName(tr("This computer"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(&bench.probe, &SystemProbe::changed, this, [this] {
        describe();
        updateGeometry();
        update();
    });
    describe();
}

void ComputerCard::describe() {
    const SystemReading& r = m_bench.probe.reading();
    QStringList words;
    for (const GpuReading& gpu : r.gpus)
        words << tr("%1, %2 of %3 used")
                     .arg(gpu.name, format::bytes(gpu.usedBytes), format::bytes(gpu.totalBytes));
    words << tr("%1, %n core(s)", nullptr, r.cores).arg(r.cpuName)
          << tr("memory %1 of %2").arg(format::bytes(r.memoryUsed), format::bytes(r.memoryTotal))
          << tr("disk %1 free").arg(format::bytes(r.diskFree));
    setAccessibleDescription(words.join("; "));
}

QSize ComputerCard::sizeHint() const {
    const auto gpus = static_cast<int>(m_bench.probe.reading().gpus.size());
    return {px(320), px(48) + gpus * px(84) + 3 * px(48) + px(12)};
}

void ComputerCard::paintEvent(QPaintEvent* event) {
    QFrame::paintEvent(event);
    const Tokens& t = Theme::tokens();
    const SystemReading& r = m_bench.probe.reading();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const double left = 16, right = width() - 16;
    p.setFont(themeFont(Type::Name));
    p.setPen(t.t1);
    p.drawText(QRectF(left, px(10), right - left, px(28)), Qt::AlignVCenter, tr("This computer"));
    double y = px(44);
    const double text = left + 28;
    const auto head = [&](const char* icon, const QColor& color, const QString& name,
                          const QString& value) {
        drawIcon(p, icon, QRectF(left, y + px(2), 18, 18), color);
        p.setFont(themeFont(Type::Table));
        const double valueWidth = p.fontMetrics().horizontalAdvance(value);
        p.setPen(t.t2);
        p.drawText(QRectF(text, y, right - text, px(20)), Qt::AlignRight | Qt::AlignVCenter, value);
        p.setFont(themeFont(Type::Name));
        p.setPen(t.t1);
        const auto room = static_cast<int>(right - text - valueWidth - 12);
        p.drawText(QRectF(text, y, room, px(20)), Qt::AlignVCenter,
                   p.fontMetrics().elidedText(name, Qt::ElideRight, room));
    };
    const auto bar = [&](double at, double share, const QColor& color, double height) {
        p.setPen(Qt::NoPen);
        p.setBrush(t.bg3);
        p.drawRoundedRect(QRectF(text, at, right - text, height), 2, 2);
        p.setBrush(color);
        if (share > 0)
            p.drawRoundedRect(
                QRectF(text, at, std::max(3.0, (right - text) * std::min(1.0, share)), height), 2,
                2);
    };
    const auto under = [&](const QString& words) {
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        p.drawText(
            QRectF(text, y + px(20), right - text, px(18)), Qt::AlignVCenter,
            p.fontMetrics().elidedText(words, Qt::ElideRight, static_cast<int>(right - text)));
    };
    for (std::size_t i = 0; i < r.gpus.size(); ++i) {
        const GpuReading& gpu = r.gpus[i];
        head("gpu", t.acc, tr("GPU %1 · %2").arg(i).arg(gpu.name), {});
        under(gpu.driver.isEmpty() ? QString() : tr("driver %1").arg(gpu.driver));
        bar(y + px(44), gpu.usedBytes / std::max(1.0, gpu.totalBytes), t.acc, 8);
        p.setFont(themeFont(Type::Table));
        p.drawText(
            QRectF(text, y + px(56), right - text, px(18)), Qt::AlignVCenter,
            tr("%1 of %2 used").arg(format::bytes(gpu.usedBytes), format::bytes(gpu.totalBytes)));
        y += px(84);
    }
    if (r.memoryTotal <= 0) return;
    head(r.gpus.empty() ? "cpu" : "cpu", r.gpus.empty() ? t.acc : t.t2,
         tr("CPU · %1").arg(r.cpuName), QStringLiteral("%1 %").arg(r.cpuShare * 100, 0, 'f', 0));
    under(r.gpus.empty() ? tr("%n core(s); training runs here", nullptr, r.cores)
                         : tr("%n core(s)", nullptr, r.cores));
    y += px(48);
    head("memory", t.t2, tr("Memory"),
         tr("%1 / %2 GiB").arg(format::gib(r.memoryUsed), format::gib(r.memoryTotal)));
    bar(y + px(26), r.memoryUsed / r.memoryTotal, t.frozen, 6);
    y += px(48);
    head("disk", t.t2, tr("Workspace disk"), tr("%1 free").arg(format::bytes(r.diskFree)));
    bar(y + px(26), r.diskTotal > 0 ? 1 - r.diskFree / r.diskTotal : 0,
        r.diskTotal > 0 && r.diskFree / r.diskTotal < 0.05 ? t.warn : t.frozen, 6);
}

WorkspaceCard::WorkspaceCard(Workbench& bench) : m_bench(bench) {
    setProperty("card", "true");
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 12, 16, 14);
    auto* head = makeRow(8);
    m_title = makeLabel({}, "name");
    auto* change = makeButton(tr("Open…"), "ghost", 24);
    head->addWidget(m_title);
    head->addStretch(1);
    head->addWidget(change);
    column->addLayout(head);
    m_path = new ElidedLabel({}, "table", "t2");
    column->addWidget(m_path);
    m_rows = new FactRows(FactRows::Values::Right, 22);
    column->addWidget(m_rows);
    setLayout(column);
    change->setAccessibleName(tr("Open another workspace"));
    connect(change, &QPushButton::clicked, this, [this] { m_bench.goTo(PageId::Settings); });
    connect(&m_watcher, &QFutureWatcherBase::finished, this, [this] {
        m_sizes = m_watcher.result();
        showSizes();
    });
    showSizes();
}

void WorkspaceCard::refresh() {
    showSizes();
    if (m_watcher.isRunning()) return;
    m_watcher.setFuture(QtConcurrent::run([workspace = m_bench.workspace()] {
        Sizes sizes;
        for (const QFileInfo& run :
             QDir(workspace + "/runs").entryInfoList(QDir::Dirs | QDir::NoDotAndDotDot))
            for (const QFileInfo& checkpoint :
                 QDir(run.absoluteFilePath() + "/checkpoints")
                     .entryInfoList(QDir::Dirs | QDir::NoDotAndDotDot)) {
                ++sizes.checkpoints;
                sizes.checkpointBytes += bytesIn(checkpoint.absoluteFilePath());
            }
        for (const QFileInfo& made :
             QDir(workspace + "/exports").entryInfoList(QDir::Dirs | QDir::NoDotAndDotDot)) {
            ++sizes.exports;
            sizes.exportBytes += bytesIn(made.absoluteFilePath());
        }
        return sizes;
    }));
}

void WorkspaceCard::showSizes() {
    m_title->setText(tr("Workspace %1").arg(QFileInfo(m_bench.workspace()).fileName()));
    static_cast<ElidedLabel*>(m_path)->setWhole(m_bench.workspace());
    double models = 0, rows = 0, adapters = 0;
    int adapterCount = 0;
    for (const QJsonObject& model : m_bench.catalogue.models()) models += model["bytes"].toDouble();
    for (const QJsonObject& dataset : m_bench.catalogue.datasets())
        rows += dataset["bytes"].toDouble();
    for (const RunInfo& run : m_bench.runs.runs())
        if (run.hasAdapter || run.hasFullModel) {
            ++adapterCount;
            if (!std::isnan(run.adapterBytes)) adapters += run.adapterBytes;
        }
    const auto row = [](const QString& name, int count, double bytes) {
        return Fact{name + QStringLiteral("   ") + format::count(count),
                    count > 0 ? format::bytes(bytes) : QStringLiteral("–"),
                    {},
                    {},
                    false,
                    {}};
    };
    m_rows->set({row(tr("Models"), static_cast<int>(m_bench.catalogue.models().size()), models),
                 row(tr("Data"), static_cast<int>(m_bench.catalogue.datasets().size()), rows),
                 row(tr("Checkpoints"), m_sizes.checkpoints, m_sizes.checkpointBytes),
                 row(tr("Adapters"), adapterCount, adapters),
                 row(tr("Exports"), m_sizes.exports, m_sizes.exportBytes)});
}

}  // namespace luthier::ui
