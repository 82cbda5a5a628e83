# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's texts, the same on every machine:

    python3 make_demo.py              poems.jsonl, questions.jsonl, reviews.jsonl, choices.jsonl (small, committed)
    python3 make_demo.py --stories    also stories.jsonl (about 5 MB, not committed: the pre-training text of story-2m)
    python3 make_demo.py --tokenizer  also story-2m/tokenizer.json (needs the `tokenizers` package)

Only the standard library is used for the texts. A story is drawn from a small grammar: someone, somewhere, wants something, meets
a difficulty, someone helps, it ends well. Poems retell such an opening in two rhymed couplets of four beats.
"""
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

GIRLS = "Lily Anna Mia Rose Clara Emma Nora Ruby Ella Ivy Zoe Lucy Alice Maya Ada".split()
BOYS = "Tom Ben Max Sam Leo Jack Finn Noah Oscar Hugo Tim Will Adam Luke Theo".split()
ANIMALS = ["cat", "dog", "fox", "bear", "frog", "mouse", "duck", "rabbit", "owl", "hen", "goat", "pig"]
ADJECTIVES = ["little", "happy", "kind", "brave", "shy", "clever", "quiet", "funny", "sleepy", "curious"]
PLACES = [("in the park", "the park"), ("by the sea", "the sea"), ("in the wood", "the wood"), ("on the hill", "the hill"),
          ("in the garden", "the garden"), ("near the river", "the river"), ("on the farm", "the farm"), ("at the lake", "the lake"),
          ("in the town", "the town"), ("by the old mill", "the old mill")]
WEATHER = ["The sun was warm.", "It was a cold day.", "The wind was soft.", "It was raining a little.", "The sky was blue.",
           "There was snow on the ground.", "The birds were singing.", "It was early in the morning."]
# thing, how it is lost, where it is found
TOYS = [("red ball", "rolled away", "under a bush"), ("kite", "flew away", "in a tall tree"), ("boat", "floated away", "behind a big stone"),
        ("hat", "blew away", "on a fence"), ("doll", "fell down", "in the long grass"), ("drum", "rolled down", "beside the path"),
        ("book", "was gone", "under a bench"), ("blue cup", "was gone", "behind the door"), ("toy car", "rolled away", "in a hole"),
        ("basket", "was gone", "under a tree"), ("bell", "fell down", "near the gate"), ("scarf", "blew away", "on a branch")]
FOODS = ["an apple", "a cake", "some bread", "a pear", "some soup", "a cookie", "some honey", "a plum", "some cheese", "a pie"]
FEELINGS = [("sad", "started to cry"), ("angry", "stamped one foot"), ("scared", "began to shake"), ("worried", "sat down"), ("upset", "looked around")]
MORALS = ["It is good to share.", "It is good to help.", "A friend is a great thing.", "It is good to be kind.", "It is fine to ask for help.",
          "Being brave feels good.", "Saying sorry is a good start.", "Two can do more than one."]


class Person:
    def __init__(self, r, other=None):
        self.is_animal = r.random() < 0.35
        while True:
            if self.is_animal:
                kind = r.choice(ANIMALS)
                self.short, self.intro = f"the {kind}", f"a {r.choice(ADJECTIVES)} {kind}"
                self.female = r.random() < 0.5
            else:
                self.female = r.random() < 0.5
                self.short = r.choice(GIRLS if self.female else BOYS)
                self.intro = f"a {r.choice(ADJECTIVES)} {'girl' if self.female else 'boy'} named {self.short}"
            if other is None or other.short != self.short:
                break
        self.he, self.him, self.his = ("she", "her", "her") if self.female else ("he", "him", "his")
        self.He = self.he.capitalize()
        self.Short = self.short[0].upper() + self.short[1:]


def opening(r, p, place, thing):
    day = r.choice(["One day", "One morning", "One evening", "On a sunny day", "After lunch"])
    start = r.choice(["Once upon a time there was", "Once there was", "There once was", "Long ago there was"])
    return r.choice([
        f"{start} {p.intro}. {p.He} had a {thing} and played with it every day.",
        f"{start} {p.intro} who lived {place}. {p.He} loved {p.his} {thing} very much.",
        f"{day}, {p.intro} went to play {place}. {p.He} took {p.his} {thing} along.",
        f"{day}, {p.short} was playing with a {thing} {place}.",
        f"{start} {p.intro}. {day}, {p.he} went out {place} with {p.his} {thing}.",
    ])


def lost_story(r, p, q, place, spot):
    thing, lost, found = r.choice(TOYS)
    feeling, act = r.choice(FEELINGS)
    parts = [opening(r, p, place, thing)]
    if r.random() < 0.7:
        parts.append(r.choice(WEATHER))
    parts.append(r.choice([f"But then the {thing} {lost}.", f"Suddenly the {thing} {lost}.", f"Then the {thing} {lost} and {p.short} could not find it."]))
    parts.append(r.choice([f"{p.Short} was very {feeling} and {act}.", f"{p.He} felt {feeling}. {p.He} {act}."]))
    parts.append(r.choice([f"{q.Short} saw {p.him} and came over.", f"Just then {p.he} met {q.intro}.", f"Then {q.short} came by."]))
    parts.append(r.choice([f'"What is wrong?" asked {q.short}.', f'"Why are you so {feeling}?" asked {q.short}.', f'"Can I help you?" said {q.short}.']))
    parts.append(r.choice([f'"I lost my {thing}," said {p.short}.', f'"My {thing} is gone," said {p.short}.', f'"I cannot find my {thing}," {p.he} said.']))
    parts.append(r.choice([f"They looked for it together.", f'"Let us look together," said {q.short}.', f'"Do not worry, we will find it," said {q.short}.']))
    parts.append(r.choice([f"Soon they found the {thing} {found}.", f"At last {q.short} found the {thing} {found}.", f"They looked and looked, and there it was, {found}."]))
    parts.append(r.choice([f'"Thank you!" said {p.short}.', f"{p.Short} was so happy and gave {q.short} a hug.", f"{p.Short} smiled and thanked {q.short}."]))
    parts.append(r.choice([f"They played with the {thing} until it was dark.", "From that day on they were friends.", f"Then they all went home. {r.choice(MORALS)}",
                           f"{r.choice(MORALS)}", f"Now {p.short} takes good care of the {thing}."]))
    return parts


def share_story(r, p, q, place, spot):
    food = r.choice(FOODS)
    plain = food.split(" ", 1)[1]
    parts = [r.choice([f"One day, {p.intro} went to {spot}. {p.He} had {food}.", f"Once there was {p.intro}. {p.He} had {food} for lunch.",
                       f"{p.Short} sat {place} with {food}."])]
    if r.random() < 0.6:
        parts.append(r.choice(WEATHER))
    parts.append(r.choice([f"Then {q.intro} came by.", f"{p.Short} saw {q.intro}.", f"{q.Short} came and sat down too."]))
    parts.append(r.choice([f'"I am so hungry," said {q.short}.', f'"That {plain} smells good," said {q.short}.', f'"I have nothing to eat," said {q.short}.']))
    parts.append(r.choice([f"{p.Short} thought for a moment. {p.He} was hungry too.", f"{p.Short} did not want to share at first.", f"{p.Short} looked at the {plain}."]))
    parts.append(r.choice([f'"You can have half," {p.he} said.', f'Then {p.he} said, "Let us share it."', f"Then {p.he} gave half of it to {q.short}."]))
    parts.append(r.choice([f"They ate the {plain} together and laughed.", f"It was the best {plain} they had ever had.", f"{q.Short} was very glad."]))
    parts.append(r.choice([r.choice(MORALS), f"The next day {q.short} brought {r.choice(FOODS)} for {p.short}.", f'"You are a good friend," said {q.short}.']))
    return parts


def fear_story(r, p, q, place, spot):
    sound, source = r.choice([("a loud noise", "only the wind"), ("a strange sound", "a small bird"), ("a big shadow", "only a tree"),
                              ("two bright eyes", "a friendly owl"), ("a soft knock", f"{q.short} at the door")])
    verb = "heard" if "n" in sound.split()[-1] and sound.split()[-1] in ("noise", "sound") or sound.endswith("knock") else "saw"
    parts = [r.choice([f"Once there was {p.intro} who lived {place}.", f"{p.Short} was {p.intro.split(' named ')[0]} and lived {place}."]),
             r.choice(["One night it was very dark.", "One night the moon was big.", "One evening it began to rain."]),
             f"{p.Short} {verb} {sound}.",
             r.choice([f"{p.He} was scared and hid under the bed.", f"{p.He} was afraid and called for {q.short}.", f"{p.He} wanted to run away."]),
             r.choice([f'"Who is there?" {p.he} called.', f'"Be brave," {p.he} said to {p.him}self.', f"{q.Short} held {p.his} hand."]),
             r.choice([f"Slowly {p.he} opened the door.", f"{p.He} took a lamp and went to look.", "They went to look together."]),
             f"It was {source}.",
             r.choice([f"{p.Short} laughed and went back to bed.", f"{p.Short} was not scared any more.", f"Now {p.he} could sleep well."]),
             r.choice(MORALS[4:6] + [f"In the morning {p.he} told {q.short} all about it."])]
    return parts


def make_story(r):
    p = Person(r)
    q = Person(r, p)
    place, spot = r.choice(PLACES)
    kind = r.choices([lost_story, share_story, fear_story], [5, 3, 2])[0]
    return kind(r, p, q, place, spot), p, q, place


# What happens by the way in a pre-training story. These sentences, and the songs below, hold the words that poems use; no line of
# a poem stands in them.
BY_THE_WAY = [
    "The rooster cried and {p} woke up.", "There was dew on the grass, soft and cold.", "{P} walked down the lane behind the garden wall.",
    "A bird sang a little tune.", "The moon came up and the stars began to shine.", "{P} saw the moon rise over the sea.",
    "The stars had a soft glow.", "{P} drank some tea and ate some bread.", "{P} counted to ten and closed {his} eyes.",
    "At night {p} dreamed of gold.", "The path through the deep woods was long.", "{P} fell fast asleep in a warm bed.",
    "They walked home slowly in the evening light.", "{P} whispered something to {q}.", "{Q} laughed, and {p} laughed too.",
    "{P} danced in the rain and sang a happy song.", "{P} waved good night to {q}.", "The wind was wild that day.",
    "{Q} held up a light so that {p} could see.", "In summer they played outside all day long.", "When fall came, the days were cold.",
    "{P} went out to greet {q}.", "The sleepy sun went down behind the hill.", "{P} listened, and from far and near {he} could hear the birds.",
    "It was the best day of all.", "Nothing is worth more than a friend.", "They were glad and free.", "Beneath the tree the grass was green.",
    "\"We will play again tomorrow,\" said {q}.", "The day was done, and everybody slept.", "The sky was blue and the morning was new.",
    "{P} loved the evening more than the morning.", "\"Do not fear,\" whispered {q}.", "The light slipped away and the night came.",
    "{P} ran over the hill and down to the lane.", "They took a walk and shared what they had.", "The tune was soft and slow.",
    "{P} went walking into the wood.", "{P} watched the birds till it was evening.", "\"If you listen, you can hear a laugh,\" said {q}.",
    "\"Close your eyes and count with me,\" said {q}.", "\"Do you want some tea or some bread?\" asked {q}.",
]
SONGS = [
    ("The rooster cried, the night was done,", "And up and up there came the sun."), ("The moon is new, the night is long,", "The stars all sing a quiet song."),
    ("Beneath the wall the grass is tall,", "And in it plays a mouse so small."), ("The rain came down, the wind was cold,", "The leaves that fall are red and gold."),
    ("So walk with me along the lane,", "And we will greet the sun again."), ("A boat went out upon the sea,", "And home it came in time for tea."),
    ("I close my eyes, I count to ten,", "And when I wake it is day then."), ("The woods are deep, the path is slow,", "But all the little lamps will glow."),
    ("And if you whisper, I will hear,", "For you are far, but you are near."), ("The birds fly high, the birds fly free,", "They build their home up in the tree."),
    ("The dew is bright, the sky is wide,", "Come out with me and play outside."), ("The light is low, the day is past,", "And all the world will sleep at last."),
    ("Good night, good night, the moon will rise,", "It is the time to close your eyes."), ("We danced, we laughed, we ran to play,", "And that is how we spent the day."),
    ("A tune, a tune, a tune for you,", "And for the fox a tune or two."), ("I dreamed of bread, I dreamed of cake,", "I dreamed of fishes in the lake."),
    ("The fire is warm, the bed is soft,", "The owl looks down out of the loft."), ("My hat is red, my scarf is blue,", "I made them both to give to you."),
]


def make_song(r):
    p = Person(r)
    lines = [line for couplet in r.sample(SONGS, 2) for line in couplet]
    return f"A song for {p.short}:\n" + "\n".join(lines)


# Couplets of four beats; {N} the hero, {he} {his} pronouns, {T} the thing. The first and second, third and fourth lines rhyme.
FIRST = [
    ("{N} went out to greet the day,", "And took the {T} along to play."),
    ("The sun came up, the sky was blue,", "{N} and the {T} went walking too."),
    ("{N} ran down to the garden wall,", "With the {T}, the best of all."),
    ("When morning light was soft and new,", "{N} took the {T} through the dew."),
    ("{N} had a {T}, bright and small,", "And loved it more than summer or fall."),
    ("Over the hill and down the lane,", "{N} took the {T} through the rain."),
    ("A little song, a little tune,", "{N} and the {T} beneath the moon."),
    ("{N} woke up when the rooster cried,", "And took the {T} to play outside."),
    ("The birds were singing in the tree,", "{N} and the {T} were glad and free."),
    ("The grass was green, the day was long,", "{N} took the {T} and sang a song."),
]
SECOND = [
    ("It rolled away, but who was near?", "A friend who whispered, do not fear."),
    ("It slipped away into the night,", "A friend came by and held the light."),
    ("And when the stars began to glow,", "They walked back home so soft and slow."),
    ("They laughed and danced till day was done,", "And waved good night to the sleepy sun."),
    ("And if you listen, you will hear", "A happy laugh from far and near."),
    ("The wind was wild, the wind was cold,", "But friends are worth much more than gold."),
    ("They shared some bread, they shared some tea,", "And watched the moon rise out of the sea."),
    ("So close your eyes and count to ten,", "Tomorrow we will play again."),
    ("The path was long, the woods were deep,", "At last they all fell fast asleep."),
    ("And in the evening, warm in bed,", "{He} dreamed of all that friends had said."),
]


def make_poem(r):
    p = Person(r)
    place, _ = r.choice(PLACES)
    thing = r.choice(TOYS)[0]
    prompt = opening(r, p, place, thing)
    fill = {"N": p.Short, "T": thing, "He": p.He, "he": p.he, "his": p.his}
    lines = [line.format(**fill) for line in r.choice(FIRST) + r.choice(SECOND)]
    # A hero in the middle of a line keeps its small letter.
    lines = [line[0].upper() + line[1:].replace("The " + p.short[4:] if p.is_animal else "\0", p.short) for line in lines]
    return {"prompt": prompt, "completion": "\n" + "\n".join(lines)}


def make_question(r):
    parts, p, q, place = make_story(r)
    while not any("ound" in s for s in parts):
        parts, p, q, place = make_story(r)
    short = " ".join(parts[:1] + [s for s in parts[1:] if "ound" in s or "gone" in s or "lost" in s][:2])
    whole = " ".join(parts)
    thing = next((t for t, _, _ in TOYS if f"the {t}" in whole or f"{p.his} {t}" in whole), None)
    choices = []
    if thing:
        choices.append((f"What did {p.short} lose?", f"{p.Short} lost the {thing}."))
        choices.append((f"Who is the story about?", f"The story is about {p.short}."))
    choices.append((f"Who helped {p.short}?", f"{q.Short} helped {p.short}."))
    question, answer = r.choice(choices)
    text = short if q.short in short else short + f" {q.Short} helped."
    return {"question": text + " " + question, "answer": answer}


def make_choice(r):
    """A question of make_question's kind with four answers of one kind, so that only the story tells the right one."""
    row = make_question(r)
    while not row["question"].split(". ")[-1].startswith(("What did", "Who helped")):
        row = make_question(r)
    words = row["answer"].rstrip(".").split(" ")
    if "lost" in words:
        right = " ".join(words[words.index("the", 1) + 1:])
        others = [thing for thing, _, _ in TOYS if thing != right]
        before, behind = " ".join(words[:words.index("the", 1) + 1]) + " ", "."
    else:
        at = words.index("helped")
        right, before, behind = " ".join(words[:at]), "", " " + " ".join(words[at:]) + "."
        others = [name for name in GIRLS + BOYS + ["The " + animal for animal in ANIMALS] if name != right and name.lower() != " ".join(words[at + 1:]).lower()]
    answers = r.sample(others, 3)
    place = r.randrange(4)
    answers.insert(place, right)
    return {"question": row["question"], "choices": [before + answer + behind for answer in answers], "answer": place}


GOOD = ["I loved this {k}.", "What a lovely {k}!", "This {k} made me smile.", "The best {k} I have read this year.", "A warm and funny {k}.",
        "My children want to hear it again.", "The ending was perfect.", "Every page is a joy."]
BAD = ["I did not like this {k}.", "What a dull {k}.", "This {k} made me sleepy.", "The worst {k} I have read this year.", "A cold and slow {k}.",
       "My children walked away.", "The ending made no sense.", "Every page is a bore."]
FILLER = ["It is about {p}.", "{N} is in it.", "We read it {place}.", "It has many pictures.", "It was a gift.", "I read it twice."]


def make_review(r):
    p = Person(r)
    label = r.randrange(2)
    fill = {"k": r.choice(["book", "story", "tale"]), "p": p.intro, "N": p.Short, "place": r.choice(PLACES)[0]}
    pool = GOOD if label else BAD
    lines = r.sample(pool, 2) + [r.choice(FILLER)]
    r.shuffle(lines)
    return {"text": " ".join(line.format(**fill) for line in lines), "label": ["negative", "positive"][label]}


def write_rows(name, make, count, seed):
    r = random.Random(seed)
    rows, seen = [], set()
    while len(rows) < count:
        row = make(r)
        key = json.dumps(row)
        if key not in seen:
            seen.add(key)
            rows.append(row)
    with open(HERE / name, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{name}: {count} rows")


def story_row(r):
    if r.random() < 0.08:
        return {"text": make_song(r)}
    parts, p, q, _ = make_story(r)
    names = {"p": p.short, "P": p.Short, "q": q.short, "Q": q.Short, "he": p.he, "his": p.his}
    for sentence in r.sample(BY_THE_WAY, r.choice([1, 2, 2, 3])):
        parts.insert(r.randrange(1, len(parts) + 1), sentence.format(**names))
    return {"text": " ".join(parts)}


def make_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    texts = [json.loads(line)["text"] for line in open(HERE / "stories.jsonl", encoding="utf-8")]
    for name in ("poems.jsonl", "questions.jsonl", "reviews.jsonl"):
        for line in open(HERE / name, encoding="utf-8"):
            texts.append("\n".join(str(value) for value in json.loads(line).values()))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2048, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    (HERE / "story-2m").mkdir(exist_ok=True)
    tokenizer.save(str(HERE / "story-2m" / "tokenizer.json"))
    print("tokens:", tokenizer.get_vocab_size())


if __name__ == "__main__":
    write_rows("poems.jsonl", make_poem, 480, 1)
    write_rows("questions.jsonl", make_question, 400, 2)
    write_rows("reviews.jsonl", make_review, 400, 3)
    write_rows("choices.jsonl", make_choice, 240, 5)
    if "--stories" in sys.argv or "--tokenizer" in sys.argv:
        write_rows("stories.jsonl", story_row, 11000, 4)
    if "--tokenizer" in sys.argv:
        make_tokenizer()
