// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/failed_view.h"

#include "pages/run_side.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/memory_bar.h"

#include <QClipboard>
#include <QDesktopServices>
#include <QGuiApplication>
#include <QJsonDocument>
#include <QRadioButton>
#include <QScrollArea>
#include <QUrl>

namespace luthier::ui {

FailedView::FailedView(Workbench& bench) : m_bench(bench) {
    auto* row = makeRow(0);
    auto* main = new QWidget;
    auto* column = makeColumn(8);
    column->setContentsMargins(64, 24, 24, 24);
    auto* titleRow = makeRow(12);
    auto* icon = new QLabel;
    icon->setPixmap(iconPixmap("error", Theme::tokens().err, 24));
    m_title = makeLabel({}, "message");
    m_title->setWordWrap(true);
    titleRow->addWidget(icon, 0, Qt::AlignTop);
    titleRow->addWidget(m_title, 1);
    column->addLayout(titleRow);
    m_text = makeLabel({}, "body", "t2");
    m_text->setWordWrap(true);
    m_text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(m_text);
    column->addSpacing(8);
    m_bar = new MemoryBar(30);
    m_bar->setMinimumHeight(px(44));
    m_barWords = makeLabel({}, "table", "t2");
    column->addWidget(m_bar);
    column->addWidget(m_barWords);
    column->addSpacing(8);
    m_fixTitle = makeLabel(tr("Ways to make it fit"), "title");
    column->addWidget(m_fixTitle);
    m_fixList = makeColumn(8);
    column->addLayout(m_fixList);
    column->addSpacing(8);
    auto* buttons = makeRow(8);
    m_apply = makeButton(tr("Apply and start again"), "primary", 32, "refresh");
    m_queue = makeButton(tr("Add to queue"), "plain", 32);
    m_edit = makeButton(tr("Edit as new run"), "plain", 32, "pencil");
    buttons->addWidget(m_apply);
    buttons->addWidget(m_queue);
    buttons->addWidget(m_edit);
    buttons->addStretch(1);
    column->addLayout(buttons);
    column->addStretch(1);
    main->setLayout(column);
    row->addWidget(makeScroll(main), 1);
    row->addWidget(makeRule(Qt::Vertical));

    auto* side = new QWidget;
    side->setFixedWidth(px(400));
    auto* right = makeColumn(0);
    auto* facts = new QWidget;
    auto* factColumn = makeColumn(4);
    factColumn->setContentsMargins(16, 12, 16, 12);
    factColumn->addWidget(makeLabel(tr("At the moment of failure"), "strong"));
    m_facts = makeColumn(4);
    factColumn->addLayout(m_facts);
    facts->setLayout(factColumn);
    right->addWidget(facts);
    right->addWidget(makeRule());
    m_log = new LogPane;
    right->addWidget(m_log, 1);
    auto* foot = makeRow(8);
    foot->setContentsMargins(16, 12, 16, 12);
    auto* copy = makeButton(tr("Copy diagnostics"), "plain", 28, "copy");
    auto* folder = makeButton(tr("Run folder"), "plain", 28, "folder");
    foot->addWidget(copy, 1);
    foot->addWidget(folder, 1);
    right->addLayout(foot);
    side->setLayout(right);
    row->addWidget(side);
    setLayout(row);
    connect(copy, &QPushButton::clicked, this, [this] {
        QGuiApplication::clipboard()->setText(m_diagnostics);
        m_bench.say(tr("Diagnostics copied."));
    });
    connect(folder, &QPushButton::clicked, this,
            [this] { QDesktopServices::openUrl(QUrl::fromLocalFile(m_folder)); });
    connect(m_edit, &QPushButton::clicked, this,
            [this] { m_bench.editAsNewRun(m_config, m_config["name"].toString()); });
    const auto again = [this](bool first) {
        QString error;
        const QString id = m_bench.queue.add(fixedConfig(), first, &error);
        if (id.isEmpty())
            m_bench.say(error, {}, {}, "err");
        else if (first)
            m_bench.openRun(id);
        else
            m_bench.say(tr("Added to the queue."));
    };
    connect(m_apply, &QPushButton::clicked, this, [this, again] {
        if (m_canContinue)
            emit continueWanted();
        else
            again(true);
    });
    connect(m_queue, &QPushButton::clicked, this, [again] { again(false); });
}

QJsonObject FailedView::fixedConfig() const {
    QJsonObject config = m_config;
    if (m_chosen < static_cast<int>(m_fixes.size()))
        m_fixes[static_cast<std::size_t>(m_chosen)].apply(config);
    return config;
}

namespace {

/// What the log says of the failure, or what can be known of a worker that ended without a word.
Problem causeOf(const RunFeed& feed) {
    const RunRecord& r = feed.record();
    if (r.snapshot.failure) return *r.snapshot.failure;
    const auto text = [](const QString& words) { return words.toStdString(); };
    Problem problem{"worker_lost",
                    text(FailedView::tr("The training process ended at step %1 without finishing.")
                             .arg(format::count(r.lastStep()))),
                    {},
                    {}};
    const QString last = feed.errorText().section('\n', -1);
    const QString cause = last.isEmpty() || last.startsWith('{')
                              ? FailedView::tr(
                                    "It left no message: it was ended from outside, by a signal, a "
                                    "restart of the computer, or the system when memory ran out.")
                              : FailedView::tr("Its last words: %1").arg(last);
    const QString remedy =
        r.snapshot.checkpoints.empty()
            ? FailedView::tr("No checkpoint was written yet, so it has to start again.")
            : FailedView::tr(
                  "The checkpoint of step %1 is whole; the run goes on from there with the same "
                  "result.")
                  .arg(format::count(r.snapshot.checkpoints.back().step));
    problem.hint = text(cause + " " + remedy);
    return problem;
}

}  // namespace

void FailedView::show(const RunInfo& info, const RunFeed& feed) {
    m_log->show(feed);
    const QString key = info.id + info.status + QString::number(feed.record().snapshot.eventCount);
    if (key == m_key) return;
    m_key = key;
    m_id = info.id;
    m_folder = info.folder;
    m_config = info.config;
    for (const char* derived : {"versions", "hardware", "inputs"})
        m_config.remove(QLatin1String(derived));
    const RunRecord& r = feed.record();
    const Problem failure = causeOf(feed);
    m_canContinue = failure.code == "worker_lost" && !r.snapshot.checkpoints.empty();
    const QString code = QString::fromStdString(failure.code);
    const QString errors = feed.errorText();
    m_title->setText(failure.message.empty() ? tr("The run failed.")
                                             : QString::fromStdString(failure.message));
    m_text->setText(QStringList{QString::fromStdString(failure.hint),
                                tr("Your settings and data are unchanged.")}
                        .join(" ")
                        .trimmed());
    while (QLayoutItem* item = m_facts->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    const auto fact = [this](const QString& name, const QString& value) {
        auto* line = new QWidget;
        auto* row = makeRow(8);
        row->addWidget(makeLabel(name, "table", "t2"));
        auto* words = new ElidedLabel(value, "table");
        words->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
        row->addWidget(words, 1);
        line->setLayout(row);
        m_facts->addWidget(line);
    };
    fact(tr("Code"), code.isEmpty() ? tr("unknown") : code);
    if (!failure.field.empty()) fact(tr("Field"), QString::fromStdString(failure.field));
    fact(tr("Step"), r.lastStep() > 0 ? format::count(r.lastStep()) : tr("before the first"));
    if (!r.snapshot.phase.name.empty())
        fact(tr("Phase"), QString::fromStdString(r.snapshot.phase.name));
    if (r.snapshot.peakBytes() > 0)
        fact(r.memoryIsDevice() ? tr("Device memory, peak") : tr("Process memory, peak"),
             format::bytes(static_cast<double>(r.snapshot.peakBytes())));
    fact(tr("Last checkpoint"), r.snapshot.checkpoints.empty()
                                    ? tr("none yet")
                                    : tr("step %1").arg(r.snapshot.checkpoints.back().step));
    m_diagnostics = tr("Run %1").arg(m_id) + "\n" +
                    QStringLiteral("%1: %2 %3")
                        .arg(code, QString::fromStdString(failure.message),
                             QString::fromStdString(failure.hint)) +
                    "\n" + errors + "\n" + QString::fromUtf8(QJsonDocument(m_config).toJson());

    m_fixes.clear();
    m_chosen = 0;
    if (code == "out_of_memory") {
        const int batch = m_config.value("train")["batch_size"].toInt(4),
                  steps = m_config.value("train")["gradient_accumulation_steps"].toInt(1);
        if (batch > 1)
            m_fixes.push_back(
                {tr("Batch %1, accumulate %2").arg(batch / 2).arg(steps * 2),
                 tr("Half the rows at a time, twice as often. The loss is still summed over the "
                    "same %1 rows.")
                     .arg(batch * steps),
                 QStringLiteral("batch_size %1 → %2, gradient_accumulation_steps %3 → %4")
                     .arg(batch)
                     .arg(batch / 2)
                     .arg(steps)
                     .arg(steps * 2),
                 tr("equal up to rounding"), [batch, steps](QJsonObject& config) {
                     QJsonObject train = config["train"].toObject();
                     train["batch_size"] = batch / 2;
                     train["gradient_accumulation_steps"] = steps * 2;
                     config["train"] = train;
                 }});
        const int length = m_config.value("data")["max_length"].toInt(512);
        m_fixes.push_back(
            {tr("Max. length %1").arg(length / 2),
             tr("Rows are cut to half their length; what lies beyond is not learned."),
             QStringLiteral("max_length %1 → %2").arg(length).arg(length / 2),
             tr("changes the result"), [length](QJsonObject& config) {
                 QJsonObject rows = config["data"].toObject();
                 rows["max_length"] = length / 2;
                 config["data"] = rows;
             }});
    } else if (code == "non_finite_loss") {
        const double rate = m_config.value("train")["learning_rate"].toDouble(2e-4);
        m_fixes.push_back({tr("Learning rate %1").arg(format::rate(rate / 10)),
                           tr("A tenth of the rate, with the same schedule."),
                           QStringLiteral("learning_rate %1 → %2")
                               .arg(format::rate(rate), format::rate(rate / 10)),
                           tr("changes the result"), [rate](QJsonObject& config) {
                               QJsonObject train = config["train"].toObject();
                               train["learning_rate"] = rate / 10;
                               config["train"] = train;
                           }});
    }
    m_fixTitle->setText(code == "out_of_memory" ? tr("Ways to make it fit") : tr("What to change"));
    m_fixTitle->setVisible(!m_fixes.empty());
    m_apply->setText(
        " " +
        (m_canContinue
             ? tr("Continue from step %1").arg(format::count(r.snapshot.checkpoints.back().step))
         : m_fixes.empty() ? tr("Start again")
                           : tr("Apply and start again")));
    m_apply->setAccessibleName(m_apply->text().trimmed());
    m_queue->setVisible(!m_canContinue);
    m_bar->setVisible(code == "out_of_memory");
    m_barWords->setVisible(code == "out_of_memory");
    if (code == "out_of_memory") askMemory(m_config, m_bar, m_barWords);
    while (QLayoutItem* item = m_fixList->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    for (const Fix& fix : m_fixes) addFix(fix);
}

void FailedView::addFix(const Fix& fix) {
    const int index = m_fixList->count();
    auto* card = new QFrame;
    card->setProperty("card", index == 0 ? "selected" : "true");
    auto* row = makeRow(12, 14);
    auto* box = new QRadioButton;
    box->setChecked(index == 0);
    box->setAccessibleName(fix.title);
    row->addWidget(box, 0, Qt::AlignTop);
    auto* words = makeColumn(4);
    auto* head = makeRow(8);
    head->addWidget(makeLabel(fix.title, "strong"));
    head->addWidget(new Chip(fix.kind, fix.kind == tr("changes the result") ? "warn" : "ok"));
    head->addStretch(1);
    words->addLayout(head);
    auto* text = makeLabel(fix.words, "body", "t2");
    text->setWordWrap(true);
    words->addWidget(text);
    words->addWidget(makeLabel(fix.keys, "mono", "t2"));
    row->addLayout(words, 3);
    auto* result = makeColumn(6);
    auto* bar = new MemoryBar(10);
    auto* verdict = makeLabel(tr("estimating"), "table", "t3");
    result->addWidget(bar);
    result->addWidget(verdict);
    row->addLayout(result, 2);
    card->setLayout(row);
    m_fixList->addWidget(card);
    connect(box, &QRadioButton::clicked, this, [this, index] {
        m_chosen = index;
        for (int i = 0; i < m_fixList->count(); ++i) {
            QWidget* other = m_fixList->itemAt(i)->widget();
            setLook(other, "card", i == index ? "selected" : "true");
            other->findChild<QRadioButton*>()->setChecked(i == index);
        }
    });
    QJsonObject config = m_config;
    fix.apply(config);
    askMemory(config, bar, verdict);
}

void FailedView::askMemory(const QJsonObject& config, MemoryBar* bar, QLabel* verdict) {
    m_bench.quick.request(
        "estimate", {{"config", config}, {"directory", m_bench.workspace()}}, bar,
        {[bar, verdict](const QJsonValue& value) {
             const QJsonValue m = value["memory"];
             const std::vector<MemoryShare> shares = {
                 {MemoryPart::Frozen, m["weights"].toDouble()},
                 {MemoryPart::Trained,
                  m["adapter"].toDouble() + m["gradients"].toDouble() + m["optimizer"].toDouble()},
                 {MemoryPart::Activations, m["activations"].toDouble()},
                 {MemoryPart::Logits, m["logits"].toDouble()},
                 {MemoryPart::Other, m["runtime"].toDouble()}};
             double sum = 0;
             for (const MemoryShare& share : shares) sum += share.bytes;
             const double capacity = value["device"]["total_bytes"].toDouble();
             bar->set(shares, capacity);
             verdict->setText(
                 QObject::tr("%1 of %2, %3")
                     .arg(format::bytes(sum), format::bytes(capacity),
                          sum <= capacity
                              ? QObject::tr("%1 spare").arg(format::bytes(capacity - sum))
                              : QObject::tr("%1 too much").arg(format::bytes(sum - capacity))));
             setTone(verdict, sum <= capacity ? "ok" : "err");
         },
         [verdict](const ServeProblem& problem) { verdict->setText(problem.message); },
         {}});
}

}  // namespace luthier::ui
