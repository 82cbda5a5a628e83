#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes "Luthier Sans" and "Luthier Mono" from Inter and JetBrains Mono (both OFL 1.1).

QFont can switch OpenType features only from Qt 6.7 on, so they are applied here: digits become their tabular glyphs,
contextual alternates go, and the mono loses its code ligatures. Subset to Latin, Greek and the symbols the window uses.
Run:  build.py Inter-roman.var.ttf FOLDER_OF_JETBRAINS_MONO_TTF   (needs fontTools)
"""
import sys
from pathlib import Path
from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

OUT = Path(__file__).parent
KEEP = ("U+0020-007E,U+00A0-017F,U+0192,U+0218-021B,U+02C6-02DD,U+0391-03C9,U+1E80-1E85,U+2000-206F,U+2070-209C,"
        "U+20AC,U+2113,U+2116,U+2122,U+2150-215F,U+2190-21BB,U+21E7,U+21B5,U+21E5,U+2202,U+2206,U+220F-221E,U+2248,"
        "U+2260-2265,U+2303,U+2318,U+2325,U+232B,U+23CE,U+25A0-25FF,U+2713,U+2717,U+221A,U+222B,U+2581-2588,U+2591-2593")


def tabular(font):
    """Points the digits (and a few signs) of cmap at their tnum glyphs."""
    gsub = font["GSUB"].table
    swap = {}
    for record in gsub.FeatureList.FeatureRecord:
        if record.FeatureTag == "tnum":
            for index in record.Feature.LookupListIndex:
                for sub in gsub.LookupList.Lookup[index].SubTable:
                    sub = getattr(sub, "ExtSubTable", sub)
                    swap.update(getattr(sub, "mapping", {}))
    for table in font["cmap"].tables:
        for code in range(ord("0"), ord("9") + 1):
            name = table.cmap.get(code)
            if name in swap:
                table.cmap[code] = swap[name]


def silence(font, tags):
    for record in font["GSUB"].table.FeatureList.FeatureRecord:
        if record.FeatureTag in tags:
            record.Feature.LookupListIndex = []
            record.Feature.LookupCount = 0


def rename(font, family, style, weight):
    name = font["name"]
    for record in list(name.names):
        if record.nameID in (1, 2, 3, 4, 6, 16, 17, 21, 22, 25):
            name.removeNames(nameID=record.nameID)
    for ident, text in ((1, family if style in ("Regular", "Bold") else f"{family} {style}"), (2, "Regular"), (3, f"{family} {style}"),
                        (4, f"{family} {style}"), (6, f"{family}-{style}".replace(" ", "")), (16, family), (17, style)):
        name.setName(text, ident, 3, 1, 0x409)
    font["OS/2"].usWeightClass = weight


def finish(font, path):
    options = subset.Options(hinting=False, layout_features=["kern", "mark", "mkmk", "ccmp", "locl"], name_IDs=["*"], notdef_outline=True)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=subset.parse_unicodes(KEEP.replace("U+", "")))
    cutter.subset(font)
    font.save(path)
    print(path.name, path.stat().st_size)


def main():
    inter, mono = Path(sys.argv[1]), Path(sys.argv[2])
    for style, weight in (("Regular", 400), ("Medium", 500), ("SemiBold", 600)):
        font = TTFont(inter)
        axes = {axis.axisTag: axis.defaultValue for axis in font["fvar"].axes}
        axes["wght"] = weight
        font = instancer.instantiateVariableFont(font, axes)
        tabular(font)
        silence(font, ("calt",))
        rename(font, "Luthier Sans", style, weight)
        finish(font, OUT / f"LuthierSans-{style}.ttf")
    for style, weight in (("Regular", 400), ("Medium", 500)):
        font = TTFont(mono / f"JetBrainsMono-{style}.ttf")
        silence(font, ("calt", "liga"))
        rename(font, "Luthier Mono", style, weight)
        finish(font, OUT / f"LuthierMono-{style}.ttf")


main()
