// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/playground_page.h"

#include "pages/perplexity_pane.h"
#include "settings/settings.h"
#include "settings/undo.h"
#include "theme/format.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/fact_rows.h"
#include "widgets/heat_text.h"
#include "widgets/value_slider.h"

#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QJsonDocument>
#include <QPlainTextEdit>
#include <QSaveFile>
#include <QScrollArea>
#include <QScrollBar>
#include <QSplitter>
#include <QStackedWidget>

namespace luthier::ui {

namespace {

constexpr int kMostColumns = 6;
const char* const kFirstPrompt =
    "Once there was a brave girl named Ruby. She had a kite and played with it every day.";

QString canonical(const QString& path) {
    const QString real = QFileInfo(path).canonicalFilePath();
    return real.isEmpty() ? path : real;
}

/// A model stored in float32 is run in it, so that what is measured here is what it was trained to;
/// others as the engine likes best.
QString computeType(const QJsonObject& model) {
    const QJsonObject dtypes = model["dtypes"].toObject();
    return dtypes.size() == 1 && dtypes.contains("F32") ? QStringLiteral("float32")
                                                        : QStringLiteral("auto");
}

QJsonArray toJson(const QList<ColumnSpec>& specs) {
    QJsonArray list;
    for (const ColumnSpec& spec : specs) {
        QJsonArray column;
        for (const WeightedAdapter& adapter : spec)
            column << QJsonObject{{"path", adapter.path}, {"weight", adapter.weight}};
        list << column;
    }
    return list;
}

}  // namespace

PlaygroundPage::PlaygroundPage(Workbench& bench) : Page(bench) {
    m_add = makeButton(tr("Add column"), "plain", 28, "plus");
    m_body = new QStackedWidget;
    m_empty = new EmptyState(
        "playground", tr("No model yet"),
        tr("A model that Luthier can run appears here as soon as the library finds one."),
        tr("Open the library"));
    auto* whole = new QWidget;
    auto* row = makeRow(0);
    auto* left = makeColumn(0);
    left->addWidget(buildPrompt());
    left->addWidget(makeRule());
    auto* splitter = new QSplitter(Qt::Vertical);
    auto* columns = new QWidget;
    m_columnRow = makeRow(0);
    columns->setLayout(m_columnRow);
    m_columnArea = makeScroll(columns);
    m_columnArea->setHorizontalScrollBarPolicy(Qt::ScrollBarAsNeeded);
    m_columnArea->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_columnArea->setMinimumHeight(px(180));
    m_perplexity = new PerplexityPane;
    m_perplexity->setMinimumHeight(px(140));
    splitter->addWidget(m_columnArea);
    splitter->addWidget(m_perplexity);
    splitter->setStretchFactor(0, 3);
    splitter->setStretchFactor(1, 1);
    splitter->setSizes({500, 230});
    Settings::keepSplitter(splitter, "playground");
    left->addWidget(splitter, 1);
    row->addLayout(left, 1);
    row->addWidget(makeRule(Qt::Vertical));
    row->addWidget(buildSampling());
    whole->setLayout(row);
    m_body->addWidget(whole);
    m_body->addWidget(m_empty);
    auto* outer = makeColumn(0);
    outer->addWidget(m_body);
    setLayout(outer);

    m_countTimer.setSingleShot(true);
    m_countTimer.setInterval(250);
    connect(&m_countTimer, &QTimer::timeout, this, &PlaygroundPage::countPrompt);
    connect(m_add, &QPushButton::clicked, this, &PlaygroundPage::addColumn);
    connect(m_empty, &EmptyState::triggered, this, [this] { m_bench.goTo(PageId::Library); });
    connect(m_perplexity, &PerplexityPane::measureWanted, this, &PlaygroundPage::measure);
    connect(m_perplexity, &PerplexityPane::cancelWanted, this,
            [this] { m_bench.heavy.cancel(m_measure); });
    connect(m_perplexity, &PerplexityPane::textEdited, this, &PlaygroundPage::remember);
    connect(&bench.runs, &RunLibrary::changed, this, [this] {
        if (isVisible()) fill();
    });
    connect(&bench.catalogue, &Catalogue::modelsChanged, this, [this] {
        if (isVisible()) fill();
    });
    connect(&Theme::instance(), &Theme::changed, this, &PlaygroundPage::fill);
    fill();
}

QWidget* PlaygroundPage::buildPrompt() {
    auto* box = new QWidget;
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 10, 16, 12);
    auto* head = makeRow(8);
    m_mode = new SegmentedControl({tr("Prompt"), tr("Chat")}, 28);
    m_mode->setAccessibleName(tr("How the text reaches the model"));
    m_mode->setCurrent(Settings::value("playground/chat", false).toBool() ? 1 : 0);
    m_model = new QComboBox;
    m_model->setAccessibleName(tr("Base model"));
    m_model->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    m_model->setMaximumWidth(px(260));
    m_promptNote = makeLabel({}, "table", "t2");
    m_sameBase = new ElidedLabel({}, "table", "ok");
    m_sameBase->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    head->addWidget(m_mode);
    head->addWidget(m_model);
    head->addWidget(m_promptNote);
    head->addWidget(m_sameBase, 1);
    column->addLayout(head);
    m_system = new QLineEdit(Settings::value("playground/system").toString());
    m_system->setPlaceholderText(tr("System message, if the template takes one"));
    m_system->setAccessibleName(tr("System message"));
    column->addWidget(m_system);
    auto* row = makeRow(12);
    m_prompt = new QPlainTextEdit(
        Settings::value("playground/prompt", QLatin1String(kFirstPrompt)).toString());
    m_prompt->setFixedHeight(px(68));
    m_prompt->setAccessibleName(tr("Prompt"));
    m_prompt->setTabChangesFocus(true);
    auto* go = makeColumn(4);
    m_go = makeButton(tr("Generate"), "primary", 32, "play");
    m_go->setMinimumWidth(px(124));
    auto* keys = makeLabel(QStringLiteral("Ctrl ⏎"), "caption", "t2");
    go->addWidget(m_go);
    go->addWidget(keys, 0, Qt::AlignRight);
    go->addStretch(1);
    row->addWidget(m_prompt, 1);
    row->addLayout(go);
    column->addLayout(row);
    m_banner = new Banner;
    column->addWidget(m_banner);
    box->setLayout(column);
    connect(m_go, &QPushButton::clicked, this, &PlaygroundPage::generate);
    connect(m_mode, &SegmentedControl::changed, this, [this] {
        showMode();
        remember();
    });
    connect(m_prompt, &QPlainTextEdit::textChanged, this, [this] {
        m_countTimer.start();
        remember();
    });
    connect(m_system, &QLineEdit::textEdited, this, [this] {
        m_countTimer.start();
        remember();
    });
    connect(m_model, &QComboBox::activated, this,
            [this] { setModel(m_model->currentData().toString()); });
    return box;
}

QWidget* PlaygroundPage::buildSampling() {
    auto* side = new QWidget;
    side->setFixedWidth(px(296));
    auto* outer = makeColumn(0);
    auto* header = new PaneHeader(tr("Sampling"));
    m_sampling = new SegmentedControl({tr("Greedy"), tr("Sample")}, 24);
    m_sampling->setAccessibleName(tr("How tokens are chosen"));
    m_sampling->setCurrent(Settings::value("playground/sample", false).toBool() ? 1 : 0);
    header->addRight(m_sampling);
    outer->addWidget(header);
    outer->addWidget(makeRule());
    auto* content = new QWidget;
    auto* column = makeColumn(0);
    auto* inner = makeColumn(8);
    inner->setContentsMargins(16, 12, 16, 14);
    const auto slider = [&](const QString& name, double low, double high, double step,
                            const char* key, double fallback) {
        auto* made = new ValueSlider(name, low, high, step);
        made->setValue(Settings::value(key, fallback).toDouble());
        const QString stored = QLatin1String(key);
        connect(made, &ValueSlider::edited, this,
                [this, made, stored, name](double before, double after) {
                    const auto apply = [made, stored](double value) {
                        made->setValue(value);
                        Settings::set(stored, value);
                    };
                    apply(after);
                    recordStep(
                        m_bench.undo, name, [apply, after] { apply(after); },
                        [apply, before] { apply(before); });
                });
        inner->addWidget(made);
        return made;
    };
    m_temperature = slider(tr("Temperature"), 0.05, 2, 0.05, "playground/temperature", 0.7);
    m_topP = slider(tr("Top p"), 0.05, 1, 0.05, "playground/topP", 0.95);
    m_topK = slider(tr("Top k"), 0, 200, 5, "playground/topK", 50);
    m_topK->setFormat(
        [](double value) { return value == 0 ? tr("all") : QString::number(value, 'f', 0); });
    m_penalty = slider(tr("Repetition penalty"), 1, 2, 0.05, "playground/penalty", 1);
    const auto field = [&](const QString& name, const char* key, const QString& fallback) {
        auto* row = makeRow(8);
        auto* edit = new UnitField;
        edit->setText(Settings::value(key, fallback).toString());
        edit->setAccessibleName(name);
        edit->setFixedWidth(px(84));
        const QString stored = QLatin1String(key);
        connect(edit, &QLineEdit::textEdited, this,
                [edit, stored] { Settings::set(stored, edit->text()); });
        row->addWidget(makeLabel(name, "body", "t2"), 1);
        row->addWidget(edit);
        inner->addLayout(row);
        return edit;
    };
    m_length = field(tr("Max. new tokens"), "playground/length", "96");
    m_seed = field(tr("Seed, all columns"), "playground/seed", "7");
    m_stop = field(tr("Stop at"), "playground/stop", {});
    m_stop->setPlaceholderText(tr("text"));
    column->addLayout(inner);
    column->addWidget(makeRule());
    column->addWidget(buildShow());
    column->addWidget(makeRule());
    auto* memory = makeColumn(6);
    memory->setContentsMargins(16, 12, 16, 12);
    memory->addWidget(makeLabel(tr("In memory"), "strong"));
    m_memory = new FactRows;
    m_memory->setAccessibleName(tr("In memory"));
    memory->addWidget(m_memory);
    column->addLayout(memory);
    column->addWidget(makeRule());
    column->addStretch(1);
    content->setLayout(column);
    outer->addWidget(makeScroll(content), 1);
    outer->addWidget(makeRule());
    auto* foot = makeRow(8);
    foot->setContentsMargins(16, 12, 16, 12);
    m_copy = makeButton(tr("Copy all"), "plain", 28, "copy");
    m_save = makeButton(tr("Save…"), "plain", 28, "download");
    foot->addWidget(m_copy, 1);
    foot->addWidget(m_save, 1);
    outer->addLayout(foot);
    side->setLayout(outer);
    const auto showSampling = [this] {
        for (ValueSlider* each : {m_temperature, m_topP, m_topK})
            each->setEnabled(m_sampling->current() == 1);
        Settings::set("playground/sample", m_sampling->current() == 1);
    };
    connect(m_sampling, &SegmentedControl::changed, this, showSampling);
    connect(m_copy, &QPushButton::clicked, this, &PlaygroundPage::copyAll);
    connect(m_save, &QPushButton::clicked, this, &PlaygroundPage::save);
    showSampling();
    return side;
}

QWidget* PlaygroundPage::buildShow() {
    auto* box = new QWidget;
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 12, 16, 14);
    column->addWidget(makeLabel(tr("Show"), "strong"));
    const auto toggle = [&](const QString& name, const char* key, bool fallback) {
        auto* row = makeRow(8);
        auto* made = new Toggle(name);
        made->setChecked(Settings::value(key, fallback).toBool());
        row->addWidget(makeLabel(name, "body", "t2"), 1);
        row->addWidget(made);
        column->addLayout(row);
        const QString stored = QLatin1String(key);
        connect(made, &QAbstractButton::toggled, this, [this, stored](bool on) {
            Settings::set(stored, on);
            showHeat();
        });
        return made;
    };
    m_heat = toggle(tr("Probability underline"), "playground/heat", true);
    m_difference = toggle(tr("Difference to base"), "playground/difference", false);
    m_difference->setToolTip(tr(
        "Blue: the adapter makes the token more likely than the base does. Dashed: less likely."));
    m_together = toggle(tr("Scroll together"), "playground/together", true);
    box->setLayout(column);
    return box;
}

QList<QWidget*> PlaygroundPage::actions() { return {m_add}; }

QString PlaygroundPage::context() const { return m_bench.modelName(m_modelPath); }

std::vector<AdapterChoice> PlaygroundPage::choicesFor(const QString& model) const {
    std::vector<AdapterChoice> choices;
    const QString base = canonical(model);
    for (const RunInfo& run : m_bench.runs.runs())
        if (run.hasAdapter && canonical(run.modelPath) == base)
            choices.push_back({run.folder + "/adapter", run.name,
                               run.methodWords().section(',', 0, 0),
                               Theme::instance().runColor(run.color),
                               std::isnan(run.adapterBytes) ? 0 : run.adapterBytes});
    for (const QString& path : m_extraAdapters) {
        const bool isKnown =
            std::any_of(choices.begin(), choices.end(),
                        [&](const AdapterChoice& each) { return each.path == path; });
        if (isKnown || !QFileInfo::exists(path + "/adapter_config.json")) continue;
        const QFileInfo tensors(path + "/adapter_model.safetensors");
        choices.push_back({path, QFileInfo(path).fileName(), tr("adapter folder"),
                           Theme::instance().runColor(static_cast<int>(choices.size())),
                           static_cast<double>(tensors.size())});
    }
    return choices;
}

void PlaygroundPage::fill() {
    QList<QPair<QString, QString>> models;
    for (const QJsonObject& entry : m_bench.catalogue.models())
        if (entry["can_train"].toBool(true))
            models << QPair{m_bench.modelName(entry["path"].toString()), entry["path"].toString()};
    for (const RunInfo& run : m_bench.runs.runs()) {
        // A run that finished after the library was searched.
        const QString path = run.folder + "/model";
        if (run.hasFullModel && std::none_of(models.begin(), models.end(), [&](const auto& each) {
                return canonical(each.second) == canonical(path);
            }))
            models << QPair{run.name, path};
    }
    bool isSame = models.size() == m_model->count();
    for (qsizetype i = 0; isSame && i < models.size(); ++i)
        isSame = m_model->itemData(static_cast<int>(i)).toString() == models[i].second &&
                 m_model->itemText(static_cast<int>(i)) == models[i].first;
    if (!isSame) {
        m_model->clear();
        for (const auto& [name, path] : models) m_model->addItem(name, path);
    }
    if (!m_modelPath.isEmpty() && m_model->findData(m_modelPath) < 0)
        m_model->addItem(context(), m_modelPath);
    m_body->setCurrentIndex(m_model->count() == 0 && m_bench.catalogue.modelsLoaded() ? 1 : 0);
    if (m_modelPath.isEmpty() && m_model->count() > 0) {
        if (!m_bench.catalogue.modelsLoaded() || !m_bench.runs.isLoaded()) return;
        const QString last = Settings::value("playground/model").toString();
        // Without a remembered choice: the model of the newest run that made an adapter.
        QString wanted = m_model->findData(last) >= 0 ? last : QString();
        for (const RunInfo& run : m_bench.runs.runs())
            if (wanted.isEmpty() && run.hasAdapter)
                for (const auto& [name, path] : models)
                    if (canonical(path) == canonical(run.modelPath)) wanted = path;
        return setModel(wanted.isEmpty() ? m_model->itemData(0).toString() : wanted);
    }
    m_model->setCurrentIndex(m_model->findData(m_modelPath));
    const std::vector<AdapterChoice> choices = choicesFor(m_modelPath);
    for (PlaygroundColumn* column : m_columns) column->setChoices(context(), choices);
    m_add->setEnabled(m_columns.size() < kMostColumns && !choices.empty());
    const bool waitsForAdapter = m_columns.size() == 1 && m_columns.first()->isBase() &&
                                 m_columns.first()->text()->tokens().empty() && !choices.empty();
    if ((m_columns.isEmpty() || waitsForAdapter) && !m_modelPath.isEmpty())
        setColumns(rememberedColumns());
    nameMeasured();
    fillMemory();
}

QList<ColumnSpec> PlaygroundPage::rememberedColumns() const {
    const std::vector<AdapterChoice> choices = choicesFor(m_modelPath);
    const auto exists = [&](const QString& path) {
        return std::any_of(choices.begin(), choices.end(),
                           [&](const AdapterChoice& each) { return each.path == path; });
    };
    QList<ColumnSpec> specs;
    const QJsonObject all =
        QJsonDocument::fromJson(Settings::value("playground/columns").toByteArray()).object();
    for (const QJsonValue& column : all[m_modelPath].toArray()) {
        ColumnSpec spec;
        bool isWhole = true;
        for (const QJsonValue& adapter : column.toArray()) {
            isWhole = isWhole && exists(adapter["path"].toString());
            spec << WeightedAdapter{adapter["path"].toString(), adapter["weight"].toDouble(1)};
        }
        if (isWhole) specs << spec;
    }
    // The base alone is what was shown before there was any adapter.
    const bool isBaseAlone = specs.size() == 1 && specs.first().isEmpty();
    if (!specs.isEmpty() && !(isBaseAlone && !choices.empty())) return specs;
    specs = {ColumnSpec{}};
    for (const AdapterChoice& each : choices)
        if (specs.size() < 3) specs << ColumnSpec{{each.path, 1.0}};
    return specs;
}

void PlaygroundPage::open(const QString& model, const QString& adapter) {
    if (!adapter.isEmpty() && !m_extraAdapters.contains(adapter)) m_extraAdapters << adapter;
    QString path = model;
    for (int i = 0; i < m_model->count(); ++i)
        if (canonical(m_model->itemData(i).toString()) == canonical(model))
            path = m_model->itemData(i).toString();
    if (!path.isEmpty()) setModel(path);
    if (adapter.isEmpty()) return;
    QList<ColumnSpec> wanted = specs();
    const bool isShown = std::any_of(wanted.begin(), wanted.end(), [&](const ColumnSpec& spec) {
        return spec.size() == 1 && spec.first().path == adapter;
    });
    if (isShown) return;
    if (wanted.isEmpty()) wanted << ColumnSpec{};
    wanted.insert(std::min<qsizetype>(1, wanted.size()), ColumnSpec{{adapter, 1.0}});
    while (wanted.size() > 4) wanted.removeLast();
    setColumns(wanted);
}

void PlaygroundPage::setModel(const QString& path) {
    const bool isOther = path != m_modelPath;
    m_modelPath = path;
    if (m_model->findData(path) < 0) m_model->addItem(m_bench.modelName(path), path);
    m_model->setCurrentIndex(m_model->findData(path));
    Settings::set("playground/model", path);
    if (isOther) {
        m_weightsBytes = 0;
        m_dtype.clear();
        m_sameBase->setWhole({});
        m_modelFacts = {};
        for (PlaygroundColumn* column : m_columns) column->begin();
        setColumns(rememberedColumns());
        m_bench.catalogue.inspect(path, this, [this, path](const QJsonObject& facts) {
            if (path != m_modelPath) return;
            m_modelFacts = facts;
            showMode();
            fillMemory();
        });
    }
    showMode();
    emit contextChanged();
}

void PlaygroundPage::rebuildColumns(int count) {
    while (m_columns.size() > count) {
        PlaygroundColumn* last = m_columns.takeLast();
        m_columnRow->removeWidget(last);
        if (QLayoutItem* rule = m_columnRow->count() > 0
                                    ? m_columnRow->takeAt(m_columnRow->count() - 1)
                                    : nullptr) {
            delete rule->widget();
            delete rule;
        }
        last->deleteLater();
    }
    while (m_columns.size() < count) {
        auto* column = new PlaygroundColumn;
        column->setChoices(context(), choicesFor(m_modelPath));
        if (!m_columns.isEmpty()) m_columnRow->addWidget(makeRule(Qt::Vertical));
        m_columnRow->addWidget(column, 1);
        m_columns << column;
        bindColumn(column);
    }
}

void PlaygroundPage::setColumns(const QList<ColumnSpec>& specs) {
    rebuildColumns(static_cast<int>(specs.size()));
    const std::vector<AdapterChoice> choices = choicesFor(m_modelPath);
    for (qsizetype i = 0; i < specs.size(); ++i) {
        if (m_columns[i]->spec() != specs[i]) m_columns[i]->begin();
        m_columns[i]->setChoices(context(), choices);
        m_columns[i]->text()->setPlaceholder(
            choices.empty() ? tr("Its text appears here. An adapter trained on %1 can stand beside "
                                 "it as soon as there is one.")
                                  .arg(context())
                            : tr("Its text appears here."));
        m_columns[i]->setSpec(specs[i]);
    }
    nameMeasured();
    m_add->setEnabled(specs.size() < kMostColumns && !choices.empty());
    m_add->setToolTip(choices.empty() ? tr("No adapter was trained on %1 yet.").arg(context())
                                      : QString());
    showHeat();
    fillMemory();
    remember();
}

void PlaygroundPage::nameMeasured() {
    std::vector<PerplexityColumn> columns;
    for (const PlaygroundColumn* column : m_columns) {
        QString name = column->title();
        if (column->spec().size() > 1) {
            QStringList weights;
            for (const WeightedAdapter& adapter : column->spec())
                weights << QString::number(adapter.weight, 'f', 2);
            name = tr("Mix %1").arg(weights.join(" + "));
        }
        columns.push_back(
            {m_modelPath +
                 QString::fromUtf8(QJsonDocument(column->request()).toJson(QJsonDocument::Compact)),
             name,
             column->colors(),
             -1,
             {},
             {}});
    }
    m_perplexity->setColumns(columns);
}

QList<ColumnSpec> PlaygroundPage::specs() const {
    QList<ColumnSpec> specs;
    for (const PlaygroundColumn* column : m_columns) specs << column->spec();
    return specs;
}

void PlaygroundPage::changeColumns(const QList<ColumnSpec>& wanted, const QString& what) {
    const QList<ColumnSpec> before = specs();
    if (wanted == before) return;
    const QString model = m_modelPath;
    const auto apply = [this, model](const QList<ColumnSpec>& list) {
        if (model != m_modelPath) setModel(model);
        setColumns(list);
    };
    apply(wanted);
    recordStep(
        m_bench.undo, what, [apply, wanted] { apply(wanted); }, [apply, before] { apply(before); });
}

void PlaygroundPage::bindColumn(PlaygroundColumn* column) {
    connect(column, &PlaygroundColumn::specWanted, this,
            [this, column](const ColumnSpec& spec, bool isWeightOnly) {
                QList<ColumnSpec> wanted = specs();
                wanted[m_columns.indexOf(column)] = spec;
                changeColumns(wanted,
                              isWeightOnly ? tr("weights of the mix") : tr("adapter of a column"));
            });
    connect(column, &PlaygroundColumn::removeWanted, this, [this, column] {
        QList<ColumnSpec> wanted = specs();
        if (wanted.size() < 2) return;
        wanted.removeAt(m_columns.indexOf(column));
        changeColumns(wanted, tr("remove column"));
    });
    connect(column->text()->verticalScrollBar(), &QScrollBar::valueChanged, this,
            [this, column](int value) {
                if (!m_together->isChecked() || m_request) return;
                for (PlaygroundColumn* other : m_columns)
                    if (other != column) other->text()->verticalScrollBar()->setValue(value);
            });
}

void PlaygroundPage::addColumn() {
    QList<ColumnSpec> wanted = specs();
    if (wanted.size() >= kMostColumns) return;
    // The first adapter that no column shows; when all are shown, a mix of the two newest.
    const std::vector<AdapterChoice> choices = choicesFor(m_modelPath);
    ColumnSpec spec;
    for (const AdapterChoice& each : choices) {
        const bool isShown =
            std::any_of(wanted.begin(), wanted.end(), [&](const ColumnSpec& shown) {
                return shown.size() == 1 && shown.first().path == each.path;
            });
        if (isShown) continue;
        spec = {{each.path, 1.0}};
        break;
    }
    if (spec.isEmpty() && choices.size() > 1)
        spec = {{choices[0].path, 0.5}, {choices[1].path, 0.5}};
    wanted << spec;
    changeColumns(wanted, tr("add column"));
}

void PlaygroundPage::showMode() {
    const bool canChat = m_modelFacts["chat_template"].toBool();
    if (!canChat && m_mode->current() == 1 && !m_modelFacts.isEmpty()) m_mode->setCurrent(0);
    m_mode->setEnabled(canChat);
    m_mode->setToolTip(
        canChat || m_modelFacts.isEmpty()
            ? QString()
            : tr("%1 has no chat template; its prompt goes in as it stands.").arg(context()));
    m_system->setVisible(m_mode->current() == 1);
    m_countTimer.start();
}

QJsonObject PlaygroundPage::chatMessages() const {
    QJsonArray messages;
    if (!m_system->text().trimmed().isEmpty())
        messages << QJsonObject{{"role", "system"}, {"content", m_system->text()}};
    messages << QJsonObject{{"role", "user"}, {"content", m_prompt->toPlainText()}};
    return {{"messages", messages}};
}

void PlaygroundPage::countPrompt() {
    if (m_modelPath.isEmpty()) return;
    QJsonObject request =
        m_mode->current() == 1 ? chatMessages() : QJsonObject{{"text", m_prompt->toPlainText()}};
    request["model"] = m_modelPath;
    const bool isChat = m_mode->current() == 1;
    m_count = m_bench.quick.request(
        "tokenize", request, this,
        {[this, isChat](const QJsonValue& value) {
             const int count = static_cast<int>(value["ids"].toArray().size());
             const bool lacksTemplate =
                 !m_modelFacts.isEmpty() && !m_modelFacts["chat_template"].toBool();
             m_promptNote->setText(isChat ? tr("its chat template, %n token(s)", nullptr, count)
                                   : lacksTemplate
                                       ? tr("%n token(s), no chat template", nullptr, count)
                                       : tr("%n token(s)", nullptr, count));
             m_promptNote->setToolTip(isChat ? value["text"].toString() : QString());
             setTone(m_promptNote, "t2");
         },
         [this](const ServeProblem& problem) {
             m_promptNote->setText(problem.message);
             setTone(m_promptNote, "err");
         },
         {}});
}

void PlaygroundPage::generate() {
    if (m_request) return m_bench.heavy.cancel(m_request);
    if (m_modelPath.isEmpty() || m_columns.isEmpty()) return;
    m_banner->hide();
    bool lengthOk = false, seedOk = false;
    const int length = m_length->text().toInt(&lengthOk);
    const qlonglong seed = m_seed->text().toLongLong(&seedOk);
    setLook(m_length, "state", lengthOk && length > 0 ? "" : "err");
    setLook(m_seed, "state", seedOk && seed >= 0 ? "" : "err");
    if (!lengthOk || length < 1)
        return m_banner->show(
            "err", tr("\"%1\" is no number of new tokens; give 1 or more.").arg(m_length->text()));
    if (!seedOk || seed < 0)
        return m_banner->show(
            "err", tr("\"%1\" is no seed; give a whole number from 0.").arg(m_seed->text()));
    const bool isSampled = m_sampling->current() == 1;
    QJsonArray columns;
    for (PlaygroundColumn* column : m_columns) {
        column->begin();
        columns << column->request();
    }
    QJsonObject request =
        m_mode->current() == 1 ? chatMessages() : QJsonObject{{"prompt", m_prompt->toPlainText()}};
    request["model"] = m_modelPath;
    request["columns"] = columns;
    request["dtype"] = computeType(m_modelFacts);
    request["max_new_tokens"] = length;
    request["temperature"] = isSampled ? m_temperature->value() : 0.0;
    request["top_p"] = isSampled ? m_topP->value() : 1.0;
    request["top_k"] = isSampled ? static_cast<int>(m_topK->value()) : 0;
    request["repetition_penalty"] = m_penalty->value();
    request["seed"] = seed;
    request["alternatives"] = 5;
    request["compare_base"] = true;
    if (!m_stop->text().isEmpty())
        request["stop"] = QJsonArray{QString(m_stop->text()).replace("\\n", "\n")};
    m_go->setText(tr(" Stop"));
    m_sameBase->setWhole({});
    QList<QPointer<PlaygroundColumn>> targets;
    for (PlaygroundColumn* column : m_columns) targets << column;
    m_request = m_bench.heavy.request(
        "generate", request, this,
        {[this, targets](const QJsonValue& value) {
             const QJsonArray documents = value["columns"].toArray();
             for (qsizetype i = 0; i < targets.size() && i < documents.size(); ++i)
                 if (targets[i]) targets[i]->finish(documents[i].toObject());
             if (targets.size() > 1) Settings::set("firstSteps/tried", true);
             m_weightsBytes = value["weights_bytes"].toDouble();
             m_dtype = value["dtype"].toString();
             for (const auto& target : targets)
                 if (target)
                     target->text()->verticalScrollBar()->setValue(0);  // beginnings side by side
             finish();
         },
         [this](const ServeProblem& problem) {
             finish();
             if (problem.code != "cancelled")
                 m_banner->show("err", problem.message + " " + problem.hint);
         },
         [this, targets](const QJsonObject& event) {
             const QString type = event["type"].toString();
             const int at = event["column"].toInt();
             if (type == "started") {
                 m_sameBase->setWhole(
                     targets.size() > 1
                         ? tr("One base in memory; columns differ only by their adapter")
                         : QString());
             } else if (type == "token" && at < targets.size() && targets[at]) {
                 targets[at]->take(event);
             } else if (type == "column_failed" && at < targets.size() && targets[at]) {
                 targets[at]->showProblem(event["problem"]["message"].toString() + " " +
                                          event["problem"]["hint"].toString());
             } else if (type == "phase") {
                 m_sameBase->setWhole(tr("Opening the model"));
             }
         }});
}

void PlaygroundPage::finish() {
    m_request = 0;
    m_go->setText(tr(" Generate"));
    fillMemory();
}

void PlaygroundPage::measure() {
    if (m_measure || m_modelPath.isEmpty()) return;
    QJsonArray columns;
    for (PlaygroundColumn* column : m_columns) columns << column->request();
    m_perplexity->setBusy(true);
    const auto done = [this] {
        m_measure = 0;
        m_perplexity->setBusy(false);
    };
    m_measure = m_bench.heavy.request(
        "perplexity",
        {{"model", m_modelPath},
         {"columns", columns},
         {"text", m_perplexity->text()},
         {"dtype", computeType(m_modelFacts)}},
        this,
        {[this, done](const QJsonValue& value) {
             m_perplexity->take(value.toObject());
             done();
         },
         [this, done](const ServeProblem& problem) {
             done();
             if (problem.code != "cancelled")
                 m_perplexity->showProblem(problem.message + " " + problem.hint);
         },
         {}});
}

void PlaygroundPage::showHeat() {
    const auto mode = m_difference->isChecked() ? HeatText::Mode::Difference
                      : m_heat->isChecked()     ? HeatText::Mode::Probability
                                                : HeatText::Mode::Plain;
    for (PlaygroundColumn* column : m_columns)
        column->text()->setMode(
            column->isBase() && mode == HeatText::Mode::Difference
                ? (m_heat->isChecked() ? HeatText::Mode::Probability : HeatText::Mode::Plain)
                : mode);
}

void PlaygroundPage::fillMemory() {
    std::vector<Fact> rows;
    const auto row = [&](const QString& name, double bytes) {
        if (bytes > 0) rows.push_back({name, format::bytes(bytes), {}, {}, false, {}});
    };
    row(m_dtype.isEmpty() ? tr("Base, on disk") : tr("Base, %1").arg(m_dtype),
        m_weightsBytes > 0 ? m_weightsBytes : m_modelFacts["bytes"].toDouble());
    QStringList seen;
    double cache = 0;
    for (const PlaygroundColumn* column : m_columns) {
        cache += column->cacheBytes();
        for (const WeightedAdapter& adapter : column->spec()) {
            if (seen.contains(adapter.path)) continue;
            seen << adapter.path;
            for (const AdapterChoice& each : choicesFor(m_modelPath))
                if (each.path == adapter.path) row(each.name, each.bytes);
        }
    }
    row(tr("Key-value cache, %n column(s)", nullptr, static_cast<int>(m_columns.size())), cache);
    m_memory->set(std::move(rows));
}

QString PlaygroundPage::transcript() const {
    QString text = QStringLiteral("# %1\n\n").arg(context());
    if (m_mode->current() == 1 && !m_system->text().isEmpty())
        text += tr("System: %1").arg(m_system->text()) + "\n\n";
    text += tr("Prompt: %1").arg(m_prompt->toPlainText()) + "\n\n";
    text += (m_sampling->current() == 0 ? tr("Greedy")
                                        : tr("Temperature %1, top p %2, top k %3, seed %4")
                                              .arg(m_temperature->value())
                                              .arg(m_topP->value())
                                              .arg(m_topK->value())
                                              .arg(m_seed->text())) +
            "\n";
    for (const PlaygroundColumn* column : m_columns) {
        QStringList adapters;
        for (const WeightedAdapter& adapter : column->spec())
            adapters << QStringLiteral("%1 x %2").arg(adapter.weight).arg(adapter.path);
        text += QStringLiteral("\n## %1\n").arg(column->title());
        if (!adapters.isEmpty()) text += adapters.join("\n") + "\n";
        text += "\n" + const_cast<PlaygroundColumn*>(column)->text()->text() + "\n";
    }
    return text;
}

void PlaygroundPage::copyAll() {
    QApplication::clipboard()->setText(transcript());
    m_bench.say(tr("Prompt and %n column(s) copied", nullptr, static_cast<int>(m_columns.size())));
}

void PlaygroundPage::save() {
    const QString path = QFileDialog::getSaveFileName(this, tr("Save the texts"),
                                                      m_bench.workspace() + "/playground.md",
                                                      tr("Text (*.md *.txt)"));
    if (path.isEmpty()) return;
    QSaveFile file(path);
    const bool isWritten =
        file.open(QIODevice::WriteOnly) && file.write(transcript().toUtf8()) >= 0 && file.commit();
    if (isWritten)
        m_bench.say(tr("Saved to %1").arg(path));
    else
        m_banner->show("err", tr("%1 could not be written: %2.").arg(path, file.errorString()));
}

void PlaygroundPage::remember() {
    Settings::set("playground/prompt", m_prompt->toPlainText());
    Settings::set("playground/system", m_system->text());
    Settings::set("playground/chat", m_mode->current() == 1);
    if (m_modelPath.isEmpty() || m_columns.isEmpty()) return;
    QJsonObject all =
        QJsonDocument::fromJson(Settings::value("playground/columns").toByteArray()).object();
    all[m_modelPath] = toJson(specs());
    Settings::set("playground/columns", QJsonDocument(all).toJson(QJsonDocument::Compact));
}

bool PlaygroundPage::perform(PageCommand command) {
    if (command == PageCommand::Start && !m_request) {
        generate();
        return true;
    }
    if (command == PageCommand::Stop && m_request) {
        m_bench.heavy.cancel(m_request);
        return true;
    }
    return false;
}

}  // namespace luthier::ui
