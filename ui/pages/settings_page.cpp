// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/settings_page.h"

#include "client/cli_locator.h"
#include "settings/settings.h"
#include "settings/undo.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/fact_rows.h"
#include "widgets/theme_card.h"

#include <QApplication>
#include <QButtonGroup>
#include <QClipboard>
#include <QFileDialog>
#include <QListWidget>
#include <QScrollArea>
#include <QSlider>
#include <QStackedWidget>
#include <QSysInfo>

namespace luthier::ui {

namespace {

const char* const kThemes[] = {"dark", "light", "contrast", "system"};
constexpr int kDensities[] = {28, 32, 40};

struct Shortcut {
    QString what;
    QStringList keys;
};

/// What the keys of main_window.cpp, the tables and the plots do.
std::vector<Shortcut> shortcuts() {
    const auto tr = [](const char* text) { return SettingsPage::tr(text); };
    return {{tr("Go to page 1 to 8"), {"Alt 1 … 8"}},
            {tr("Settings"), {"Ctrl ,"}},
            {tr("Search or run a command"), {"Ctrl K"}},
            {tr("Open the demo"), {"Ctrl D"}},
            {tr("Open a workspace"), {"Ctrl O"}},
            {tr("New run"), {"Ctrl N"}},
            {tr("Start run, generate, export"), {"Ctrl ⏎"}},
            {tr("Add to queue"), {"Ctrl ⇧ ⏎"}},
            {tr("Pause or resume"), {"Ctrl P"}},
            {tr("Checkpoint now"), {"Ctrl S"}},
            {tr("Stop, with a checkpoint"), {"Ctrl ."}},
            {tr("Export the focused plot"), {"Ctrl E"}},
            {tr("Undo, redo"), {"Ctrl Z", "Ctrl ⇧ Z"}},
            {tr("Larger, smaller text"), {"Ctrl +", "Ctrl −"}},
            {tr("Hide or show run"), {"Space"}},
            {tr("Solo run"), {"S"}},
            {tr("Pin as baseline"), {"B"}},
            {tr("Rename run"), {"F2"}},
            {tr("Next or previous token"), {"← →"}}};
}

QWidget* keyRows() {
    auto* box = new QWidget;
    auto* column = makeColumn(0);
    for (const Shortcut& each : shortcuts()) {
        auto* row = makeRow(6);
        row->setContentsMargins(0, px(5), 0, px(5));
        auto* what = new ElidedLabel(each.what, "body", "t2");
        row->addWidget(what, 1);
        for (const QString& key : each.keys) row->addWidget(new KeyCap(key));
        column->addLayout(row);
    }
    column->addStretch(1);
    box->setLayout(column);
    return box;
}

/// A page of settings: message, rows, at most `width` wide.
QWidget* framed(QVBoxLayout* column, int width) {
    auto* inner = new QWidget;
    inner->setLayout(column);
    inner->setMaximumWidth(px(width));
    auto* outer = new QWidget;
    auto* row = makeRow(0);
    row->setContentsMargins(32, 20, 32, 24);
    row->addWidget(inner, 1000);
    row->addStretch(1);
    outer->setLayout(row);
    return makeScroll(outer);
}

}  // namespace

SettingsPage::SettingsPage(Workbench& bench) : Page(bench) {
    auto* row = makeRow(0);
    auto* left = new QWidget;
    left->setFixedWidth(px(208));
    auto* leftColumn = makeColumn(0);
    leftColumn->setContentsMargins(8, 12, 8, 12);
    m_categories = new QListWidget;
    m_categories->setAccessibleName(tr("Categories"));
    m_categories->setProperty("nav", "true");
    m_categories->setIconSize({16, 16});
    const struct {
        const char* icon;
        QString name;
    } categories[] = {{"eye", tr("Appearance")},
                      {"folder", tr("Folders")},
                      {"terminal", tr("Keyboard")},
                      {"star", tr("About")}};
    for (const auto& each : categories) {
        auto* item = new QListWidgetItem(themedIcon(each.icon), "  " + each.name);
        item->setSizeHint({0, px(32)});
        m_categories->addItem(item);
    }
    leftColumn->addWidget(m_categories);
    left->setLayout(leftColumn);
    m_pages = new QStackedWidget;
    m_pages->addWidget(buildAppearance());
    m_pages->addWidget(buildFolders());
    m_pages->addWidget(buildKeyboard());
    m_pages->addWidget(buildAbout());
    m_shortcuts = buildShortcutPane();
    row->addWidget(left);
    row->addWidget(makeRule(Qt::Vertical));
    row->addWidget(m_pages, 1);
    row->addWidget(m_shortcuts);
    setLayout(row);
    connect(m_categories, &QListWidget::currentRowChanged, this, [this](int index) {
        m_pages->setCurrentIndex(index);
        m_shortcuts->setVisible(index != 2 && width() >= px(1120));
    });
    m_categories->setCurrentRow(0);
    connect(&bench, &Workbench::workspaceChanged, this, &SettingsPage::showValues);
    connect(&Theme::instance(), &Theme::changed, this,
            &SettingsPage::showValues);  // Ctrl+plus, or undo
    showValues();
}

void SettingsPage::resizeEvent(QResizeEvent* event) {
    Page::resizeEvent(event);
    m_shortcuts->setVisible(m_categories->currentRow() != 2 && width() >= px(1120));
    // Too narrow for two columns: the control goes under its name.
    const bool isNarrow =
        width() - px(208) - (m_shortcuts->isVisibleTo(this) ? px(320) : 0) < px(640);
    for (QBoxLayout* row : m_rows) {
        row->setDirection(isNarrow ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
        row->setSpacing(isNarrow ? 8 : 24);
        row->setAlignment(row->itemAt(0)->widget(), isNarrow ? Qt::Alignment() : Qt::AlignVCenter);
    }
}

void SettingsPage::addRow(QVBoxLayout* into, const QString& name, const QString& help,
                          QWidget* control) {
    auto* row = makeRow(24);
    row->setContentsMargins(0, 14, 0, 14);
    auto* words = makeColumn(2);
    words->addWidget(makeLabel(name, "name"));
    auto* body = makeLabel(help, "table", "t2");
    body->setWordWrap(true);
    words->addWidget(body);
    auto* box = new QWidget;
    box->setLayout(words);
    box->setFixedWidth(px(250));
    m_rows << row;
    row->addWidget(box, 0, Qt::AlignVCenter);
    const bool isFixed = control->sizePolicy().horizontalPolicy() == QSizePolicy::Fixed;
    row->addWidget(control, isFixed ? 0 : 1, Qt::AlignVCenter);
    if (isFixed) row->addStretch(1);
    into->addLayout(row);
    into->addWidget(makeRule());
}

void SettingsPage::change(const QString& key, const QVariant& value, const QVariant& fallback,
                          const QString& what) {
    const QVariant before = Settings::value(key, fallback);
    if (before.toString() == value.toString()) return;
    const auto apply = [this, key](const QVariant& chosen) {
        Settings::set(key, chosen);
        if (key.startsWith("appearance/")) Settings::applyAppearance();
        showValues();
    };
    apply(value);
    recordStep(
        m_bench.undo, what, [apply, value] { apply(value); }, [apply, before] { apply(before); });
}

QWidget* SettingsPage::buildAppearance() {
    auto* column = makeColumn(0);
    column->addWidget(makeLabel(tr("Appearance"), "message"));
    column->addSpacing(16);
    auto* cards = makeRow(16);
    m_themes = new QButtonGroup(this);
    const QString names[] = {tr("Dark"), tr("Light"), tr("High contrast"), tr("Follow the system")};
    const ThemeChoice choices[] = {ThemeChoice::Dark, ThemeChoice::Light, ThemeChoice::HighContrast,
                                   ThemeChoice::System};
    for (int i = 0; i < 4; ++i) {
        auto* card = new ThemeCard(choices[i], names[i]);
        m_themes->addButton(card, i);
        card->setMaximumWidth(px(164));
        cards->addWidget(card, 100);
    }
    cards->addStretch(1);
    connect(m_themes, &QButtonGroup::idClicked, this, [this](int id) {
        change("appearance/theme", QLatin1String(kThemes[id]), "dark", tr("theme"));
    });
    column->addLayout(cards);
    column->addSpacing(12);
    column->addWidget(makeRule());

    auto* size = new QWidget;
    auto* sizeRow = makeRow(12);
    m_size = new QSlider(Qt::Horizontal);
    m_size->setRange(80, 150);
    m_size->setSingleStep(5);
    m_size->setPageStep(10);
    m_size->setTracking(false);
    m_size->setAccessibleName(tr("Text size"));
    m_size->setMinimumWidth(px(120));
    m_size->setMaximumWidth(px(220));
    m_sizeField = new UnitField("%");
    m_sizeField->setFixedWidth(px(72));
    m_sizeField->setAccessibleName(tr("Text size in percent"));
    sizeRow->addWidget(makeLabel("80", "table", "t2"));
    sizeRow->addWidget(m_size, 1);
    sizeRow->addWidget(makeLabel("150", "table", "t2"));
    sizeRow->addWidget(m_sizeField);
    sizeRow->addStretch(1);
    size->setLayout(sizeRow);
    addRow(column, tr("Text size"), tr("Scales text, rows and plots. Ctrl + and Ctrl −"), size);
    connect(m_size, &QSlider::valueChanged, this,
            [this](int value) { change("appearance/textSize", value, 100, tr("text size")); });
    connect(m_sizeField, &QLineEdit::editingFinished, this, [this] {
        bool ok = false;
        const int value = m_sizeField->text().toInt(&ok);
        if (ok) change("appearance/textSize", qBound(80, value, 150), 100, tr("text size"));
        showValues();
    });

    m_density = new SegmentedControl({tr("Compact 28"), tr("Normal 32"), tr("Relaxed 40")}, 28);
    m_density->setAccessibleName(tr("Row height"));
    addRow(column, tr("Density"), tr("Row height in tables and lists"), m_density);
    connect(m_density, &SegmentedControl::changed, this, [this](int index) {
        change("appearance/density", kDensities[index], 32, tr("density"));
    });

    addRow(column, tr("Run colours"),
           tr("Ten colours, then dashes, in order of creation; told apart under every form of "
              "colour blindness."),
           new PaletteRows);

    m_peftNames = new Toggle(tr("Show names from PEFT"));
    addRow(column, tr("Show names from PEFT"), tr("Shows lora_alpha beside Alpha everywhere"),
           m_peftNames);
    connect(m_peftNames, &QAbstractButton::clicked, this, [this] {
        change("appearance/peftNames", m_peftNames->isChecked(), true, tr("names from PEFT"));
    });
    column->addStretch(1);
    return framed(column, 760);
}

QWidget* SettingsPage::buildFolders() {
    auto* column = makeColumn(0);
    column->addWidget(makeLabel(tr("Folders"), "message"));
    column->addSpacing(8);
    const auto chooser = [this](ElidedLabel*& label, const QString& name,
                                std::function<void()> choose) {
        auto* box = new QWidget;
        auto* row = makeRow(12);
        label = new ElidedLabel({}, "mono");
        auto* button = makeButton(tr("Change…"), "plain", 28, "folder");
        button->setAccessibleName(tr("Change %1").arg(name));
        connect(button, &QPushButton::clicked, this, choose);
        row->addWidget(label, 1);
        row->addWidget(button);
        box->setLayout(row);
        return box;
    };
    addRow(column, tr("Workspace"), tr("Runs, adapters, queue and exports lie here"),
           chooser(m_workspace, tr("workspace"), [this] {
               const QString before = m_bench.workspace();
               const QString folder =
                   QFileDialog::getExistingDirectory(this, tr("Open workspace"), before);
               if (folder.isEmpty() || folder == before) return;
               const auto apply = [this](const QString& path) {
                   Settings::set("window/workspace", path);
                   m_bench.setWorkspace(path);
                   m_bench.catalogue.refreshModels();
               };
               apply(folder);
               recordStep(
                   m_bench.undo, tr("workspace"), [apply, folder] { apply(folder); },
                   [apply, before] { apply(before); });
           }));
    addRow(column, tr("Exports"), tr("Where the Export page writes"),
           chooser(m_exports, tr("exports folder"), [this] {
               const QString folder = QFileDialog::getExistingDirectory(
                   this, tr("Folder to export to"), m_exports->toolTip());
               if (!folder.isEmpty())
                   change("export/folder", folder, QString(), tr("exports folder"));
           }));
    auto* head = makeRow(8);
    head->setContentsMargins(0, 16, 0, 6);
    auto* add = makeButton(tr("Add folder…"), "plain", 28, "plus");
    head->addWidget(makeLabel(tr("Searched for models and data"), "name"));
    head->addStretch(1);
    head->addWidget(add);
    column->addLayout(head);
    auto* note = makeLabel(tr("The workspace, the demo and the Hugging Face cache are always "
                              "searched. Nothing is ever copied or moved."),
                           "table", "t2");
    note->setWordWrap(true);
    column->addWidget(note);
    column->addSpacing(8);
    column->addWidget(makeRule());
    m_folders = makeColumn(0);
    column->addLayout(m_folders);
    column->addStretch(1);
    connect(add, &QPushButton::clicked, this, [this] {
        const QString folder =
            QFileDialog::getExistingDirectory(this, tr("Folder with models or data"));
        const QStringList before = Settings::value("library/folders").toStringList();
        if (folder.isEmpty() || before.contains(folder)) return;
        const QStringList after = before + QStringList{folder};
        setFolders(after);
        recordStep(
            m_bench.undo, tr("add a folder"), [this, after] { setFolders(after); },
            [this, before] { setFolders(before); });
    });
    return framed(column, 760);
}

void SettingsPage::setFolders(const QStringList& folders) {
    Settings::set("library/folders", folders);
    m_bench.refreshFolders();
    m_bench.catalogue.refreshModels();
    fillFolders();
}

void SettingsPage::fillFolders() {
    while (QLayoutItem* item = m_folders->takeAt(0)) {
        delete item->widget();
        delete item;
    }
    const QStringList folders = Settings::value("library/folders").toStringList();
    for (const QString& folder : folders) {
        auto* box = new QWidget;
        auto* outer = makeColumn(0);
        auto* row = makeRow(12);
        row->setContentsMargins(0, 8, 0, 8);
        auto* path = new ElidedLabel(folder, "mono");
        auto* remove = makeButton(tr("Remove"), "ghost", 24);
        remove->setAccessibleName(tr("Remove %1").arg(folder));
        connect(remove, &QPushButton::clicked, this, [this, folder] {
            const QStringList before = Settings::value("library/folders").toStringList();
            QStringList after = before;
            after.removeAll(folder);
            recordStep(
                m_bench.undo, tr("remove a folder"), [this, after] { setFolders(after); },
                [this, before] { setFolders(before); });
            m_bench.say(tr("Folder taken off the list; its files are untouched"), tr("Undo"),
                        [this] { m_bench.undo.undo(); });
            QMetaObject::invokeMethod(
                this, [this, after] { setFolders(after); },
                Qt::QueuedConnection);  // the button lives in the list
        });
        row->addWidget(path, 1);
        row->addWidget(remove);
        outer->addLayout(row);
        outer->addWidget(makeRule());
        box->setLayout(outer);
        m_folders->addWidget(box);
    }
    if (folders.isEmpty()) {
        auto* none = makeLabel(
            tr("No other folder yet. Dropping one on the Library page adds it too."), "body", "t2");
        none->setContentsMargins(0, 12, 0, 12);
        m_folders->addWidget(none);
    }
}

QWidget* SettingsPage::buildKeyboard() {
    auto* column = makeColumn(0);
    column->addWidget(makeLabel(tr("Keyboard"), "message"));
    column->addSpacing(12);
    column->addWidget(keyRows());
    column->addStretch(1);
    return framed(column, 560);
}

QWidget* SettingsPage::buildAbout() {
    auto* column = makeColumn(0);
    column->addWidget(makeLabel(tr("About"), "message"));
    column->addSpacing(16);
    auto* facts = new FactRows(FactRows::Values::Beside, 24);
    const QString engine = cliPath();
    facts->set({{tr("Luthier"), QApplication::applicationVersion(), {}, {}, false, {}},
                {tr("Window"), tr("GPL-3.0-or-later"), {}, {}, false, {}},
                {tr("Engine and luthier-cli"), "Apache-2.0", {}, {}, false, {}},
                {tr("Engine program"),
                 engine.isEmpty() ? tr("not found") : engine,
                 {},
                 engine.isEmpty() ? Theme::tokens().err : QColor(),
                 false,
                 {}},
                {tr("Qt"), qVersion(), {}, {}, false, {}},
                {tr("System"),
                 QSysInfo::prettyProductName() + ", " + QSysInfo::currentCpuArchitecture(),
                 {},
                 {},
                 false,
                 {}},
                {tr("Settings file"), Settings::store().fileName(), {}, {}, false, {}}});
    column->addWidget(facts);
    column->addSpacing(12);
    auto* copy = makeButton(tr("Copy diagnostics"), "plain", 28, "copy");
    column->addWidget(copy, 0, Qt::AlignLeft);
    column->addSpacing(16);
    auto* words = makeLabel(tr("Nothing leaves this computer: Luthier makes no network connection. "
                               "Fonts are Inter and JetBrains Mono under the Open Font Licence."),
                            "body", "t2");
    words->setWordWrap(true);
    column->addWidget(words);
    column->addStretch(1);
    connect(copy, &QPushButton::clicked, this, [this, facts] {
        const SystemReading& r = m_bench.probe.reading();
        QStringList lines = facts->toolTip().split('\n');
        lines << QStringLiteral("CPU  %1, %2").arg(r.cpuName).arg(r.cores);
        for (const GpuReading& gpu : r.gpus)
            lines << QStringLiteral("GPU  %1, driver %2").arg(gpu.name, gpu.driver);
        if (!m_bench.quick.lastWords().isEmpty()) lines << "engine:" << m_bench.quick.lastWords();
        QApplication::clipboard()->setText(lines.join('\n'));
        m_bench.say(tr("Diagnostics copied"));
    });
    return framed(column, 720);
}

QWidget* SettingsPage::buildShortcutPane() {
    auto* box = new QWidget;
    box->setFixedWidth(px(320));
    auto* row = makeRow(0);
    row->addWidget(makeRule(Qt::Vertical));
    auto* column = makeColumn(0);
    column->addWidget(new PaneHeader(tr("Keyboard")));
    column->addWidget(makeRule());
    auto* rows = keyRows();
    rows->setContentsMargins(16, 10, 16, 10);
    column->addWidget(makeScroll(rows), 1);
    row->addLayout(column, 1);
    box->setLayout(row);
    return box;
}

void SettingsPage::showValues() {
    const QString theme = Settings::value("appearance/theme", "dark").toString();
    for (int i = 0; i < 4; ++i)
        if (theme == QLatin1String(kThemes[i])) m_themes->button(i)->setChecked(true);
    const int size = Settings::value("appearance/textSize", 100).toInt();
    {
        const QSignalBlocker block(m_size);
        m_size->setValue(size);
    }
    m_sizeField->setText(QString::number(size));
    const int density = Settings::value("appearance/density", 32).toInt();
    for (int i = 0; i < 3; ++i)
        if (kDensities[i] == density) m_density->setCurrent(i);
    m_peftNames->setChecked(Settings::value("appearance/peftNames", true).toBool());
    m_workspace->setWhole(m_bench.workspace());
    const QString exports = Settings::value("export/folder").toString();
    m_exports->setWhole(exports.isEmpty() ? m_bench.workspace() + "/exports" : exports);
    fillFolders();
}

}  // namespace luthier::ui
