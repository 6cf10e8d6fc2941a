"""Write tweets.jsonl beside this file: a document a line, with the fields that Twitter's streaming API used to send.

Neither the texts nor the users are real. Every run writes the same lines.
"""

import datetime
import json
import random
from pathlib import Path

TWEETS, RETWEETS = 260, 40
START = datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC)
FIRST_ID = 1_985_000_000_000_000_000  # more than 53 bits, as real ids have: a float would lose the last digits

TOPICS = {
    "docker": {
        "who": ["our build", "this container", "the base image", "a stray volume", "compose", "the registry"],
        "did": ["takes two seconds now", "ate the whole disk", "starts before its store does", "finally fits in 200 MB", "has no tag"],
        "mood": ["🐳", "🐳🚀", "📦", "🔥"],
    },
    "python": {
        "who": ["my notebook", "this loop", "a list comprehension", "the new parser", "one missing import", "numpy"],
        "did": ["broke at midnight", "runs ten times faster", "reads like a poem", "hides a bug since March", "needs no comment at all"],
        "mood": ["🐍", "🐍✨", "😅", "🤓"],
    },
    "coffee": {
        "who": ["the second cup", "this espresso", "the machine on floor three", "an oat flat white", "filter coffee", "the old grinder"],
        "did": ["saved the morning", "tastes of rain", "is louder than the servers", "went cold in the meeting", "deserves a prize"],
        "mood": ["☕", "☕❤️", "😴", "🎉"],
    },
    "weather": {
        "who": ["the fog", "this wind", "the first snow", "a short sunny hour", "the forecast", "the whole sky"],
        "did": ["hides the bridge", "took my umbrella", "was wrong again", "makes the city quiet", "turned orange at five"],
        "mood": ["🌫️", "❄️", "🌈", "☔"],
    },
}  # fmt: skip
OPENINGS = ["today", "no joke:", "it seems", "so", "update:", "once more", "again", "dear all,"]
ENDINGS = ["and I am fine with it", "and nobody noticed", "who else?", "what a week", "good night", "send help", "this is the way"]


def text(rng: random.Random) -> tuple[str, str]:
    """Return a topic and a sentence about it."""
    topic = rng.choice(list(TOPICS))
    words = TOPICS[topic]
    parts = [rng.choice(OPENINGS), rng.choice(words["who"]), rng.choice(words["did"]), rng.choice(ENDINGS), rng.choice(words["mood"])]
    return topic, " ".join([*parts, f"#{topic}"])


def tweets() -> list[dict[str, object]]:
    """Return all documents in the order of their time; retweets repeat an earlier text."""
    rng = random.Random(140)  # noqa: S311 - the same tweets every time are what is wanted
    users = [{"screen_name": f"reader_{number:02}", "followers_count": round(rng.lognormvariate(5, 1.5))} for number in range(40)]
    kinds = [False] * 60 + rng.sample([True] * RETWEETS + [False] * (TWEETS - 60), RETWEETS + TWEETS - 60)
    originals: list[dict[str, object]] = []
    result: list[dict[str, object]] = []
    seen: set[str] = set()
    for number, repeats in enumerate(kinds):
        user, moment = rng.choice(users), START + datetime.timedelta(minutes=11 * number + rng.randrange(11))
        document: dict[str, object] = {"id": FIRST_ID + number * 7_919, "created_at": moment.strftime("%a %b %d %H:%M:%S %z %Y")}
        document |= {"user": user, "lang": "en", "retweet_count": 0, "favorite_count": round(rng.lognormvariate(1, 1))}
        if repeats:
            original = rng.choice(originals)
            original["retweet_count"] = int(str(original["retweet_count"])) + 1
            author = original["user"]["screen_name"]  # type: ignore[index]
            document |= {"text": f"RT @{author}: {original['text']}", "entities": original["entities"], "retweeted_id": original["id"]}
        else:
            topic, words = text(rng)
            while words in seen:
                topic, words = text(rng)
            seen.add(words)
            document |= {"text": words, "entities": {"hashtags": [{"text": topic}]}}
            originals.append(document)
        result.append(document)
    return result


def main() -> None:
    """Write the file."""
    lines = (json.dumps(tweet, ensure_ascii=False) + "\n" for tweet in tweets())
    Path(__file__).with_name("tweets.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
