// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/data_page.h"

#include "settings/settings.h"
#include "settings/undo.h"
#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/icon_label.h"
#include "widgets/length_histogram.h"
#include "widgets/stat_strip.h"
#include "widgets/token_view.h"

#include <QComboBox>
#include <QDateTime>
#include <QEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QJsonDocument>
#include <QMenu>
#include <QProgressBar>
#include <QScrollArea>
#include <QSplitter>
#include <QStackedWidget>
#include <QTimer>

#include <cmath>

namespace luthier::ui {

namespace {

constexpr int kPage = 20;
const char* const kFormats[] = {"auto", "prompt_completion", "chat",    "alpaca",
                                "text", "classification",    "choices", "tokenized"};
const char* const kLossOn[] = {"completion", "all", "assistant"};
const char* const kFilters[] = {"all", "cut", "longest"};

QString formatWords(const QString& format) {
    if (format == "auto") return DataPage::tr("Recognise it");
    if (format == "prompt_completion") return DataPage::tr("Prompt and completion");
    if (format == "chat") return DataPage::tr("Chat");
    if (format == "alpaca") return DataPage::tr("Alpaca");
    if (format == "text") return DataPage::tr("Text");
    if (format == "classification") return DataPage::tr("Classification");
    if (format == "choices") return DataPage::tr("Question with choices");
    if (format == "tokenized") return DataPage::tr("Token ids");
    return format;
}

TokenState stateOf(const QString& name) {
    return name == "loss"      ? TokenState::Loss
           : name == "cut"     ? TokenState::Cut
           : name == "special" ? TokenState::Special
                               : TokenState::Prompt;
}

}  // namespace

DataPage::DataPage(Workbench& bench) : Page(bench) {
    m_stack = new QStackedWidget;
    m_empty = new EmptyState("data", tr("No data chosen"),
                             tr("Drop a file or a folder here, or choose a file: JSON lines, JSON, "
                                "CSV, Parquet or text. Its rows appear as the trainer sees them."),
                             tr("Choose a file…"));
    auto* splitter = new QSplitter;
    splitter->addWidget(buildSource());
    splitter->addWidget(buildRows());
    splitter->addWidget(buildFacts());
    splitter->setStretchFactor(1, 1);
    splitter->setSizes({px(292), px(580), px(336)});
    Settings::keepSplitter(splitter, "data");
    m_stack->addWidget(m_empty);
    m_stack->addWidget(splitter);
    auto* outer = makeColumn(0);
    outer->addWidget(m_stack);
    setLayout(outer);
    connect(m_empty, &EmptyState::triggered, this, &DataPage::chooseFile);
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, [this] {
        fillModels();
        if (isVisible() && m_value.isEmpty() && !m_request) load();
    });
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        if (!m_value.isEmpty()) showProblems(m_value);
    });
    m_state = QJsonDocument::fromJson(Settings::value("data/state").toByteArray()).object();
    fillModels();
    showState();
}

QWidget* DataPage::buildSource() {
    auto* side = new QWidget;
    side->setMinimumWidth(px(252));
    auto* outer = makeColumn(0);
    auto* header = new PaneHeader(tr("Source"));
    auto* change = makeButton(tr("Change…"), "plain", 24, "folder");
    header->addRight(change);
    outer->addWidget(header);
    outer->addWidget(makeRule());
    auto* content = new QWidget;
    auto* column = makeColumn(0);
    const auto section = [&](const QString& name) {
        auto* inner = makeColumn(8);
        inner->setContentsMargins(16, 14, 16, 14);
        if (!name.isEmpty()) inner->addWidget(makeLabel(name, "strong"));
        column->addLayout(inner);
        column->addWidget(makeRule());
        return inner;
    };
    const auto field = [&](QVBoxLayout* into, const QString& name, QWidget* editor) {
        auto* row = makeRow(8);
        auto* label = makeLabel(name, "body", "t2");
        label->setFixedWidth(px(84));
        label->setBuddy(editor);
        editor->setAccessibleName(name);
        row->addWidget(label);
        row->addWidget(editor, 1);
        into->addLayout(row);
    };
    auto* file = section({});
    auto* fileRow = makeRow(12);
    auto* icon = new IconLabel("data", 18);
    auto* names = makeColumn(2);
    m_fileName = new ElidedLabel({}, "name");
    m_fileNote = new ElidedLabel({}, "table", "t2");
    names->addWidget(m_fileName);
    names->addWidget(m_fileNote);
    fileRow->addWidget(icon, 0, Qt::AlignTop);
    fileRow->addLayout(names, 1);
    file->addLayout(fileRow);

    auto* read = section(tr("How it is read"));
    m_model = new QComboBox;
    m_model->setMinimumContentsLength(8);
    m_model->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    field(read, tr("Tokenised by"), m_model);
    m_format = new QComboBox;
    m_format->setMinimumContentsLength(8);
    m_format->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    for (const char* each : kFormats)
        m_format->addItem(formatWords(QLatin1String(each)), QLatin1String(each));
    field(read, tr("Format"), m_format);
    m_recognised = makeLabel({}, "table", "ok");
    m_recognised->setWordWrap(true);
    read->addWidget(m_recognised);
    auto* well = new QFrame;
    well->setProperty("well", "true");
    auto* wellColumn = makeColumn(0);
    wellColumn->setContentsMargins(12, 10, 12, 10);
    m_mapping = makeLabel({}, "monosmall", "t2");
    m_mapping->setWordWrap(true);
    wellColumn->addWidget(m_mapping);
    well->setLayout(wellColumn);
    m_well = well;
    m_well->hide();
    read->addWidget(well);

    auto* learned = section(tr("What is learned"));
    m_lossOn = new SegmentedControl({tr("Completion"), tr("All text"), tr("Assistant")}, 28);
    m_lossOn->setStretched(true);
    m_lossOn->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    m_lossOn->setAccessibleName(tr("What is learned"));
    learned->addWidget(m_lossOn);
    m_lossNote = makeLabel({}, "table", "t2");
    m_lossNote->setWordWrap(true);
    learned->addWidget(m_lossNote);

    auto* split = section(tr("Length and split"));
    m_length = new UnitField(tr("tokens"));
    field(split, tr("Max. length"), m_length);
    m_split = new UnitField("%");
    field(split, tr("Evaluation"), m_split);
    m_splitNote = makeLabel({}, "table", "t2");
    m_splitNote->setWordWrap(true);
    m_splitNote->hide();
    split->addWidget(m_splitNote);
    auto* packRow = makeRow(8);
    auto* packLabel = makeLabel(tr("Pack rows"), "body", "t2");
    packLabel->setFixedWidth(px(84));
    m_packing = new Toggle(tr("Pack rows"));
    auto* packNote = makeLabel(tr("short rows share a sequence"), "table", "t2");
    packNote->setWordWrap(true);
    packRow->addWidget(packLabel);
    packRow->addWidget(m_packing);
    packRow->addWidget(packNote, 1);
    split->addLayout(packRow);
    column->addStretch(1);
    content->setLayout(column);
    outer->addWidget(makeScroll(content), 1);
    side->setLayout(outer);

    connect(change, &QPushButton::clicked, this, [this, change] {
        QMenu menu;
        menu.addAction(tr("File…"), this, &DataPage::chooseFile);
        menu.addAction(tr("Folder…"), this, &DataPage::chooseFolder);
        menu.exec(change->mapToGlobal(QPoint(0, change->height() + 2)));
    });
    connect(m_model, &QComboBox::activated, this, [this] {
        this->change("model", m_model->currentData().toString(), tr("tokeniser of the data"));
    });
    connect(m_format, &QComboBox::activated, this, [this] {
        this->change("format", m_format->currentData().toString(), tr("data format"));
    });
    connect(m_lossOn, &SegmentedControl::changed, this, [this](int index) {
        this->change("loss_on", QLatin1String(kLossOn[index]), tr("what is learned"));
    });
    connect(m_packing, &QAbstractButton::clicked, this,
            [this] { this->change("packing", m_packing->isChecked(), tr("pack rows")); });
    connect(m_length, &QLineEdit::editingFinished, this, [this] {
        bool ok = false;
        const int tokens = m_length->text().remove(',').toInt(&ok);
        setLook(m_length, "state", ok && tokens >= 2 ? "" : "err");
        m_length->setToolTip(ok && tokens >= 2 ? QString() : tr("A whole number from 2."));
        if (ok && tokens >= 2) this->change("max_length", tokens, tr("maximum length"));
    });
    connect(m_split, &QLineEdit::editingFinished, this, [this] {
        bool ok = false;
        const double share = m_split->text().toDouble(&ok);
        const bool isGood = ok && share >= 0 && share <= 90;
        setLook(m_split, "state", isGood ? "" : "err");
        m_split->setToolTip(isGood ? QString() : tr("From 0 to 90."));
        if (isGood) this->change("split", share / 100, tr("evaluation share"));
    });
    return side;
}

QWidget* DataPage::buildRows() {
    auto* centre = new QWidget;
    centre->setMinimumWidth(px(332));
    auto* column = makeColumn(0);
    auto* head = new QWidget;
    m_headRow = makeRow(8);
    m_headRow->setContentsMargins(16, 0, 12, 0);
    auto* first = makeRow(8);
    auto* row = makeRow(8);
    m_head = head;
    m_filter = new SegmentedControl({tr("All"), tr("Cut"), tr("Longest")}, 24);
    m_filter->setAccessibleName(tr("Which rows"));
    m_mode = new SegmentedControl({tr("Tokens"), tr("Text"), tr("Ids")}, 24);
    m_mode->setAccessibleName(tr("How rows are shown"));
    m_back = makeIconButton("chevron-left", tr("Earlier rows"), 24);
    m_at = new QLineEdit;
    m_at->setProperty("size", "24");
    m_at->setAlignment(Qt::AlignCenter);
    m_at->setFixedWidth(px(112));
    m_at->setAccessibleName(tr("Go to row"));
    m_next = makeIconButton("chevron-right", tr("Later rows"), 24);
    first->addWidget(m_filter);
    first->addStretch(1);
    row->addWidget(m_mode);
    row->addStretch(1);
    row->addWidget(m_back);
    row->addWidget(m_at);
    row->addWidget(m_next);
    m_headRow->addLayout(first, 1);
    m_headRow->addLayout(row);
    head->setLayout(m_headRow);
    column->addWidget(head);
    column->addWidget(makeRule());
    m_legend = new QWidget;
    auto* legend = makeRow(6);
    legend->setContentsMargins(16, 8, 16, 8);
    const struct {
        QString sample, words;
        const char* kind;
    } keys[] = {{tr("prompt"), tr("only read"), "frozen"},
                {tr("completion"), tr("carries loss"), "loss"},
                {tr("cut"), tr("beyond max. length"), "cut"},
                {"</s>", tr("special"), "special"}};
    for (const auto& key : keys) {
        auto* sample = makeLabel(key.sample, "monosmall");
        sample->setProperty("chip", QLatin1String(key.kind));
        legend->addWidget(sample);
        legend->addWidget(makeLabel(key.words, "table", "t2"));
        legend->addSpacing(4);
    }
    legend->addStretch(1);
    m_legend->setLayout(legend);
    column->addWidget(m_legend);
    m_legendRule = makeRule();
    column->addWidget(m_legendRule);
    m_progress = new QWidget;
    auto* progress = makeRow(12);
    progress->setContentsMargins(16, 8, 16, 8);
    m_phase = makeLabel({}, "table", "t2");
    m_bar = new QProgressBar;
    m_bar->setTextVisible(false);
    m_cancel = makeButton(tr("Cancel"), "plain", 24);
    progress->addWidget(m_phase);
    progress->addWidget(m_bar, 1);
    progress->addWidget(m_cancel);
    m_progress->setLayout(progress);
    m_progress->hide();
    column->addWidget(m_progress);
    m_rows = new TokenView;
    m_rowProblem = new EmptyState("error", tr("Not read"), {}, {});
    m_rowStack = new QStackedWidget;
    m_rowStack->addWidget(m_rows);
    m_rowStack->addWidget(m_rowProblem);
    column->addWidget(m_rowStack, 1);
    centre->setLayout(column);
    m_centre = centre;
    centre->installEventFilter(this);
    connect(m_filter, &SegmentedControl::changed, this, [this] { turn(0); });
    connect(m_mode, &SegmentedControl::changed, this,
            [this](int index) { m_rows->setMode(static_cast<TokenView::Mode>(index)); });
    connect(m_back, &QPushButton::clicked, this, [this] { turn(m_first - kPage); });
    connect(m_next, &QPushButton::clicked, this,
            [this] { turn(m_first + static_cast<int>(m_rows->rows().size())); });
    connect(m_at, &QLineEdit::returnPressed, this,
            [this] { turn(m_at->text().section(' ', 0, 0).remove(',').toInt() - 1); });
    connect(m_cancel, &QPushButton::clicked, this, [this] { m_bench.quick.cancel(m_request); });
    connect(m_rows, &TokenView::probabilitiesWanted, this, &DataPage::askProbabilities);
    connect(m_rows, &TokenView::rowCopied, this, [this] { m_bench.say(tr("Row copied")); });
    connect(m_rowProblem, &EmptyState::triggered, this, [this] {
        if (m_value.isEmpty()) return chooseFile();
        m_filter->setCurrent(0);
        turn(0);
    });
    return centre;
}

QWidget* DataPage::buildFacts() {
    auto* side = new QWidget;
    side->setMinimumWidth(px(280));
    auto* outer = makeColumn(0);
    m_lengthHead = new PaneHeader(tr("Token length"));
    m_lengthNote = makeLabel({}, "table", "t2");
    m_lengthHead->addRight(m_lengthNote);
    outer->addWidget(m_lengthHead);
    outer->addWidget(makeRule());
    auto* content = new QWidget;
    auto* column = makeColumn(0);
    m_histogram = new LengthHistogram;
    auto* histogramBox = makeColumn(0);
    histogramBox->setContentsMargins(8, 8, 8, 8);
    histogramBox->addWidget(m_histogram);
    column->addLayout(histogramBox);
    column->addWidget(makeRule());
    m_tiles = new StatStrip;
    auto* tiles = makeRow(0);
    tiles->setContentsMargins(16, 12, 16, 12);
    tiles->addWidget(m_tiles);
    column->addLayout(tiles);
    column->addWidget(makeRule());
    auto* header = new PaneHeader(tr("Problems"));
    m_problemChip = new Chip;
    header->addRight(m_problemChip);
    m_problemChip->hide();
    column->addWidget(header);
    column->addWidget(makeRule());
    m_problems = makeColumn(0);
    column->addLayout(m_problems);
    column->addStretch(1);
    content->setLayout(column);
    outer->addWidget(makeScroll(content), 1);
    outer->addWidget(makeRule());
    auto* foot = makeRow(8);
    foot->setContentsMargins(16, 12, 16, 12);
    m_use = makeButton(tr("Use in new run"), "primary", 32);
    foot->addWidget(m_use, 1);
    outer->addLayout(foot);
    side->setLayout(outer);
    connect(m_histogram, &LengthHistogram::moved, this, &DataPage::showCounts);
    connect(m_histogram, &LengthHistogram::chosen, this,
            [this](int tokens) { change("max_length", tokens, tr("maximum length")); });
    connect(m_use, &QPushButton::clicked, this, &DataPage::useInNewRun);
    return side;
}

bool DataPage::eventFilter(QObject* object, QEvent* event) {
    if (object == m_centre && event->type() == QEvent::Resize) {
        const bool isNarrow = m_centre->width() < px(545);
        m_headRow->setDirection(isNarrow ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
        m_head->setFixedHeight(px(isNarrow ? 76 : 40));
        m_legend->setVisible(!isNarrow);
        m_legendRule->setVisible(!isNarrow);
    }
    return Page::eventFilter(object, event);
}

QString DataPage::context() const {
    const QString path = m_state["path"].toString();
    if (path.isEmpty()) return tr("Rows as the trainer sees them");
    return tr("%1, as %2 will see it")
        .arg(QFileInfo(path).completeBaseName(), m_bench.modelName(m_state["model"].toString()));
}

void DataPage::fillModels() {
    const QString chosen = m_state["model"].toString();
    m_model->clear();
    for (const QJsonObject& entry : m_bench.catalogue.models())
        if (!entry["tokenizer"].isNull() || !entry.contains("tokenizer"))
            m_model->addItem(m_bench.modelName(entry["path"].toString()), entry["path"].toString());
    if (!chosen.isEmpty() && m_model->findData(chosen) < 0)
        m_model->addItem(m_bench.modelName(chosen), chosen);
    if (chosen.isEmpty() && m_model->count() > 0)
        m_state["model"] = m_model->itemData(0).toString();
    m_model->setCurrentIndex(std::max(0, m_model->findData(m_state["model"].toString())));
}

void DataPage::enter() {
    if (m_state["path"].toString().isEmpty()) {
        QJsonObject config =
            QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
        if (config["data"].toObject()["train"].toObject()["path"].toString().isEmpty())
            config = m_bench.demoConfig();
        const QJsonObject section = config["data"].toObject();
        const QString path = section["train"].toObject()["path"].toString();
        if (!path.isEmpty()) {
            QJsonObject state{{"path", path}};
            if (const QString model = config["model"].toObject()["path"].toString();
                !model.isEmpty())
                state["model"] = model;
            for (const char* key : {"max_length", "loss_on", "packing"})
                if (section.contains(QLatin1String(key)))
                    state[QLatin1String(key)] = section[QLatin1String(key)];
            if (section["eval"].toObject().contains("split"))
                state["split"] = section["eval"].toObject()["split"];
            return setState(state);
        }
    }
    showState();
    if (m_value.isEmpty() && !m_request) load();
}

void DataPage::open(const QString& path) {
    QJsonObject state = m_state;
    if (state["path"].toString() == path) return;
    state["path"] = path;
    state.remove("format");
    m_first = 0;
    m_value = {};
    setState(state);
}

void DataPage::change(const QString& key, const QJsonValue& value, const QString& what) {
    const QJsonObject before = m_state;
    QJsonObject after = before;
    after[key] = value;
    if (configOf(after) == configOf(before)) return showState();
    setState(after);
    recordStep(
        m_bench.undo, what,
        [this, after] {
            m_first = 0;
            setState(after);
        },
        [this, before] {
            m_first = 0;
            setState(before);
        });
}

void DataPage::setState(const QJsonObject& state) {
    m_state = state;
    if (m_state["model"].toString().isEmpty() && m_model->count() > 0)
        m_state["model"] = m_model->itemData(0).toString();
    Settings::set("data/state", QJsonDocument(m_state).toJson(QJsonDocument::Compact));
    showState();
    load();
    emit contextChanged();
}

void DataPage::showState() {
    const QString path = m_state["path"].toString();
    m_stack->setCurrentIndex(path.isEmpty() ? 0 : 1);
    m_fileName->setWhole(QFileInfo(path).fileName());
    m_fileName->setToolTip(path);
    const QString model = m_state["model"].toString();
    if (!model.isEmpty() && m_model->findData(model) < 0)
        m_model->addItem(m_bench.modelName(model), model);
    m_model->setCurrentIndex(m_model->findData(model));
    m_format->setCurrentIndex(std::max(0, m_format->findData(m_state["format"].toString("auto"))));
    for (int i = 0; i < 3; ++i)
        if (m_state["loss_on"].toString("completion") == QLatin1String(kLossOn[i]))
            m_lossOn->setCurrent(i);
    const int limit = m_state["max_length"].toInt(512);
    m_length->setText(format::count(limit));
    m_histogram->setLimit(limit);
    m_split->setText(format::real(m_state["split"].toDouble(0.05) * 100));
    m_packing->setChecked(m_state["packing"].toBool());
    showCounts();
}

QJsonObject DataPage::configOf(const QJsonObject& state) {
    const QJsonObject section{{"train", QJsonObject{{"path", state["path"]},
                                                    {"format", state["format"].toString("auto")}}},
                              {"eval", QJsonObject{{"split", state["split"].toDouble(0.05)}}},
                              {"max_length", state["max_length"].toInt(512)},
                              {"loss_on", state["loss_on"].toString("completion")},
                              {"packing", state["packing"].toBool()}};
    return {{"model", QJsonObject{{"path", state["model"]}}}, {"data", section}};
}

void DataPage::turn(int first) {
    const int total = m_value["filtered_rows"].toInt();
    m_first = std::clamp(first, 0, std::max(0, total - 1));
    load();
}

void DataPage::load() {
    if (m_state["path"].toString().isEmpty() || m_state["model"].toString().isEmpty()) {
        if (m_bench.catalogue.modelsLoaded() && !m_state["path"].toString().isEmpty()) {
            m_rowProblem->set(
                "library", tr("No model to tokenise with"),
                tr("Rows become tokens by a model's tokeniser; add a model folder in the library."),
                {}, false);
            m_rowStack->setCurrentIndex(1);
        }
        return;
    }
    if (m_request) m_bench.quick.cancel(m_request);
    m_asked = QDateTime::currentMSecsSinceEpoch();
    auto* own = new int(0);
    const int id = m_bench.quick.request(
        "preview",
        {{"config", configOf(m_state)},
         {"directory", m_bench.workspace()},
         {"first", m_first},
         {"count", kPage},
         {"filter", QLatin1String(kFilters[m_filter->current()])}},
        this,
        {[this, own](const QJsonValue& value) {
             const bool isLatest = *own == m_request;
             delete own;
             if (!isLatest) return;
             m_request = 0;
             m_progress->hide();
             take(value.toObject());
         },
         [this, own](const ServeProblem& problem) {
             const bool isLatest = *own == m_request;
             delete own;
             if (!isLatest) return;
             m_request = 0;
             m_progress->hide();
             if (problem.code == "cancelled") return;
             m_value = {};
             m_rowProblem->set("error", tr("Not read"),
                               problem.message +
                                   (problem.hint.isEmpty() ? QString() : "\n" + problem.hint) +
                                   (problem.field.isEmpty() ? QString() : "\n" + problem.field),
                               tr("Change…"), true);
             m_rowStack->setCurrentIndex(1);
             m_recognised->clear();
             m_histogram->setLengths({});
             showProblems(
                 QJsonObject{{"problems", QJsonArray{QJsonObject{{"level", "error"},
                                                                 {"code", problem.code},
                                                                 {"message", problem.message},
                                                                 {"hint", problem.hint}}}},
                             {"failed", true}});
             m_use->setEnabled(false);
         },
         [this, own](const QJsonObject& event) {
             if (event["type"].toString() == "beginning" && *own == m_request)
                 return takeBeginning(event["value"].toObject());
             if (event["type"].toString() != "phase" || *own != m_request ||
                 QDateTime::currentMSecsSinceEpoch() - m_asked < 900)
                 return;
             m_phase->setText(tr("Counting tokens"));
             m_bar->setRange(0, 1000);
             m_bar->setValue(static_cast<int>(1000 * event["done"].toDouble() /
                                              std::max(1.0, event["total"].toDouble())));
             m_progress->show();
         }});
    *own = m_request = id;
}

void DataPage::showRows(const QJsonObject& value) {
    std::vector<TokenRow> rows;
    const QJsonArray classes = value["classes"].toArray();
    for (const QJsonValue& each : value["preview"].toArray()) {
        TokenRow row;
        row.number = each["row"].toInteger();
        row.isEvaluation = each["split"].toString() == "eval";
        row.cutTokens = each["cut_tokens"].toInteger();
        const QJsonObject object = each.toObject();
        if (object.contains("label")) row.label = classes[object["label"].toInt()].toString();
        for (const QJsonValue& token : each["tokens"].toArray())
            row.tokens.push_back({token["id"].toInt(), token["text"].toString(),
                                  stateOf(token["state"].toString()), -1});
        rows.push_back(std::move(row));
    }
    if (rows.empty())
        m_rowProblem->set(
            "ok", tr("No row is cut"),
            tr("All of them fit into %n token(s).", nullptr, value["max_length"].toInt()),
            tr("Show all rows"));
    m_rowStack->setCurrentIndex(rows.empty() ? 1 : 0);
    m_rows->setRows(std::move(rows), value["max_length"].toInteger());
    const QString format = value["format"].toString();
    m_recognised->setText(m_state["format"].toString("auto") == "auto"
                              ? tr("Recognised as %1").arg(formatWords(format).toLower())
                              : QString());
    m_recognised->setVisible(!m_recognised->text().isEmpty());
    m_mapping->setText(value["mapping"].toString());
    m_well->setVisible(!m_mapping->text().isEmpty());
}

/// The first rows of a large file, long before all are counted.
void DataPage::takeBeginning(const QJsonObject& value) {
    if (value["preview"].toArray().isEmpty()) return;
    showRows(value);
    m_histogram->setLengths({}, tr("Counting…"));
    m_at->setText(tr("1 of …"));
    for (QWidget* each : {static_cast<QWidget*>(m_back), static_cast<QWidget*>(m_next)})
        each->setEnabled(false);
    m_lossNote->setText(tr("Counting the other rows…"));
    m_lengthNote->clear();
    m_use->setEnabled(true);
    showCounts();
}

void DataPage::take(const QJsonObject& value) {
    m_value = value;
    showRows(value);
    std::map<int, std::int64_t> lengths;
    for (const QJsonValue& pair : value["lengths"]["by_length"].toArray())
        lengths[pair[0].toInt()] = pair[1].toInteger();
    m_histogram->setLengths(std::move(lengths));
    m_histogram->setLimit(value["max_length"].toInt());
    const qint64 all = value["train_rows"].toInteger() + value["eval_rows"].toInteger();
    m_filter->setItems({tr("All %1").arg(format::count(all)),
                        tr("Cut %1").arg(format::count(value["truncated_rows"].toInteger())),
                        tr("Longest")});
    const qint64 total = value["filtered_rows"].toInteger();
    m_at->setText(total == 0
                      ? QStringLiteral("0")
                      : tr("%1 of %2").arg(format::count(m_first + 1), format::count(total)));
    m_back->setEnabled(m_first > 0);
    m_next->setEnabled(m_first + value["preview"].toArray().size() < total);
    const QFileInfo source(m_state["path"].toString());
    const qint64 evaluated = value["eval_rows"].toInteger();
    m_fileNote->setWhole(
        source.isDir()
            ? tr("%1 rows to train on, %2 to evaluate")
                  .arg(format::count(value["train_rows"].toInteger()), format::count(evaluated))
            : tr("%1 rows, %2")
                  .arg(format::count(value["rows"].toInteger()),
                       format::bytes(static_cast<double>(source.size()))));
    // A folder that brings its own evaluation rows leaves nothing to a share.
    const double share = m_state["split"].toDouble(0.05);
    m_hasOwnEvaluation = source.isDir() && std::fabs(static_cast<double>(evaluated) -
                                                     share * static_cast<double>(all)) > 1.5;
    m_split->setEnabled(!m_hasOwnEvaluation);
    m_splitNote->setText(
        m_hasOwnEvaluation
            ? tr("The folder brings its own %1 rows to evaluate on; the share is not used.")
                  .arg(format::count(evaluated))
            : tr("%1 rows are held back.").arg(format::count(evaluated)));
    m_splitNote->show();
    const double tokens = value["tokens"].toDouble(),
                 supervised = value["supervised_tokens"].toDouble();
    m_lossNote->setText(tr("Loss is taken on %1 of %2 training tokens (%3).")
                            .arg(format::count(value["supervised_tokens"].toInteger()),
                                 format::count(value["tokens"].toInteger()),
                                 format::percent(tokens > 0 ? supervised / tokens : 0)));
    m_lengthNote->setText(tr("all %1 rows").arg(format::count(m_histogram->rowCount())));
    m_use->setEnabled(true);
    showCounts();
    showProblems(value);
    emit contextChanged();
}

void DataPage::showCounts() {
    const int limit = m_histogram->limit();
    if (m_histogram->rowCount() == 0)
        return m_tiles->set({{tr("Tokens kept"), QStringLiteral("–"), {}},
                             {tr("95 % below"), QStringLiteral("–"), {}},
                             {tr("Longest"), QStringLiteral("–"), {}}});
    const double kept = static_cast<double>(m_histogram->tokensKept(limit)),
                 all = static_cast<double>(m_histogram->tokensAll());
    m_tiles->set({{tr("Tokens kept"), format::shortCount(kept), format::percent(kept / all)},
                  {tr("95 % below"), format::count(m_histogram->quantile(0.95)), {}},
                  {tr("Longest"), format::count(m_histogram->longest()), {}}});
    if (m_length->text() != format::count(limit) && !m_length->hasFocus())
        m_length->setText(format::count(limit));
}

void DataPage::showProblems(const QJsonObject& value) {
    while (QLayoutItem* item = m_problems->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    const Tokens& t = Theme::tokens();
    const auto add = [&](const QString& icon, const QColor& color, const QString& title,
                         const QString& text,
                         const QList<QPair<QString, std::function<void()>>>& fixes) {
        auto* box = new QWidget;
        auto* outer = makeColumn(0);
        auto* row = makeRow(10);
        row->setContentsMargins(16, 12, 16, 12);
        auto* mark = new QLabel;
        mark->setPixmap(iconPixmap(icon, color));
        auto* words = makeColumn(4);
        auto* head = makeLabel(title, "name");
        head->setWordWrap(true);
        words->addWidget(head);
        if (!text.isEmpty()) {
            auto* body = makeLabel(text, "table", "t2");
            body->setWordWrap(true);
            words->addWidget(body);
        }
        if (!fixes.isEmpty()) {
            auto* buttons = makeRow(8);
            for (const auto& [label, run] : fixes) {
                auto* button = makeButton(label, "plain", 24);
                connect(button, &QPushButton::clicked, this, run);
                buttons->addWidget(button);
            }
            buttons->addStretch(1);
            words->addSpacing(2);
            words->addLayout(buttons);
        }
        row->addWidget(mark, 0, Qt::AlignTop);
        row->addLayout(words, 1);
        outer->addLayout(row);
        outer->addWidget(makeRule());
        box->setLayout(outer);
        m_problems->addWidget(box);
    };
    int errors = 0, warnings = 0;
    QStringList codes;
    for (const QJsonValue& problem : value["problems"].toArray()) {
        const QString level = problem["level"].toString(), code = problem["code"].toString();
        codes << code;
        errors += level == "error";
        warnings += level == "warning";
        QList<QPair<QString, std::function<void()>>> fixes;
        if (code == "rows_truncated") {
            const int longest = m_histogram->longest();
            fixes << QPair{tr("Set length %1").arg(format::count(longest)),
                           std::function<void()>([this, longest] {
                               change("max_length", longest, tr("maximum length"));
                           })};
            fixes << QPair{tr("Show them"), std::function<void()>([this] {
                               m_filter->setCurrent(1);
                               turn(0);
                           })};
        }
        add(level == "error"     ? "error"
            : level == "warning" ? "warning"
                                 : "info",
            level == "error"     ? t.err
            : level == "warning" ? t.warn
                                 : t.t2,
            problem["message"].toString(),
            code == "rows_truncated"
                ? tr("The longest row has %1 tokens.").arg(format::count(m_histogram->longest()))
                : problem["hint"].toString(),
            fixes);
    }
    if (!value["failed"].toBool()) {
        if (!codes.contains("rows_truncated"))
            add("ok", t.ok, tr("No row is cut"),
                tr("The longest has %n token(s).", nullptr, m_histogram->longest()), {});
        if (!codes.contains("rows_skipped")) add("ok", t.ok, tr("No row without loss"), {}, {});
        if (!codes.contains("eval_in_train") && value["eval_rows"].toInt() > 0)
            add("ok", t.ok, tr("Training and evaluation do not overlap"),
                tr("Compared token by token; 0 of %1 in common.")
                    .arg(format::count(value["eval_rows"].toInteger())),
                {});
    }
    if (errors > 0)
        m_problemChip->set(tr("%n error(s)", nullptr, errors), "err");
    else if (warnings > 0)
        m_problemChip->set(tr("%n warning(s)", nullptr, warnings), "warn");
    else
        m_problemChip->set(tr("none"), "ok");
    m_problemChip->show();
}

void DataPage::askProbabilities(int row) {
    if (row < 0 || row >= static_cast<int>(m_rows->rows().size())) return;
    QJsonArray ids;
    const TokenRow& wanted = m_rows->rows()[static_cast<std::size_t>(row)];
    for (const TokenChip& chip : wanted.tokens)
        if (chip.state != TokenState::Cut) ids << chip.id;
    const auto number = wanted.number;
    m_bench.heavy.request("perplexity",
                          {{"model", m_state["model"]},
                           {"columns", QJsonArray{QJsonObject{{"adapters", QJsonArray()}}}},
                           {"ids", ids}},
                          this,
                          {[this, row, number](const QJsonValue& value) {
                               const auto& rows = m_rows->rows();
                               if (static_cast<std::size_t>(row) < rows.size() &&
                                   rows[static_cast<std::size_t>(row)].number == number)
                                   m_rows->setProbabilities(
                                       static_cast<std::size_t>(row),
                                       value["columns"][0]["probabilities"].toArray());
                           },
                           [](const ServeProblem&) {},
                           {}});  // the popover simply goes without that line
}

void DataPage::chooseFile() {
    const QString path = QFileDialog::getOpenFileName(this, tr("Data"), m_state["path"].toString(),
                                                      dataFileFilter());
    if (!path.isEmpty()) open(path);
}

void DataPage::chooseFolder() {
    const QString path =
        QFileDialog::getExistingDirectory(this, tr("Folder with data"), m_state["path"].toString());
    if (!path.isEmpty()) open(path);
}

/// What a run got from other data does not go with these: its name, its group and the prompts it
/// writes samples for.
void DataPage::startAnew(QJsonObject& run) const {
    run.remove("name");  // New run names it after data and method
    run["group"] = QFileInfo(m_state["path"].toString()).completeBaseName();
    QJsonObject train = run["train"].toObject();
    train.remove("sample_prompts");
    run["train"] = train;
}

void DataPage::useInNewRun() {
    QJsonObject run =
        QJsonDocument::fromJson(Settings::value("newrun/config").toByteArray()).object();
    if (run.isEmpty()) run = m_bench.demoConfig();
    const QJsonObject own = configOf(m_state);
    QJsonObject section = run["data"].toObject();
    const QJsonObject chosen = own["data"].toObject();
    for (const QString& key : chosen.keys()) section[key] = chosen[key];
    QJsonObject model = run["model"].toObject();
    model["path"] = m_state["model"];
    run["model"] = model;
    const QString before = run["data"].toObject()["train"].toObject()["path"].toString();
    if (run["data"].toObject() != section && before != m_state["path"].toString()) startAnew(run);
    run["data"] = section;
    if (!run.contains("method")) run["method"] = QJsonObject{{"type", defaultMethod()}};
    m_bench.editAsNewRun(run, tr("the Data page"));
}

bool DataPage::perform(PageCommand command) {
    if (command == PageCommand::Stop && m_request) {
        m_bench.quick.cancel(m_request);
        return true;
    }
    if (command != PageCommand::Start || !m_use->isEnabled()) return false;
    useInNewRun();
    return true;
}

}  // namespace luthier::ui
