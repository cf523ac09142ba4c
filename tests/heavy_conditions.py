"""A generator of conditions that take long, grow large, nest deeply or are more than a condition."""

from __future__ import annotations

from random import Random

# Functions of a text whose result is longer than the text, or as long.
_GROWING = (
    "hex({0})", "to_base64(encode({0}))", "url_encode({0})", "replace({0}, 'a', caption)", "concat({0}, {0})",
    "({0} || {0} || {0})", "regexp_replace({0}, '.', '\\0\\0\\0', 'g')", "{0}::BLOB::VARCHAR", "{0}::BIT::VARCHAR",
    "list_aggregate([x || caption FOR x IN string_split({0}, 'a')], 'string_agg', ',')",
    "concat_ws({0}, key, {0}, caption)",
    "to_json({0})::VARCHAR", "[{0}, {0}]::VARCHAR",
    "list_aggregate(regexp_extract_all({0}, '.'), 'string_agg', ', and then ')",
    "reverse({0})", "sha256({0})", "strip_accents({0})", "nfc_normalize({0})", "translate({0}, 'ab', 'ba')",
    "upper(lower({0}))", "list_reduce(string_split({0}, ''), lambda x, y: x || y || x)", "bin({0})", "md5({0})",
)  # fmt: skip
_COMPARING = (
    "levenshtein({0}, {1})", "damerau_levenshtein({0}, {1})", "jaro_winkler_similarity({0}, {1})",
    "jaccard({0}, {1})", "jaro_similarity({0}, {1})", "instr({0}, {1})", "length(replace({0}, {1}, {0}))",
    "len(string_split({0}, {1}))", "len(list_intersect(string_split({0}, ''), string_split({1}, '')))",
)  # fmt: skip
_PATTERNS = (
    "(a+)+$", "(a|aa)+b$", "(.*a){20}", "((a{1,30}){1,30}){1,1}b", "(a?){60}a{60}", "[ab]*a[ab]{200}", "(?:a|b|ab)*c",
    "(x+x+)+y", "\\pL{500}$", "(.{1,99}){1,9}$", "a{1000}", "(((((a*)*)*)*)*)*b", "(?i)" + "ä" * 300,
)  # fmt: skip
_MATCHING = (
    "regexp_matches({0}, '{1}')", "regexp_full_match({0}, '{1}')", "{0} SIMILAR TO '{1}'",
    "len(regexp_extract_all({0}, '{1}')) > 1", "len(string_split_regex({0}, '{1}')) > 1",
)  # fmt: skip
_LIKES = (
    "%a%a%a%a%a%b",
    "%_a_%_a_%_a_%_a_%_b",
    "_%_%_%_%_%_%_%_%_%x",
    "%" * 900 + "x",
    "a%" * 400 + "x",
    "%a_%a_%a_%c",
)
_LISTS = (
    "len(flatten([[x || y || caption FOR y IN {0}] FOR x IN {0}]))", "len({0} || {0} || {0})",
    "len(flatten(flatten([[[x || y || z FOR z IN {0}] FOR y IN {0}] FOR x IN {0}])))",
    "len(list_transform({0}, lambda x: list_transform({0}, lambda y: list_transform({0}, lambda z: x || y || z))))",
    "list_reduce({0}, lambda x, y: x || y || x || y)", "len(flatten(list_transform({0}, lambda x: {0})))",
    "len(list_sort(flatten([{0} FOR x IN {0}])))", "len(list_distinct(flatten([{0} FOR x IN {0}])))",
    "list_aggregate(flatten([{0} FOR x IN {0}]), 'string_agg', ', and then ')", "len(list_zip({0}, {0}, {0}, {0}))",
    "len(list_transform({0}, lambda x: list_filter({0}, lambda y: levenshtein(x, y) < len({0}))))",
    "map_from_entries([(x, {0}) FOR x IN {0}])::VARCHAR", "list_aggregate({0}, 'histogram')::VARCHAR",
    "list_sum([len([{0} FOR y IN {0}]) FOR x IN {0}])", "len(list_select({0}, [1, 2, 3]))",
)  # fmt: skip
_NUMBERS = (
    "factorial(width)", "width ** width ** width", "pow(1e300, width)", "1::HUGEINT << 126", "gcd(width, 9e18::BIGINT)",
    "even(width)", "gamma(width)", "lgamma(1e300)", "bit_count(width)", "1e308::DECIMAL(38, 2)", "9" * 3_000,
    "nextafter(width, 1)", "cbrt(width)", "chr(width % 1000000)", "epoch_ms(width)", "make_date(width, 1, 1)",
)  # fmt: skip
_GROWN_BY_A_NUMBER = (
    "repeat(caption, {0})", "lpad(caption, {0}, 'x')", "rpad(caption, {0}, 'x')", "range({0})", "bar(width, 0, 9, {0})",
    "generate_series(1, {0})", "printf('%{0}d', width)", "format('{{:{0}}}', width)", "list_resize([1], {0})",
    "bitstring('1', {0})", "strftime(today(), '{1}')", "substring(caption, 1, {0})", "right(caption, {0})",
    "list_aggregate(range({0}), 'string_agg', ',')", "hex(repeat(caption, {0}))", "left(caption, -{0})",
    "split_part(caption, 'a', {0})",
)  # fmt: skip
_CHAINS = (
    ("caption = '{0}' OR ", "true"), ("caption LIKE '%a%{0}%b' AND ", "true"), ("NOT ", "true"), ("- ", "width > 1"),
    ("CASE WHEN width = {0} THEN ", "true"), ("width + ", "1 > 0"), ("caption || ", "caption = key"), ("(", "true"),
    ("regexp_matches(caption, '(a+)+{0}$') OR ", "false"), ("[", "1"), ("{{'a': ", "1"), ("lower(", "caption"),
    ("levenshtein(caption, '{0}') > 1 AND ", "true"), ("~ ", "width = 1"), ("INTERVAL (", "1"), ("f(", "1"),
    ("list_transform([1], lambda x: ", "x"), ("(width, ", "1) = (1, 1)"), ("coalesce(NULL, ", "true"),
    ("CAST(", "width"),
)  # fmt: skip
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_TAILS = (
    "::VARCHAR",
    "::INT[]",
    "::BLOB::VARCHAR",
    ".x",
    "[1]",
    "[1:2]",
    " IS NULL",
    " COLLATE NOCASE",
    "::BIT::VARCHAR",
)
_STATEMENTS = (
    "1=1; DROP TABLE rows", "; ;", ";", "1=1;", "-- ", "/* ", "'", '"', "$$", "E'\\", "\x00", "true \x00 OR false",
    "\ud800", "caption = '\udfff'", "true; SELECT 1; SELECT 2", "true UNION ALL SELECT 1", "true) OR (true", "1=1 --",
    "\u202e true", "true\u2028AND\u2029true", "caption = '" + "😀" * 4_000 + "'", "caption IN (SELECT 1)", "\ufeff1=1",
    "WITH x AS (SELECT 1) SELECT 1", "PIVOT rows ON key", "EXPLAIN ANALYZE true", "true QUALIFY true", "$1", "?", "*",
)  # fmt: skip


def heavy_condition(random: Random) -> str:
    """One condition; the same for the same state of `random`."""
    kinds = (_grown, _grown, _compared, _compared, _matched, _listed, _listed, _numbers, _sized, _chain, _chain, _tail)
    kinds = (*kinds, _in_list, _statement, _mixture)
    return random.choice(kinds)(random)


def _text(random: Random, depth: int) -> str:
    """An expression for a text that grows with its depth; it is at most a few thousand characters long."""
    text = random.choice(("caption", "key", "'aäb'", "caption || key"))
    for _ in range(depth):
        grown = random.choice(_GROWING).format(f"({text})")
        if len(grown) > 6_000:
            break
        text = grown
    return text


def _grown(random: Random) -> str:
    return f"length({_text(random, random.randint(1, 14))}) > {random.randint(0, 9)}"


def _compared(random: Random) -> str:
    form = random.choice(_COMPARING)
    return f"{form.format(_text(random, random.randint(0, 4)), _text(random, random.randint(0, 4)))} > 0.5"


def _matched(random: Random) -> str:
    text = _text(random, random.randint(0, 3))
    if random.random() < 0.5:
        return f"{text} {random.choice(('LIKE', 'ILIKE', 'NOT LIKE', 'GLOB'))} '{random.choice(_LIKES)}'"
    return random.choice(_MATCHING).format(f"({text})", random.choice(_PATTERNS))


def _listed(random: Random) -> str:
    text = _text(random, random.randint(0, 2))
    separator = random.choice(("''", "'a'", "key"))
    part = f"string_split({text}, {separator})"
    form = random.choice(_LISTS)
    return f"{form.format(part)} IS NOT NULL"


def _numbers(random: Random) -> str:
    return f"{random.choice(_NUMBERS)} > {random.choice(_NUMBERS)}"


def _sized(random: Random) -> str:
    number = random.choice((1_000, 1_000_000, 2_000_000_000, 9_000_000_000_000))
    form = random.choice(_GROWN_BY_A_NUMBER).format(number, "%A %B " * 2_000)
    return f"length({form}) > 1" if random.random() < 0.8 else f"{form} = caption"


def _chain(random: Random) -> str:
    link, last = random.choice(_CHAINS)
    count = random.choice((20, 90, 400, 4_000))
    links = [link.format(number) for number in range(min(count, 19_000 // len(link)))]
    closing = ""
    if random.random() < 0.6:
        for opening, bracket in _CLOSING.items():
            closing += bracket * "".join(links).count(opening)
        closing += " END" * "".join(links).count("CASE")
    return ("".join(links) + last + closing)[:19_999]


def _tail(random: Random) -> str:
    return random.choice(("width", "caption", "'a'")) + random.choice(_TAILS) * random.choice((1, 8, 40, 900))


def _in_list(random: Random) -> str:
    one = random.choice(("'{0}'", "{0}", "width + {0}", "caption", "lower('{0}')", "[{0}]"))
    return f"caption IN ({', '.join(one.format(number) for number in range(random.choice((50, 500, 1_500))))})"


def _statement(random: Random) -> str:
    return f"{random.choice(('', 'true ', 'width > 1 AND '))}{random.choice(_STATEMENTS)}"


def _mixture(random: Random) -> str:
    parts = [heavy_condition(random) for _ in range(random.randint(2, 5))]
    return random.choice((" AND ", " OR ", ") AND NOT (")).join(f"({part})" for part in parts)[:20_500]
